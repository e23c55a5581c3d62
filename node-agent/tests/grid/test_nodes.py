"""Nodes that die, freeze, move, leave."""

import random
import subprocess
import threading
import time

import pytest

from conftest import settle
from grid import RPC_PORT, eventually
from hosts import authority
from load import Load
from s3 import Lost, Unreachable

# A question to metadata that is not available is answered within 10 s; and some room.
ANSWER_SECONDS_MAX = 12


def test_each_node_killed_in_turn(make_grid, seed, long):
    """Whoever dies, leader or not: nothing acknowledged is lost, clients see at most a retry."""
    grid = make_grid(4)
    leader = grid.wait_leader()
    others = [node for node in grid.nodes if node is not leader]
    with Load(grid, seed) as load:
        load.run_for(1, acknowledged=50)
        for node in [leader, *others]:
            print(f"kill {node}{' (leads)' if node is grid.leader() else ''}")
            node.kill()
            load.run_for(4 * long, acknowledged=50)
            node.start()
            settle(grid)
            load.run_for(1, acknowledged=50)


def test_leader_killed_again_and_again(make_grid, seed, long):
    grid = make_grid(3)
    with Load(grid, seed) as load:
        for _ in range(3 * long):
            leader = grid.wait_leader()
            leader.kill()
            load.run_for(3, acknowledged=50)
            leader.start()
            settle(grid)


def test_all_killed_at_once(make_grid, seed, long):
    """Power out everywhere: what was acknowledged is there when it comes back."""
    grid = make_grid(3)
    with Load(grid, seed) as load:
        for _ in range(2 * long):
            load.run_for(2, acknowledged=100)
            for node in grid.nodes:
                node.kill()
            for node in grid.nodes:
                node.start(wait=False)
            for node in grid.nodes:
                node.wait_ready()


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_frozen_node(make_grid, seed, long, who):
    """SIGSTOP for 10 s, then SIGCONT: a leader that was deposed meanwhile must not answer from what it knew."""
    grid = make_grid(3)
    leader = grid.wait_leader()
    node = leader if who == "leader" else next(node for node in grid.nodes if node is not leader)
    with Load(grid, seed, clients=8, slots=4, timeout=3) as load:
        for _ in range(long):
            load.run_for(2, acknowledged=100)
            node.freeze()
            load.run_for(10, acknowledged=50)
            node.thaw()
            load.run_for(3, acknowledged=50)
            node = grid.wait_leader() if who == "leader" else node
        settle(grid)


@pytest.mark.parametrize("moment", ["any", "entered"])
def test_started_while_the_leader_hangs(make_grid, seed, long, moment):
    """Whatever a start asks of a leader that hangs just then, it waits for the answer and does not end."""
    grid = make_grid(3)
    rng = random.Random(seed)
    for _ in range(long):
        leader = grid.wait_leader()
        node, third = [node for node in grid.nodes if node is not leader]
        node.kill()
        third.kill()
        read = node.log.stat().st_size
        node.start(wait=False)
        if moment == "entered":
            with open(node.log, "rb") as log:
                log.seek(read)
                assert eventually(lambda: b"this node" in log.read(), 20, every=0.001), node.log_tail()
        else:
            time.sleep(rng.uniform(0, 0.3))
        leader.freeze()
        ended = eventually(lambda: node.process.poll() is not None, ANSWER_SECONDS_MAX)
        leader.thaw()
        assert not ended, f"{node} ended\n{node.log_tail()}"
        node.wait_ready()
        third.start()
        settle(grid)


