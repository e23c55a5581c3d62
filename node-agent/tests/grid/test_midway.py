"""A node that dies while objects are being written to others: clients without retries notice nothing but the time it takes."""

import io
import random
import threading
import time

import boto3
import pytest
from botocore.config import Config

from conftest import settle, until_drives_are_known
from hosts import inside
from s3 import PORT

SIZE = 96 << 20  # a whole segment of 64 MiB and part of the next; the fault comes in the middle of the first
FAULT_AT = 40 << 20


class Body(io.BytesIO):
    """Bytes that call `fault` once, when so many of them were read to be sent. Before that the client reads all of them for its
    signature, and begins anew."""

    def __init__(self, data, fault):
        super().__init__(data)
        self.fault, self.sending, self.whole = fault, False, len(data)

    def read(self, size=-1):
        data = super().read(size)
        if self.fault and self.sending and self.tell() >= FAULT_AT:
            self.fault()
            self.fault = None
        return data

    def seek(self, offset, whence=io.SEEK_SET):
        self.sending |= self.tell() == self.whole
        return super().seek(offset, whence)


def boto(grid, node):
    """To be used inside the client's namespace."""
    once = Config(
        retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required",
        s3={"addressing_style": "path"},
        read_timeout=120,
    )
    return boto3.client(
        "s3",
        endpoint_url=f"http://{node.address}:{PORT}",
        aws_access_key_id=grid.keys["access_key"],
        aws_secret_access_key=grid.keys["secret_key"],
        region_name="us-east-1",
        config=once,
    )


@pytest.mark.parametrize("fault", ["kill", "freeze", "unplug"])
@pytest.mark.parametrize("who", ["follower", "leader"])
def test_put_survives_a_node_lost_midway(make_grid, seed, who, fault):
    grid = make_grid(3)
    leader = grid.wait_leader()
    others = [node for node in grid.nodes if node is not leader]
    victim, asked = (leader, others[0]) if who == "leader" else (others[0], others[1])
    rest = [node for node in grid.nodes if node is not victim]
    until_drives_are_known(grid, rest, "ec:2+1", 3)
    data = f"{seed}/".encode() * (SIZE // len(f"{seed}/")) + b"end"
    strike = {"kill": victim.kill, "freeze": victim.freeze, "unplug": lambda: victim.host.plug(False)}[fault]
    body = Body(data, strike)
    with inside(grid.client.netns):
        answer = boto(grid, asked).put_object(Bucket="load", Key="large", Body=body)
    assert body.fault is None, "it struck while the body was on its way"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["ResponseMetadata"]["RetryAttempts"] == 0
    # It is still gone.
    for node in rest:
        with inside(grid.client.netns):
            got = boto(grid, node).get_object(Bucket="load", Key="large")["Body"].read()
        assert got == data, f"{node} reads other bytes"
    # And back; then each of the others may go.
    {"kill": victim.start, "freeze": victim.thaw, "unplug": lambda: victim.host.plug(True)}[fault]()
    settle(grid)
    for node in rest:
        node.kill()
        reader = next(other for other in rest if other is not node)
        grid.wait_leader(among=[reader])
        with inside(grid.client.netns):
            got = boto(grid, reader).get_object(Bucket="load", Key="large")["Body"].read()
        assert got == data, f"{reader} reads other bytes without {node}"
        node.start()
        settle(grid)


class Writers:
    """Clients that put objects of many stripes to `nodes`, each key once, and remember every answer."""

    SIZES = (300_000, 1_500_000, 5_000_000)
    CLIENTS = 6

    def __init__(self, grid, seed, nodes):
        self.grid, self.seed, self.nodes = grid, seed, nodes
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.answers, self.broken = {}, []
        self.threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(self.CLIENTS)]

    def body(self, key):
        mark = f"{self.seed}/{key}\n".encode()
        return mark * (random.Random(f"{self.seed}/{key}").choice(self.SIZES) // len(mark) + 1)

    def _work(self, number):
        client, count = self.grid.s3(timeout=90), 0
        try:
            while not self.stopping.is_set():
                key, count = f"c{number}/{count:04d}", count + 1
                answer = client.request(self.nodes[count % len(self.nodes)], "PUT", f"/load/{key}", body=self.body(key))
                with self.lock:
                    self.answers[key] = answer
        except BaseException as broken:
            self.broken.append(f"client {number}: {broken!r}")
            raise
        finally:
            client.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def more(self, count, seconds=60):
        """Waits for so many more answers."""
        goal, end = len(self.answers) + count, time.monotonic() + seconds
        while len(self.answers) < goal and not self.broken:
            assert time.monotonic() < end, f"the clients stand still at {len(self.answers)} answers"
            time.sleep(0.05)

    def __exit__(self, kind, value, trace):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=120)

    def check(self, node):
        client = self.grid.s3(timeout=60)
        for key, answer in self.answers.items():
            got = client.request(node, "GET", f"/load/{key}")
            if answer.status == 200:
                assert got.status == 200 and got.body == self.body(key), f"{key} on {node}: {got.status} {got.code}"
        client.close()


@pytest.mark.parametrize("who", ["follower", "leader"])
def test_many_puts_survive_a_killed_node(make_grid, seed, who):
    """`ec:2+1` on three nodes needs all three, and one goes: no error, nothing acknowledged is lost."""
    grid = make_grid(3)
    leader = grid.wait_leader()
    victim = leader if who == "leader" else next(node for node in grid.nodes if node is not leader)
    rest = [node for node in grid.nodes if node is not victim]
    until_drives_are_known(grid, rest, "ec:2+1", 3)
    with Writers(grid, seed, rest) as writers:
        writers.more(15)
        victim.kill()
        writers.more(40)
    assert not writers.broken, writers.broken
    refused = {key: (answer.status, answer.code) for key, answer in writers.answers.items() if answer.status != 200}
    print(f"{len(writers.answers)} answers, refused: {refused}")
    assert not refused, f"{refused}\n{grid.log_tails()}"
    for node in rest:
        writers.check(node)
    victim.start()
    settle(grid)
    for node in rest:
        node.kill()
        reader = next(other for other in rest if other is not node)
        grid.wait_leader(among=[reader])
        writers.check(reader)
        node.start()
        settle(grid)
