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


def no_place(node, pin, says, peer=None):
    """Its key opens nothing: the command says why, no member appears, the key stays for another try."""
    before = node.grid.nodes[0].nodes().keys()
    with pytest.raises(Refused) as told:
        node.join(enrolled=pin, peer=peer, patience=5)
    assert says in str(told.value), told.value
    assert node.grid.nodes[0].nodes().keys() == before
    assert not (node.drives[0] / "shoal-node").exists()


def test_enrolled_keys(make_grid):
    """A key that an operator registered is a ticket for its owner, and for nobody else."""
    grid = make_grid(2)
    founder = grid.nodes[0]
    node, other = newcomer(grid), newcomer(grid)
    key = node.key()
    assert key == node.key(), "drawn once"
    pin = founder.command("node", "enrol", other.key(), "--expires", "2s", "--json")["grid_pin"]
    time.sleep(2.5)
    no_place(other, pin, "expired", founder)
    no_place(node, pin, "not enrolled", founder)
    for wrong in (key[:-1], key.replace("shoal-key", "shoal-grid"), pin, "", "x" * 1000):
        with pytest.raises(Refused) as told:
            founder.command("node", "enrol", wrong)
        assert "public key" in str(told.value), told.value
    enrolled = founder.command("node", "enrol", key, "--name", "shelf", "--json")
    assert enrolled["state"] == "open"
    founder.command("node", "withdraw", key)
    no_place(node, pin, "withdrawn", founder)
    with pytest.raises(Refused, match="enrolled"):
        founder.command("node", "withdraw", enrolled["node"])
    # Without a key of its own, and with the pin of another grid.
    founder.command("node", "enrol", key, "--name", "shelf")
    no_place(newcomer(grid), pin, "shoal node key")
    false = make_grid(1, on=grid.network)
    false_pin = false.nodes[0].command("node", "enrol", key, "--json")["grid_pin"]
    assert false_pin != pin
    # By any member, found by multicast; its name is the operator's.
    before = founder.nodes().keys()
    made = node.join(enrolled=pin)
    assert made["node"] == enrolled["node"]
    assert not (node.drives[0] / "shoal-prepared-key").exists(), "it is the node file's now"
    assert node.key() == key
    node.start()
    rows = founder.nodes()
    assert rows.keys() - before == {enrolled["node"]} and rows[enrolled["node"]]["name"] == "shelf"
    states = {row["public_key"]: row["state"] for row in grid.nodes[1].command("node", "enrolled", "--json")["enrolments"]}
    assert states == {key: "joined", other.key(): "expired"}
    assert len(false.nodes[0].nodes()) == 1
    # A member, and who was one, is not enrolled again.
    for says in ("member already", "was removed"):
        with pytest.raises(Refused) as told:
            founder.command("node", "enrol", key)
        assert says in str(told.value), told.value
        if node.process:
            node.kill()
            founder.command("node", "remove", enrolled["node"])


def test_a_board_waits_for_its_enrolment(make_grid):
    """Flashed with the pin of the grid: `serve` shows its key, and joins when an operator has enrolled it."""
    grid = make_grid(1)
    founder = grid.nodes[0]
    pin = founder.command("node", "enrol", newcomer(grid).key(), "--json")["grid_pin"]
    board = newcomer(grid)
    board.configure()
    board.config.write_text(board.config.read_text() + f'[join]\nenrolled = "{pin}"\n')
    board.start(wait=False)
    assert eventually(lambda: "waiting until the key" in board.log_tail(), 30), board.log_tail()
    assert board.key() in board.log_tail()
    founder.command("node", "enrol", board.key())
    board.wait_ready()
    assert len(founder.nodes()) == 2
    board.kill()


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


def test_boards_of_another_grid_are_refused(make_grid):
    """On one wire: a board with a ticket of the other grid, one at the other's address, one whose drive was carried over."""
    one = make_grid(2)
    other = make_grid(2, on=one.network, bucket=None)
    members = {grid: grid.nodes[0].nodes().keys() for grid in (one, other)}
    board = one.nodes[1]
    identity = (board.drives[0] / "shoal-node").read_bytes()
    board.kill()
    board.config.unlink()
    # With a good ticket: its drives belong to a grid, and stay as they are.
    with pytest.raises(Refused) as told:
        board.join(other.nodes[0].ticket(), other.nodes[0], patience=5)
    assert "grid" in str(told.value) and "panicked" not in str(told.value), told.value
    assert (board.drives[0] / "shoal-node").read_bytes() == identity
    # Its drive in a node of the other grid.
    with pytest.raises(Refused) as told:
        other.nodes[0].command("drive", "adopt", board.drives[0])
    assert one.nodes[0].status()["grid"] in str(told.value), told.value
    assert (board.drives[0] / "shoal-node").read_bytes() == identity
    # At the address of a member of the other one: it is no member there, and finds its own grid.
    away = other.nodes[1]
    last = int(away.address.split(".")[-1])
    away.kill()
    away.host.readdress(91)
    board.host.readdress(last)
    board.configure()
    board.start()
    assert eventually(lambda: other.nodes[0].nodes()[away.id]["state"] == "down", 30)
    assert eventually(lambda: one.nodes[0].nodes()[board.id]["state"] == "alive", 30)
    assert one.nodes[0].nodes().keys() == board.nodes().keys() == members[one]
    assert other.nodes[0].nodes().keys() == members[other]
    away.configure()
    away.start()
    assert eventually(lambda: other.nodes[0].nodes()[away.id]["state"] == "alive", 30)


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
