import time

import pytest

import hosts
from grid import Grid, eventually
from hosts import Network
from seeds import chosen_seed


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="longer load, more faults: for `just torture`")
    parser.addoption("--seed", type=int, default=None, help="of the load and the faults; each run prints its own")


@pytest.fixture(scope="session")
def namespaces():
    hosts.sweep()
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def network(namespaces):
    made = Network()
    yield made
    made.close()


@pytest.fixture
def ipv6_network(namespaces):
    made = Network(ipv6_only=True)
    yield made
    made.close()


@pytest.fixture
def seed(request):
    return chosen_seed(request)


@pytest.fixture
def long(request):
    """Factor for durations."""
    return 6 if request.config.getoption("--long") else 1


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for grid in getattr(item, "grids", []):
            report.sections.append(("logs of the nodes", grid.log_tails()))


@pytest.fixture
def make_grid(request, network, tmp_path_factory):
    """Makes grids of so many nodes, whose voters are settled, with a bucket `load`."""
    made = request.node.grids = []

    def make(nodes, bucket="load", on=None):
        one = Grid(on or network, tmp_path_factory.mktemp("g"))
        made.append(one)
        for _ in range(nodes):
            one.add()
        settle(one)
        if bucket:
            one.bucket(bucket)
        return one

    yield make
    for one in made:
        one.close()


VOTERS = {1: 1, 2: 2, 3: 3, 4: 3}


def settle(grid):
    """Waits until all see each other alive and as many vote as should."""
    want = VOTERS[len(grid.nodes)] if len(grid.nodes) in VOTERS else 5

    def settled():
        for node in grid.nodes:
            rows = list(node.nodes().values())
            if len(rows) != len(grid.nodes) or any(row["state"] != "alive" for row in rows):
                return False
            if sum(row["votes"] for row in rows) != want or sum(row["leads"] for row in rows) != 1:
                return False
        return True

    begin = time.monotonic()
    assert eventually(settled, 60), f"the grid does not settle: {[node.nodes() for node in grid.nodes]}"
    return time.monotonic() - begin


def until_drives_are_known(grid, nodes, profile, spread):
    """Waits until each of these nodes writes large objects in this profile to drives of so many nodes: in the first seconds
    after a join it knows fewer."""
    client = grid.s3(timeout=30)

    def known(node):
        if client.request(node, "PUT", "/load/probe", body=b"?" * 300_000).status != 200:
            return False
        (segment,) = node.command("locate", "s3://load/probe", "--json")["segments"]
        return segment["profile"] == profile and len({chunk.get("node") for chunk in segment["chunks"]}) == spread

    for node in nodes:
        assert eventually(lambda node=node: known(node), 30), f"{node} knows too few drives"
    client.close()
