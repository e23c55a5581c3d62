"""A node that dies while a large object is being written to another one: the client, a real one without retries, notices nothing."""

import io

import boto3
import pytest
from botocore.config import Config

from conftest import settle
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
