"""Two nodes: neither can outvote the other, so what goes on without one is by order."""

import pytest

from conftest import settle
from grid import Refused, eventually
from load import Load
from s3 import Lost, Unreachable

BODIES = {"small": b"small" * 100, "large": b"large" * 100_000}


@pytest.fixture
def survivor(make_grid):
    """The follower of two nodes, whose leader just died; both objects were acknowledged before."""
    grid = make_grid(2)
    lost = grid.wait_leader()
    left = next(node for node in grid.nodes if node is not lost)
    client = grid.s3(timeout=40)
    for key, body in BODIES.items():
        assert client.request(lost, "PUT", f"/load/{key}", body=body).status == 200
    lost.kill()
    client.close()  # no connection of before
    return grid, left, lost, client


def test_continue_without_the_lost_one(survivor):
    grid, left, lost, client = survivor
    assert client.request(left, "PUT", "/load/new", body=b"not yet").status == 503
    with pytest.raises(Refused):  # not without saying what it means
        left.command("grid", "continue-without", lost.id)
    with pytest.raises(Refused):  # not this one
        left.command("grid", "continue-without", left.id, "--it-is-lost")
    assert client.request(left, "PUT", "/load/new", body=b"not yet").status == 503
    left.command("grid", "continue-without", lost.id, "--it-is-lost")
    assert eventually(lambda: client.request(left, "PUT", "/load/new", body=b"alone").status == 200, 30)
    for key, body in BODIES.items():
        assert client.request(left, "GET", f"/load/{key}").body == body, key
    # The lost one was not lost after all: it serves nobody, and the other one's truth stays.
    lost.start(wait=False)

    def answered(method):
        try:
            return client.request(lost, method, "/load/new", body=b"other" if method == "PUT" else b"").status < 500
        except (Lost, Unreachable):
            return False

    assert not eventually(lambda: answered("PUT") or answered("GET"), 6), lost.log_tail()
    assert client.request(left, "GET", "/load/new").body == b"alone"
    if lost.process.poll() is None:
        lost.kill()
    lost.process = None
    # A new second node makes two of it again.
    third = grid.add()
    assert eventually(lambda: sum(row["votes"] for row in left.nodes().values()) == 2, 30), left.nodes()
    for key, body in {**BODIES, "new": b"alone"}.items():
        assert client.request(third, "GET", f"/load/{key}").body == body, key


def test_one_of_two_away_is_read_only(survivor):
    _, left, _, client = survivor
    assert client.request(left, "PUT", "/load/new", body=b"no").status == 503
    for key, body in BODIES.items():
        assert client.request(left, "GET", f"/load/{key}").body == body, key


def test_status_without_majority(survivor):
    """It answers, and says plainly that nothing can be written."""
    _, left, _, _ = survivor

    def told():
        status = left.status()
        return status["readiness"]["reasons"] + [text for text in status["warnings"] if "one failure domain" not in text]

    assert eventually(told, 20), left.status()
    print(told())


def test_back_again(survivor):
    grid, left, lost, client = survivor
    assert client.request(left, "PUT", "/load/new", body=b"no").status == 503
    lost.start()
    settle(grid)
    for node in grid.nodes:
        assert client.request(node, "PUT", "/load/new", body=b"yes").status == 200
        for key, body in BODIES.items():
            assert client.request(node, "GET", f"/load/{key}").body == body, (node, key)


def test_split_of_two_reads_nothing_stale(make_grid, seed, long):
    """Each of two may go on reading alone, but not behind what the other one acknowledged right before the cut."""
    grid = make_grid(2)
    with Load(grid, seed, clients=8, slots=3, timeout=3) as load:
        for _ in range(3 * long):
            load.run_for(1, acknowledged=50)
            grid.network.split([grid.nodes[0].host], [grid.nodes[1].host])
            load.run_for(3)
            grid.network.heal()
            settle(grid)
