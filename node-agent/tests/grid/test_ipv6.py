"""A network without IPv4."""

import pytest

from grid import Node, Refused, eventually
from load import Load


def test_grid_without_ipv4(make_grid, ipv6_network, seed, long):
    """Founded, joined by a ticket alone (multicast and addresses of version 6), under load, with a kill and a new address."""
    grid = make_grid(3, on=ipv6_network)
    for node in grid.nodes:
        addresses = [one for row in node.nodes().values() for one in row["addresses"]]
        assert addresses and all(one.startswith("[fd73:") for one in addresses), addresses
    with Load(grid, seed) as load:
        load.run_for(2 * long, acknowledged=50)
        leader = grid.wait_leader()
        leader.kill()
        load.run_for(3 * long, acknowledged=50)
        leader.host.readdress(77)
        leader.configure()
        leader.start()
        load.run_for(2 * long, acknowledged=50)
    assert eventually(lambda: all(row["state"] == "alive" for row in grid.nodes[0].nodes().values()), 20)
    late = Node(grid, ipv6_network.host(), 9)
    with pytest.raises(Refused) as told:
        late.join("shoal-ticket-1-nonsense", grid.nodes[0], patience=3)
    assert "ticket" in str(told.value)