def test_new_address(make_grid, seed, long):
    """A node that comes back at another address is the same node: the others find it, clients are served there."""
    grid = make_grid(3)
    node = grid.wait_leader()
    with Load(grid, seed) as load:
        load.run_for(1, acknowledged=50)
        old = node.address
        node.kill()
        node.host.readdress(40)
        node.configure()
        node.start()
        settle(grid)
        load.run_for(2 * long, acknowledged=50)
        new = f"{node.address}:9002"
        for other in grid.nodes:
            known = eventually(lambda other=other: new in other.nodes()[node.id]["addresses"], 15)
            assert known, f"{other} knows {node} at {other.nodes()[node.id]['addresses']}"
            assert f"{old}:9002" not in other.nodes()[node.id]["addresses"], other


def test_address_changes_while_it_runs(make_grid, seed, long):
    """Another lease of DHCP, or a network that comes late: whoever listens everywhere tells the others where it is now."""
    grid = make_grid(3)
    node = grid.wait_leader()
    node.kill()
    node.config.write_text(node.config.read_text().replace(authority(node.address, RPC_PORT), f"[::]:{RPC_PORT}"))
    node.start()
    settle(grid)
    old = node.address
    with Load(grid, seed) as load:
        load.run_for(1, acknowledged=50)
        node.host.readdress(40)
        load.run_for(2 * long, acknowledged=50)
        for other in grid.nodes:
            listed = lambda other=other: other.nodes()[node.id]["addresses"]
            known = eventually(lambda listed=listed: authority(node.address, RPC_PORT) in listed(), 30)
            assert known and authority(old, RPC_PORT) not in listed(), f"{other} knows {node} at {listed()}"
        settle(grid)


def watched_supply(node):
    """Gives a running node the sensor that a Raspberry Pi's kernel has; what it returns makes the voltage too low or well."""
    sensor = node.folder / "hwmon/hwmon0"
    sensor.mkdir(parents=True)
    (sensor / "name").write_text("rpi_volt\n")
    alarm = lambda low: (sensor / "in0_lcrit_alarm").write_text(f"{int(low)}\n")  # noqa: E731
    alarm(False)
    script = "mount -t tmpfs tmpfs /sys/class && mkdir /sys/class/hwmon && mount --bind $0 /sys/class/hwmon"
    command = ["nsenter", "-t", str(node.process.pid), "-m", "sh", "-ec", script, sensor.parent]
    subprocess.run(command, check=True)
    return alarm


def test_under_voltage(make_grid, seed):
    """A board whose supply breaks down acknowledges nothing and says why; the others go on, leadership included."""
    grid = make_grid(3)
    weak = grid.wait_leader()
    others = [node for node in grid.nodes if node is not weak]
    client = grid.s3()
    put = lambda node, key: client.request(node, "PUT", f"/load/{key}", body=b"kept").status  # noqa: E731
    supply = watched_supply(weak)
    assert put(weak, "before") == 200
    supply(True)
    assert eventually(lambda: put(weak, "refused") == 503, 10), "it goes on writing"
    reasons = weak.status()["readiness"]["reasons"]
    assert any("the supply voltage is too low" in reason for reason in reasons), reasons
    assert client.request(weak, "GET", "/load/before").body == b"kept"
    assert eventually(lambda: grid.leader(others) in others, 30), "it leads on"
    assert eventually(lambda: all(put(node, "meanwhile") == 200 for node in others), 30), "the others do not write"
    assert put(weak, "refused") == 503, "it was well for a moment only"
    supply(False)
    weak.wait_ready()
    assert put(weak, "after") == 200
    assert client.request(others[0], "GET", "/load/after").body == b"kept"


def test_all_addresses_new(make_grid, seed):
    """All at once, as after a move to another network: they find each other again."""
    grid = make_grid(3)
    client = grid.s3()
    assert client.request(grid.nodes[0], "PUT", "/load/before", body=b"kept").status == 200
    for node in grid.nodes:
        node.kill()
    for node in grid.nodes:
        node.host.readdress(60 + node.number)
        node.configure()
    for node in grid.nodes:
        node.start(wait=False)
    for node in grid.nodes:
        node.wait_ready(30)
    for node in grid.nodes:
        assert client.request(node, "GET", "/load/before").body == b"kept"


