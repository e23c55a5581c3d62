"""Wall clocks that are wrong must not make an order wrong."""

import pytest

from conftest import settle
from load import Load

HOUR = 3600


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_leader_an_hour_off(make_grid, seed, long, offset):
    """The leader's wall clock is an hour off (its monotonic one is right): order and conditions hold all the same."""
    grid = make_grid(3)
    node = grid.wait_leader()
    with Load(grid, seed) as load:
        load.run_for(1, acknowledged=50)
        node.kill()
        node.environment = {"SHOAL_TEST_CLOCK_OFFSET": str(offset)}
        load.clock_offset[node] = offset
        node.start()
        told = grid.s3().request(node, "GET", "/load")
        assert told.code == "RequestTimeTooSkewed", told
        settle(grid)
        # It leads again, at the latest when the others were away.
        for other in grid.nodes:
            if other is not node and grid.leader() is other:
                other.kill()
                load.run_for(3, acknowledged=30)
                other.start()
                settle(grid)
        print(f"leads: {grid.leader()}, wrong clock: {node}")
        load.run_for(3 * long, acknowledged=100)
