"""kill -9 under load: what was acknowledged is there, byte for byte; what was deleted stays deleted."""

import os
import random
import threading
import time

import botocore.exceptions

from grid import digest, noise

KILLS = int(os.environ.get("SHOAL_KILLS", "20"))
WRITERS = 6
SIZES = [0, 1, 900, 16_384, 16_385, 70_000, 131_072, 400_000, 1_500_000, 3_000_000]


class Writer(threading.Thread):
    """PUTs, overwrites and deletes its own keys; remembers what was acknowledged and what is open."""

    def __init__(self, number, client, state, stop):
        super().__init__(daemon=True)
        self.number, self.client, self.state, self.stopping = number, client, state, stop
        self.random = random.Random(f"{number}/{len(state)}/{time.monotonic_ns()}")

    def run(self):
        while not self.stopping.is_set():
            key = f"w{self.number}/{self.random.randrange(40)}"
            known = self.state.get(key, {None})
            try:
                if self.random.random() < 0.15:
                    self.state[key] = known | {None}  # open until answered
                    self.client.delete_object(Bucket="load", Key=key)
                    self.state[key] = {None}
                else:
                    size = self.random.choice(SIZES)
                    data = noise(f"{key}/{self.random.random()}", size)
                    self.state[key] = known | {digest(data)}
                    self.client.put_object(Bucket="load", Key=key, Body=data)
                    self.state[key] = {digest(data)}
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                time.sleep(0.01)  # the server is gone: this write stays open


def found(client, key):
    """Digest of the object, or None where there is none."""
    try:
        return digest(client.get_object(Bucket="load", Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return None


def test_kill_under_load(make_grid):
    grid = make_grid()
    grid.s3().create_bucket(Bucket="load")
    state = {}
    chance = random.Random(7)
    for round_number in range(KILLS):
        stop = threading.Event()
        writers = [Writer(number, grid.s3(), state, stop) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(chance.uniform(0.3, 1.8))
        grid.kill()
        stop.set()
        for writer in writers:
            writer.join(timeout=90)
            assert not writer.is_alive(), "a writer hangs after the kill"
        grid.start()
        client = grid.s3()
        for key, possible in sorted(state.items()):
            actual = found(client, key)
            assert actual in possible, f"round {round_number}: {key} is {actual}, acknowledged {possible}"
            state[key] = {actual}
        listed = {
            item["Key"]
            for page in client.get_paginator("list_objects_v2").paginate(Bucket="load")
            for item in page.get("Contents", [])
        }
        expected = {key for key, possible in state.items() if possible != {None}}
        assert listed == expected, f"round {round_number}: the listing differs from what is there"
    assert sum(possible != {None} for possible in state.values()) > 20, "the load wrote too little to prove anything"
