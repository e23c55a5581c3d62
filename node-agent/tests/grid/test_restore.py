"""A grid whose metadata is restored on one member: the others step aside by themselves, and nothing old gets into the new."""

import pytest

from conftest import settle
from grid import eventually, shoal

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def backed_up(make_grid, tmp_path):
    """Three nodes with an object before the backup and one after it; the first one lost its metadata, nobody runs."""
    grid = make_grid(3)
    passphrase, backup = tmp_path / "passphrase", tmp_path / "grid.backup"
    passphrase.write_text(PASSPHRASE + "\n")
    put(grid, grid.nodes[0], "before", b"before " * 9_000)
    put(grid, grid.nodes[0], "inline", b"in the backup")
    grid.nodes[0].command("backup", "--to", backup, "--passphrase-file", passphrase)
    put(grid, grid.nodes[1], "later", b"lost")
    for node in grid.nodes:
        node.stop()
    (grid.nodes[0].drives[0] / "meta").rename(grid.nodes[0].folder / "lost")
    order = ["restore", "--from", backup, "--passphrase-file", passphrase, "--drive", grid.nodes[0].drives[0], "--json"]
    return grid, order


def put(grid, node, key, body):
    answer = grid.s3().request(node, "PUT", f"/load/{key}", body=body)
    assert answer.status == 200, answer


def came_back(grid):
    """Every node answers as the backup says, and the grid takes writes."""
    settle(grid)
    for node in grid.nodes:
        for key, body in (("before", b"before " * 9_000), ("inline", b"in the backup")):
            answer = grid.s3().request(node, "GET", f"/load/{key}")
            assert (answer.status, answer.body) == (200, body), (node, key, answer)
        put(grid, node, f"by {node.number}", b"x" * 50_000)
    assert grid.s3().request(grid.nodes[2], "GET", "/load/later").status == 404, "of the metadata that was given up"


def set_aside(node):
    return [folder.name for folder in node.drives[0].glob("meta-set-aside-*")]


def test_others_step_aside_when_they_start(backed_up):
    grid, order = backed_up
    told = shoal(*order)
    assert len(told["other_members"]) == 2, told
    for node in grid.nodes:
        node.start(wait=False)
    for node in grid.nodes:
        node.wait_ready()
    came_back(grid)
    assert [len(set_aside(node)) for node in grid.nodes] == [0, 1, 1]
    # Once: a start finds its metadata as it should be.
    grid.nodes[1].kill()
    grid.nodes[1].start()
    came_back(grid)
    assert len(set_aside(grid.nodes[1])) == 1


def test_others_that_serve_already_step_aside(backed_up):
    """The two others run on with their old majority, until they hear of the one that was restored: each starts again by itself."""
    grid, order = backed_up
    shoal(*order)
    first, *others = grid.nodes
    for node in others:
        node.start(wait=False)
    for node in others:
        node.wait_ready()
    put(grid, others[0], "meanwhile", b"given up")
    first.start()
    assert eventually(lambda: all(set_aside(node) for node in others), 60), grid.log_tails()
    for node in others:
        node.wait_ready()
    came_back(grid)
    assert eventually(lambda: grid.s3().request(others[0], "GET", "/load/meanwhile").status == 404, 10)
    assert all(node.process.poll() is None for node in grid.nodes)
