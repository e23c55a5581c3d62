"""Parts of a grid that do not hear each other, or hear each other badly."""

import concurrent.futures
import time

import pytest

from conftest import settle
from grid import eventually
from load import Load
from s3 import Lost, Unreachable


def answers(*requests):
    """Statuses ("nothing" where none came) of requests (node, method, key, body) that are sent at the same time."""

    def send(node, method, key, body=b""):
        client = node.grid.s3(timeout=40)
        try:
            return client.request(node, method, f"/load/{key}", body=body).status
        except (Lost, Unreachable):
            return "nothing"
        finally:
            client.close()

    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        return [done.result() for done in [pool.submit(send, *request) for request in requests]]


def test_minority_says_503_majority_goes_on(make_grid, seed, long):
    """The leader is in the smaller half; clients reach both."""
    grid = make_grid(3)
    leader = grid.wait_leader()
    rest = [node for node in grid.nodes if node is not leader]
    client = grid.s3(timeout=40)
    with Load(grid, seed, clients=8, slots=4, timeout=4) as load:
        for round_number in range(long):
            load.run_for(2, acknowledged=100)
            grid.network.split([leader.host], [node.host for node in rest])
            new = eventually(lambda: next((one for one in [grid.leader(rest)] if one in rest), None), 30)
            assert new, f"the majority has no leader: {rest[0].nodes()}"
            key = f"patient/split {round_number}"
            for node in rest:
                assert eventually(lambda node=node: answers((node, "PUT", key, b"majority")) == [200], 30), node
            # Cut off, it answers neither reads nor writes: what it knows may be old.
            assert answers((leader, "PUT", key, b"minority"), (leader, "GET", key), (leader, "DELETE", key)) == [503] * 3
            assert eventually(lambda leader=leader: not leader.status()["readiness"]["ready"], 20), leader.status()
            load.run_for(4, acknowledged=50)
            grid.network.heal()
            settle(grid)
            for node in grid.nodes:
                assert client.request(node, "GET", f"/load/{key}").body == b"majority", node
            load.run_for(1, acknowledged=50)
            leader = grid.wait_leader()
            rest = [node for node in grid.nodes if node is not leader]


def test_two_halves_of_four(make_grid, seed, long):
    """Three of four vote: the half with two voters goes on, whichever nodes those are."""
    grid = make_grid(4)
    voters = [node for node in grid.nodes if grid.nodes[0].nodes()[node.id]["votes"]]
    spare = next(node for node in grid.nodes if node not in voters)
    one, other = voters[:2], [voters[2], spare]
    with Load(grid, seed, timeout=4) as load:
        load.run_for(1, acknowledged=50)
        grid.network.split([node.host for node in one], [node.host for node in other])
        key = "patient/half"
        for node in one:
            assert eventually(lambda node=node: answers((node, "PUT", key, b"1")) == [200], 40), node
        told = answers(*((node, method, key) for node in other for method in ("PUT", "GET", "DELETE")))
        assert told == [503] * 6, told
        load.run_for(3 * long, acknowledged=50)
        grid.network.heal()
        settle(grid)


def test_nobody_hears_anybody(make_grid, seed):
    """All apart, for longer than an election: nothing is acknowledged; healed, all is as before."""
    grid = make_grid(3)
    hosts = [node.host for node in grid.nodes]
    with Load(grid, seed, timeout=4) as load:
        load.run_for(1, acknowledged=50)
        grid.network.cut(hosts, hosts)
        time.sleep(3)
        told = answers(*((node, method, "patient/alone") for node in grid.nodes for method in ("PUT", "GET")))
        assert told == [503] * 6, told
        grid.network.heal()
        settle(grid)
        load.run_for(1, acknowledged=50)


def test_one_way_cuts(make_grid, seed, long):
    """The leader is heard but hears nobody, then speaks but is not heard: never two truths, and soon one that works."""
    grid = make_grid(3)
    with Load(grid, seed, clients=8, slots=4, timeout=4) as load:
        for round_number in range(2 * long):
            leader = grid.wait_leader()
            rest = [node.host for node in grid.nodes if node is not leader]
            load.run_for(1, acknowledged=50)
            if round_number % 2:
                grid.network.cut([leader.host], rest)
            else:
                grid.network.cut(rest, [leader.host])
            load.run_for(8, acknowledged=50)
            grid.network.heal()
            settle(grid)


def test_one_link_cut(make_grid, seed, long):
    """Two of three do not hear each other, the third hears both."""
    grid = make_grid(3)
    with Load(grid, seed, clients=8, slots=4, timeout=4) as load:
        load.run_for(1, acknowledged=50)
        grid.network.split([grid.nodes[0].host], [grid.nodes[1].host])
        load.run_for(10 * long, acknowledged=50)
        grid.network.heal()
        settle(grid)
        load.run_for(1, acknowledged=50)


@pytest.mark.parametrize("where", ["the leader", "all"])
def test_far_and_lossy(make_grid, seed, long, where):
    """200 ms there and back and 5 % loss on the way from one node to another."""
    grid = make_grid(3)
    with Load(grid, seed, clients=8, timeout=20) as load:
        load.run_for(1, acknowledged=50)
        nodes = [grid.wait_leader()] if where == "the leader" else grid.nodes
        for node in nodes:
            node.host.delay(100 if len(nodes) == 1 else 50)
            grid.network.lose(node.host, 5 if len(nodes) == 1 else 2.5)
        load.run_for(10 * long, acknowledged=50)
        for node in nodes:
            node.host.delay(0)
        grid.network.heal()
        settle(grid)
        load.run_for(1, acknowledged=50)


def test_slow_links_cause_no_election(make_grid, seed, long):
    """10 Mb/s, full all the time: heartbeats do not wait behind the rest."""
    grid = make_grid(3)
    for node in grid.nodes:
        node.host.rate(10)
    leader = grid.wait_leader()
    with Load(grid, seed, clients=8, sizes=[15_000], timeout=20) as load:
        load.run_for(10 * long, acknowledged=50)
        assert grid.wait_leader() is leader
        states = [row["state"] for node in grid.nodes for row in node.nodes().values()]
        assert set(states) == {"alive"}, states
