"""Hosts whose clocks are not to be trusted: who proves the time, how it spreads, and what waits for it."""

import datetime
import time

import pytest

from conftest import settle
from grid import Refused, eventually
from time_server import TimeServer

HOUR = 3600
FLOOR = "shoal-time"


def clock(node):
    return node.command("clock", "show", "--json")


def sources(grid):
    return [clock(node)["source"] for node in grid.nodes]


def off(node):
    """Seconds that its time is off."""
    return abs(clock(node)["time"] / 1e6 - time.time())


@pytest.fixture
def make_unproven(make_grid):
    """Three nodes that do not listen to their hosts; the clock of the first one's is an hour ahead."""

    def make(*settings):
        grid = make_grid(3)
        for node in grid.nodes:
            node.stop()
        grid.nodes[0].environment = {"SHOAL_TEST_CLOCK_OFFSET": str(HOUR)}
        for node, lines in zip(grid.nodes, settings or [""] * 3):
            with open(node.config, "a") as config:
                config.write(f'[clock]\nsource = "proven"\n{lines}\n')
            node.start(wait=False)
        return grid

    return make


def answers(grid, method="GET"):
    client = grid.s3()
    told = [client.request(node, method, "/load/key", body=b"body" if method == "PUT" else b"") for node in grid.nodes]
    client.close()
    return told


def started(grid):
    def all_say():
        try:
            return all(clock(node) for node in grid.nodes) and grid.leader()
        except Refused:
            return False

    assert eventually(all_say, 60), grid.log_tails()


def test_an_operator_proves_the_time_for_all(make_unproven, long):
    grid = make_unproven()
    started(grid)
    settle(grid)  # neither elections nor voters wait for the time
    assert sources(grid) == ["unproven"] * 3
    for told in answers(grid):
        assert (told.status, told.code, told.headers["retry-after"]) == (503, "ServiceUnavailable", "5"), told
    if long > 1:
        # Nobody comes: after five minutes the members agree to run on from what they had.
        assert eventually(lambda: sources(grid) == ["grid"] * 3, 360, every=5), sources(grid)
        assert all(told.status in (403, 404) for told in answers(grid)), answers(grid)
        assert any("grid time" in one for one in grid.nodes[0].status()["warnings"]), grid.nodes[0].status()
    grid.nodes[1].command("clock", "set", "--json")
    assert eventually(lambda: sorted(sources(grid)) == ["operator", "peer", "peer"], 30), sources(grid)
    assert all(off(node) < 5 for node in grid.nodes), [clock(node) for node in grid.nodes]
    assert [told.status for told in answers(grid, "PUT")] == [200] * 3, answers(grid, "PUT")
    for node in grid.nodes:
        node.wait_ready()
    assert {row["clock"]["source"] for row in grid.nodes[0].nodes().values()} >= {"peer"}

    # The power goes, and with it every proof; the drives know which time it surely was.
    assert eventually(lambda: all((drive / FLOOR).exists() for node in grid.nodes for drive in node.drives), 10)
    for node in grid.nodes:
        node.kill()
    for node in grid.nodes:
        node.start(wait=False)
    started(grid)
    assert sources(grid) == ["unproven"] * 3
    assert all(time.time() - clock(node)["floor"] / 1e6 < 300 for node in grid.nodes), [clock(node) for node in grid.nodes]
    earlier = datetime.datetime.fromtimestamp(time.time() - HOUR, datetime.timezone.utc)
    with pytest.raises(Refused, match="before the floor"):
        grid.nodes[2].command("clock", "set", earlier.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert sources(grid) == ["unproven"] * 3
    grid.nodes[2].command("clock", "set", "--json")
    assert eventually(lambda: all(told.status == 200 for told in answers(grid)), 30), answers(grid)


def test_one_node_that_reaches_ntp_is_enough(make_unproven, network):
    server = TimeServer(network.host())
    try:
        grid = make_unproven("", f'ntp = ["{server.address}"]', "")
        started(grid)
        assert eventually(lambda: sources(grid) == ["peer", "ntp", "peer"], 60), sources(grid)
        assert server.questions and all(off(node) < 5 for node in grid.nodes), [clock(node) for node in grid.nodes]
        assert [told.status for told in answers(grid, "PUT")] == [200] * 3
        # One that starts later takes it from them, whatever its own host believes.
        grid.nodes[0].stop()
        grid.nodes[0].start()
        assert eventually(lambda: clock(grid.nodes[0])["source"] == "peer", 30), clock(grid.nodes[0])
    finally:
        server.close()


def test_servers_that_lie_are_outvoted(make_unproven, network):
    host = network.host()
    servers = [TimeServer(host, offset, port) for offset, port in ((0, 123), (HOUR, 124), (0, 125))]
    try:
        three = ", ".join(f'"{server.address}"' for server in servers)
        grid = make_unproven(f"ntp = [{three}]", "", "")
        started(grid)
        assert eventually(lambda: sources(grid)[0] == "ntp", 60), clock(grid.nodes[0])
        assert off(grid.nodes[0]) < 5, clock(grid.nodes[0])
    finally:
        for server in servers:
            server.close()


def test_a_host_an_hour_off_is_named(make_grid):
    """Where hosts' clocks count, the one that is wrong stands out on every node."""
    grid = make_grid(2)
    node, other = grid.nodes
    node.stop()
    node.environment = {"SHOAL_TEST_CLOCK_OFFSET": str(HOUR)}
    node.start()

    def told(asked, of):
        row = asked.nodes()[of.id]["clock"]
        return row and row["apart"] and round(row["ahead_us"] / 1e6 / HOUR, 1)

    # Who starts asks at once; who runs asks each minute.
    assert eventually(lambda: told(node, other) == -1, 90), node.nodes()
    assert any(f"node {other.id} is 3" in one and "behind" in one for one in node.status()["warnings"]), node.status()
    assert eventually(lambda: told(other, node) == 1, 90), other.nodes()
    assert "its clock is 3" in other.command("node", "list"), other.command("node", "list")
