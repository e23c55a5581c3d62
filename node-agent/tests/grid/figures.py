"""Figures of a grid whose nodes are hosts of their own: `just grid-figures`. Prints the rows of a table for docs/bench.md.

Nothing here asserts a time; what is measured is checked for being right.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

import hosts
from conftest import settle
from grid import Grid, eventually
from s3 import Lost, Unreachable

FAILOVERS = 7
OBJECT = 8 << 20
OBJECTS = 64


def put(client, node, path, body):
    return client.request(node, "PUT", path, body=body).status == 200


def first_chunk(grid):
    """Seconds from making a ticket and starting the agent of a new host until it serves, and until a client's chunk lies on its drive."""
    begin = time.monotonic()
    node = grid.add(drives=2)
    joined = time.monotonic() - begin
    client, count = grid.s3(), 0
    while True:
        count += 1
        assert put(client, node, f"/load/first-{count}", os.urandom(1 << 20))
        place = node.command("locate", f"s3://load/first-{count}", "--json")
        if any(chunk["node"] == node.id for segment in place["segments"] for chunk in segment["chunks"]):
            return joined, time.monotonic() - begin


def failover(grid):
    """The longest time that one PUT of 4 KiB took, its retries at another node counted, while a leader was killed."""
    leader = grid.wait_leader()
    client, others = grid.s3(), [node for node in grid.nodes if node is not leader]
    worst, count, killed = 0.0, 0, None
    begin = time.monotonic()
    while killed is None or time.monotonic() - killed < 8:
        if killed is None and time.monotonic() - begin > 1:
            leader.kill()
            killed = time.monotonic()
        started, tries = time.monotonic(), 0
        while True:
            try:
                if put(client, others[tries % len(others)], f"/load/over-{count}", os.urandom(4096)):
                    break
            except (Lost, Unreachable):
                pass
            tries += 1
        worst = max(worst, time.monotonic() - started)
        count += 1
    leader.start()
    settle(grid)
    return worst


def rebuild(grid):
    """MB/s at which what a removed node held is made anew elsewhere."""
    client = grid.s3(timeout=60)
    for number in range(OBJECTS):
        assert put(client, grid.nodes[0], f"/load/big-{number:03}", os.urandom(OBJECT))
    gone, asked = grid.nodes[-1], grid.nodes[0]

    def places():
        for number in range(OBJECTS):
            yield from asked.command("locate", f"s3://load/big-{number:03}", "--json")["segments"]

    lost = sum(
        segment["bytes"] / int(segment["profile"].split(":")[1].split("+")[0])
        for segment in places()
        for chunk in segment["chunks"]
        if chunk["node"] == gone.id
    )
    gone.kill()
    begin = time.monotonic()
    # It must be seen as gone first: how long that takes is part of the figure.
    asked.command("node", "remove", gone.id)
    assert eventually(
        lambda: all(chunk["readable"] for segment in places() for chunk in segment["chunks"]), seconds=600, every=1
    ), "not all was made anew"
    return lost / 1e6, time.monotonic() - begin


def idle(grid, seconds=20):
    """CPU of each node in percent of a core, while nothing happens."""

    def used(node):
        fields = pathlib.Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = [used(node) for node in grid.nodes]
    time.sleep(seconds)
    return [(used(node) - was) / seconds * 100 for node, was in zip(grid.nodes, before)]


def main():
    hosts.sweep()
    if reason := hosts.why_not():
        sys.exit(reason)
    network = hosts.Network()
    with tempfile.TemporaryDirectory() as folder:
        grid = Grid(network, pathlib.Path(folder))
        try:
            for _ in range(3):
                # Two drives each: with fewer drives than chunks there would be nowhere to rebuild to.
                grid.add(drives=2)
            settle(grid)
            grid.bucket("load")
            joined, chunk = first_chunk(grid)
            print(f"| a new host joins and serves | {joined:.1f} s |")
            print(f"| … and holds a client's first chunk | {chunk:.1f} s (bar 10 s) |", flush=True)
            settle(grid)
            print(f"| idle CPU of each of 4 nodes | {', '.join(f'{one:.1f}' for one in idle(grid))} % of a core (bar 1 %) |", flush=True)
            times = sorted(failover(grid) for _ in range(FAILOVERS))
            print(
                f"| longest PUT over {FAILOVERS} deaths of the leader | median {statistics.median(times):.1f} s, worst {times[-1]:.1f} s "
                "(bar 5 s) |",
                flush=True,
            )
            megabytes, seconds = rebuild(grid)
            print(f"| rebuild of {megabytes:.0f} MB of a removed node on 3 others | {megabytes / seconds:.0f} MB/s |")
        finally:
            grid.close()
            network.close()


if __name__ == "__main__":
    main()
