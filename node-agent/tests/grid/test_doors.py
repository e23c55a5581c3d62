"""Who must not get in: wrong tickets, false grids."""

import base64
import time

import pytest

from grid import Refused, eventually
from hosts import inside
from load import Load

RPC_PORT = 9002


def newcomer(grid):
    """A host that wants in; not among the nodes."""
    from grid import Node

    number = len(grid.network.hosts) + 1
    return Node(grid, grid.network.host(), number)


def refused(grid, ticket, peer=None, says=()):
    """The ticket opens nothing: the command says so, no member appears, the folder stays clean."""
    node = newcomer(grid)
    before = grid.nodes[0].nodes().keys()
    with pytest.raises(Refused) as told:
        node.join(ticket, peer, patience=5)
    text = str(told.value)
    print(text)
    assert any(word in text.lower() for word in says), text
    assert "panicked" not in text
    assert grid.nodes[0].nodes().keys() == before
    assert not list(node.drives[0].glob("shoal-node*")), "an identity was written, although nobody let it in"
    return node


def spoiled(ticket, place):
    """The same text with one character of its secret part changed."""
    at = len(ticket) * place // 100
    return ticket[:at] + ("a" if ticket[at] != "a" else "b") + ticket[at + 1 :]


def test_tickets(make_grid):
    grid = make_grid(2)
    founder = grid.nodes[0]
    good = founder.ticket(uses=1)
    for text in ("", "shoal-ticket-1-", "hello", good[:-9], good + "aaaaaaaa", good.replace("-1-", "-9-"), "x" * 100_000):
        refused(grid, text, says=("ticket",))
    for place in (20, 45, 60, 75, 98):
        refused(grid, spoiled(good, place), founder, says=("ticket", "grid", "checksum", "refused"))
    # Expired while it was carried around.
    short = founder.ticket(expires="2s")
    time.sleep(2.5)
    refused(grid, short, says=("expired", "ticket"))
    # Deleted.
    listed = {row["id"] for row in founder.command("ticket", "list", "--json")["tickets"]}
    deleted = founder.ticket()
    new = {row["id"] for row in founder.command("ticket", "list", "--json")["tickets"]} - listed
    assert len(new) == 1
    founder.command("ticket", "delete", new.pop())
    refused(grid, deleted, says=("ticket",))
    # Used up: after all these attempts, which cost it nothing, it lets in one node, by any member, and no second one.
    node = newcomer(grid)
    node.join(good, peer=grid.nodes[1])
    node.start()
    assert len(node.nodes()) == 3
    node.kill()
    refused(grid, good, says=("used", "ticket"))


def test_false_grid_at_the_address(make_grid):
    """Another grid where the ticket's grid was: the newcomer sees that the pin is another one, and tells it no secret."""
    grid = make_grid(1)
    ticket = grid.nodes[0].ticket()
    address = grid.nodes[0].host.address.split(".")[-1]
    grid.nodes[0].kill()
    grid.nodes[0].host.readdress(90)
    false = make_grid(1, on=grid.network)
    false.nodes[0].kill()
    false.nodes[0].host.readdress(int(address))
    false.nodes[0].configure()
    false.nodes[0].start()
    refused(false, ticket, says=("grid", "pin"))
    assert len(false.nodes[0].nodes()) == 1
    # The true grid lives, elsewhere: the newcomer finds it by itself, past the false one, and no other.
    grid.nodes[0].configure()
    grid.nodes[0].start()
    node = newcomer(grid)
    node.join(ticket)
    node.start()
    assert len(grid.nodes[0].nodes()) == len(node.nodes()) == 2
    assert len(false.nodes[0].nodes()) == 1
    node.kill()


def test_two_grids_never_merge(make_grid, seed):
    """Two grids in one network, found by nobody but their own; a node of one is no member of the other."""
    one = make_grid(2)
    other = make_grid(2, on=one.network)
    with Load(one, seed) as load:
        load.run_for(3, acknowledged=50)
    ids = one.nodes[0].nodes().keys() | other.nodes[0].nodes().keys()
    assert len(ids) == 4
    assert not one.nodes[0].nodes().keys() & other.nodes[0].nodes().keys()
    answer = one.s3().request(other.nodes[0], "GET", "/load")
    assert answer.status == 403 and answer.code == "InvalidAccessKeyId", answer


def test_noise_at_the_door(make_grid, seed):
    """Bytes that are no TLS, many silent connections: the grid serves on."""
    import socket

    grid = make_grid(2)
    held = []
    with Load(grid, seed) as load:
        for number in range(200):
            with inside(grid.client.netns):
                one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(one)
            one.settimeout(3)
            try:
                one.connect((grid.nodes[number % 2].address, RPC_PORT))
                if number % 4:
                    one.sendall(base64.b85encode(bytes([number]) * 400) * 10)
            except OSError:
                pass  # turned away: so be it
        load.run_for(3, acknowledged=100)
        for one in held:
            one.close()
    assert eventually(lambda: all(row["state"] == "alive" for row in grid.nodes[0].nodes().values()), 20)
    assert load.counts["lost"] == 0, load.counts