def test_removed_node_is_shut_out(make_grid, seed, long):
    """After `node remove` it takes part in nothing, serves nothing, and the rest goes on."""
    grid = make_grid(4)
    leader = grid.wait_leader()
    gone = leader  # the hardest
    rest = [node for node in grid.nodes if node is not gone]
    with Load(grid, seed) as load:
        load.run_for(1, acknowledged=50)
        load.nodes.remove(gone)
        rest[0].command("node", "remove", gone.id)
        load.run_for(3 * long, acknowledged=50)
        for node in rest:
            assert eventually(lambda node=node: gone.id not in node.nodes(), 20), node
        assert load.counts["unreachable"] == 0, load.counts
    client = grid.s3(timeout=5)
    key = "/load/after the removal"
    assert client.request(rest[0], "PUT", key, body=b"new").status == 200

    def refused():
        """Neither reads nor writes; a process that ended refuses too."""
        for method in ("GET", "PUT"):
            try:
                if client.request(gone, method, key, body=b"x" if method == "PUT" else b"").status < 500:
                    return False
            except (Lost, Unreachable):
                pass
        return True

    assert eventually(refused, 30), f"the removed node answers clients\n{gone.log_tail()}"
    # Started anew, with all that it had on its drive, it stays out.
    if gone.process.poll() is None:
        gone.kill()
    gone.process = None
    gone.start(wait=False)
    for _ in range(10):
        time.sleep(0.5)
        assert refused(), f"the removed node answers clients after a restart\n{gone.log_tail()}"
    for node in rest:
        assert gone.id not in node.nodes()
        assert client.request(node, "GET", key).body == b"new"
    if gone.process.poll() is not None:
        gone.process = None


class Writers:
    """Clients that write and read without a pause, at nodes that stay up; every answer that is no success is an error."""

    def __init__(self, grid, nodes):
        self.grid, self.errors, self.written, self.longest = grid, [], 0, 0.0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(node, kind)) for node in nodes for kind in (900, 300_000)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client hangs"

    def _write(self, node, size):
        client, number = self.grid.s3(timeout=30), 0
        while not self.stopping.is_set():
            number += 1
            key, body = f"/load/{node.number}/{size}/{number}", f"{number}\n".encode() * (size // 4)
            begin = time.monotonic()
            try:
                put = client.request(node, "PUT", key, body=body)
                got = client.request(node, "GET", key)
                if (put.status, got.status, got.body == body) != (200, 200, True):
                    self.errors.append((key, put.status, put.code, got.status, got.code))
            except (Lost, Unreachable) as error:
                self.errors.append((key, repr(error)))
            self.written += 1
            self.longest = max(self.longest, time.monotonic() - begin)
            time.sleep(0.02)

    def more(self, count=20):
        goal = self.written + count
        assert eventually(lambda: self.written >= goal, 60), f"writes stand still: {self.errors}"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_clients_see_no_error_when_the_leader_goes(make_grid, how):
    """Who writes at another node waits, and is told of nothing; nor is who writes at the one that came back, once it is ready."""
    grid = make_grid(4)
    for node in grid.nodes:  # also who joined last has heard of the drives of all
        assert eventually(lambda node=node: node.status()["promise"].startswith("ec:2+2"), 30), node.status()
    leader = grid.wait_leader()
    with Writers(grid, [node for node in grid.nodes if node is not leader]) as writers:
        writers.more()
        getattr(leader, how)()
        writers.more(60)
        leader.start()
        with Writers(grid, [leader]) as at_the_newcomer:
            at_the_newcomer.more()
        writers.more()
    assert not at_the_newcomer.errors, at_the_newcomer.errors[:10]
    print(f"{how}: {writers.written} writes, the longest took {writers.longest:.1f} s")
    assert not writers.errors, f"{len(writers.errors)} of {writers.written}: {writers.errors[:10]}"
