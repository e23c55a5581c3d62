"""The root key is rotated while the grid serves, whoever dies in between."""

import pathlib
import time

import pytest

from grid import Refused, eventually
from load import Load

ENTRY_BYTES = 80  # docs/formats/key-file.md


def generations(node):
    """Of the key file on the node's drive, the one that seals first."""
    bytes = (pathlib.Path(node.drives[0]) / "shoal-root.key").read_bytes()
    assert bytes and len(bytes) % ENTRY_BYTES == 0
    return [int.from_bytes(bytes[at + 12 : at + 16]) for at in range(0, len(bytes), ENTRY_BYTES)]


def status(node):
    try:
        return node.command("key", "status", "--json")
    except Refused as refused:
        return {"rotating": True, "active": 0, "refused": str(refused)}


def rotated(grid, beyond, seconds=120):
    """Waits until one key is left, on every drive, and everything is sealed with it; its generation."""

    def one_left():
        seen = [status(node) for node in grid.up()]
        if any(one["rotating"] or one["active"] <= beyond or one["records_of_older"] for one in seen):
            return None
        files = [generations(node) for node in grid.up()]
        return files[0][0] if all(one == [seen[0]["active"]] for one in files) else None

    left = eventually(one_left, seconds, every=1)
    assert left, f"{[status(node) for node in grid.up()]} {[generations(node) for node in grid.up()]}"
    return left


def still_there(grid, before):
    """With nothing in memory that was sealed before."""
    for node in grid.up():
        node.kill()
    for node in grid.nodes:
        node.start(wait=False)
    for node in grid.nodes:
        node.wait_ready()
    for node in grid.nodes:
        for key, body in before.items():
            answer = grid.s3().request(node, "GET", key)
            assert (answer.status, answer.body) == (200, body), (node, key, answer)


def test_rotation_under_load_and_kills(make_grid, seed):
    """The one who draws the new key is killed before the others have it, the leader again while records are sealed anew."""
    grid = make_grid(3)
    before = {"/other/small": b"inline", "/other/large": b"in chunks " * 5_000}
    grid.bucket("other")
    for key, body in before.items():
        assert grid.s3().request(grid.nodes[0], "PUT", key, body=body).status == 200
    assert [generations(node) for node in grid.nodes] == [[1]] * 3
    with Load(grid, seed) as load:
        leader = grid.wait_leader()
        grid.nodes[0].command("key", "rotate")
        assert eventually(lambda: len(generations(leader)) > 1, 30, every=0.01), "no key was drawn"
        leader.kill()
        load.run_for(2, acknowledged=50)
        leader.start()
        assert eventually(lambda: status(leader)["active"] == 2, 90), status(leader)
        leader = grid.wait_leader()
        leader.kill()
        load.run_for(2, acknowledged=50)
        leader.start()
        assert rotated(grid, 1) == 2
        load.run_for(1, acknowledged=50)
    still_there(grid, before)
    grid.bucket("afterwards")


def test_removal_rotates_and_the_removed_gets_nothing(make_grid, seed):
    """One member dies before it is done: the old key stays for it, and goes when it is back."""
    grid = make_grid(4)
    before = {"/load/kept": b"kept " * 10_000}
    for key, body in before.items():
        assert grid.s3().request(grid.nodes[0], "PUT", key, body=body).status == 200
    leader = grid.wait_leader()
    gone, away = [node for node in grid.nodes if node is not leader][:2]
    rest = [node for node in grid.nodes if node not in (gone, away)]
    leader.command("node", "remove", gone.id)
    assert eventually(lambda: status(leader)["active"] == 2, 90), status(leader)
    away.kill()
    assert eventually(lambda: status(leader).get("records_of_older") == 0, 60), status(leader)
    assert eventually(lambda: all(generations(node) == [2, 1] for node in rest), 30), "who lives seals with the new one"
    # Where the member died after it took the new key up, half a minute passes before its copies of the metadata are missed.
    named = lambda: f"node-{away.number}" in status(leader).get("waits_for", "")  # noqa: E731
    assert eventually(named, 90), status(leader)
    time.sleep(5)
    assert named() and status(leader)["rotating"], status(leader)
    assert all(generations(node) == [2, 1] for node in rest), "forgotten, although a member may need it"
    away.start()
    assert eventually(lambda: generations(away)[0] == 2, 30), away.log_tail()
    assert 2 not in generations(gone)
    if gone.process.poll() is None:
        gone.kill()
    gone.process = None
    grid.nodes.remove(gone)
    assert rotated(grid, 1) == 2
    assert 2 not in generations(gone)
    still_there(grid, before)


def test_a_key_that_died_with_its_drawer(make_grid):
    """Nobody else had it: another one is drawn, and the drawer takes that one when it is back."""
    grid = make_grid(4)
    drawer = grid.wait_leader()
    drawer.command("key", "rotate")
    assert eventually(lambda: len(generations(drawer)) > 1, 30, every=0.01)
    named = eventually(lambda: len(status(drawer).get("generations", [])) == 2, 3, every=0.01)
    drawer.kill()
    others = grid.up()
    if not named or any(2 in generations(node) for node in others):
        pytest.skip("another one had it already, or its record was not written: nothing to see")
    assert eventually(lambda: all(generations(node)[0] == 3 for node in others), 150), [status(node) for node in others]
    assert not any(2 in generations(node) for node in others)
    drawer.start()
    assert rotated(grid, 2) == 3
