"""1 → 2 → 4 nodes, live, by starting them."""

from conftest import settle
from load import Load


def test_grows_under_load(make_grid, seed, long):
    grid = make_grid(1)
    with Load(grid, seed) as load:
        load.run_for(2 * long, acknowledged=100)
        for count in (2, 3, 4):
            node = grid.add()
            load.nodes.append(node)
            settle(grid)
            load.run_for(2 * long, acknowledged=100)
            assert len(node.nodes()) == count
    # No node was ever down, so nothing but the change of voters may have cost an answer.
    assert load.counts["unreachable"] == 0 and load.counts["lost"] == 0, load.counts
