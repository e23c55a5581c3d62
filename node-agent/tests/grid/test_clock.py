"""Wall clocks that are wrong must not make an order wrong."""

import glob

import pytest

from conftest import settle
from load import Load

HOUR = 3600
LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_leader_an_hour_off(make_grid, seed, long, offset):
    """The leader's wall clock is an hour off (its monotonic one is right): order and conditions hold all the same."""
    if not LIBRARY:
        pytest.skip("libfaketime is not installed (package libfaketime)")
    grid = make_grid(3)
    node = grid.wait_leader()
    with Load(grid, seed) as load:
        load.run_for(1, acknowledged=50)
        node.kill()
        node.environment = {
            "LD_PRELOAD": LIBRARY[0],
            "FAKETIME": f"{offset:+d}s",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        load.clock_offset[node] = offset
        node.start()
        told = grid.s3().request(node, "GET", "/load")
        if told.status == 200:
            pytest.skip("libfaketime does not reach shoal's clock here (it asks the kernel itself, or is linked statically)")
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
