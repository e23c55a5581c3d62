"""The story: boards flashed with one ticket are plugged in, find each other, and keep everything while one loses power."""

import json
import os
import threading
import time

import pytest

from board import PATIENCE
from grids import READY, Boards
from wires import Grid, hosts

BOARD = "qemu-virt-arm64"
GUESTS = 4
WRITERS = 2
# Between two objects of a writer: how much four emulated boards on a few cores can carry is not what is tested.
PAUSE = 1
# Written before the cut, and as many more while the power is away.
OBJECTS_BEFORE, OBJECTS_AFTER = 6, 12
OBJECT_BYTES = 1 << 20
AGENT_ENDED = "shoal: the agent ended"


class Writers:
    """Threads that put objects; `kept` is what was acknowledged."""

    def __init__(self, s3, netns):
        self.s3, self.netns, self.kept, self.stop = s3, netns, {}, threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def _write(self, number):
        with hosts.inside(self.netns):
            count = 0
            while not self.stop.is_set():
                key, body = f"{number}/{count}", os.urandom(OBJECT_BYTES)
                try:
                    self.s3.put_object(Bucket="story", Key=key, Body=body)
                except Exception as error:  # not acknowledged: the next one is tried
                    print(f"{key}: {error}")
                else:
                    self.kept[key] = body
                count += 1
                self.stop.wait(PAUSE)

    def wait_for(self, count):
        until = time.monotonic() + PATIENCE
        while len(self.kept) < count:
            assert time.monotonic() < until, f"{len(self.kept)} objects are acknowledged, not {count}"
            time.sleep(0.1)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_boards_with_one_ticket_become_a_grid_and_one_loses_power(boards, wires, false_grid):
    grid = Boards(boards, wires, [BOARD] * GUESTS, "ec:2+2")
    status = json.loads(grid.command("status", "--json"))
    assert any(line.startswith("applied: shoal.toml") for line in status["board"]), status["board"]
    with hosts.inside(wires.client.netns):
        s3 = grid.s3(1)
        s3.create_bucket(Bucket="story")
        writers = Writers(s3, wires.client.netns)
        try:
            writers.wait_for(OBJECTS_BEFORE)
            grid.others[-1].cut_power()
            writers.wait_for(OBJECTS_BEFORE + OBJECTS_AFTER)
        finally:
            writers.end()
        for key, body in writers.kept.items():
            for through in (0, 1):
                read = grid.s3(through).get_object(Bucket="story", Key=key)["Body"].read()
                assert read == body, f"{key} through {grid.addresses[through]}"
    after = grid.others[-1].serial.mark()
    grid.others[-1].power_on()
    grid.others[-1].serial.wait_for(READY, after)
    for board in (grid.first, *grid.others):
        assert AGENT_ENDED not in board.serial.text, "an agent gave up where it should have waited for the others"

    stranger = boards(BOARD, network=wires.tap())
    wrong = grid.ticket[:-1] + ("a" if grid.ticket[-1] != "a" else "b")
    stranger.put_on_card("ticket.txt", wrong)
    stranger.power_on()
    stranger.serial.wait_for(AGENT_ENDED)
    assert grid.members() == GUESTS
    assert wrong in stranger_card(stranger), "a ticket that did not work stays where its owner can look at it"
    assert len(false_grid.nodes[0].nodes()) == 1, "a board joined the grid that it had no ticket of"


@pytest.fixture
def false_grid(wires, tmp_path):
    """Another grid on the same wire, which answers whoever looks for one."""
    made = Grid(wires.network, tmp_path / "false")
    made.add()
    yield made
    made.close()


def stranger_card(board):
    board.cut_power()
    return board.read_from_card("ticket.txt")
