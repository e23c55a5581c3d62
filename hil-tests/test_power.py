"""Power cuts at any time, and a card that died: what was acknowledged is there, and the board is the same one."""

import hashlib
import os
import random
import subprocess
import threading
import time

from board import Keys, client

BOARD = "qemu-virt-arm64"
READY = "shoal: ready: S3 at http://"
WRITERS = 2
OBJECT_BYTES_MAX = 2 << 20
# The moment of a cut is drawn from this many seconds after the board was ready, or after its kernel began where it hits the start.
CUT_AFTER_READY, CUT_IN_START = 6.0, 12.0
# Of the cuts, so many hit the start of a board instead of its writes.
START_SHARE = 0.25


class Writers:
    """Threads that put objects under ever new keys; `kept` holds the hash of what was acknowledged."""

    def __init__(self, s3, kept, life):
        self.s3, self.kept, self.life, self.stop = s3, kept, life, threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def _write(self, number):
        count = 0
        while not self.stop.is_set():
            key, body = f"{self.life}/{number}/{count}", os.urandom(random.randrange(OBJECT_BYTES_MAX))
            try:
                self.s3.put_object(Bucket="cuts", Key=key, Body=body)
            except Exception:
                return  # the power is away: this one was not acknowledged
            self.kept[key] = hashlib.sha256(body).hexdigest()
            count += 1

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def read(s3, key):
    return hashlib.sha256(s3.get_object(Bucket="cuts", Key=key)["Body"].read()).hexdigest()


def test_power_cuts(boards, cuts, seed):
    moments = random.Random(seed)
    board = boards(BOARD)
    board.let_it_found()
    board.power_on()
    keys = Keys(board.serial)
    board.serial.wait_for(READY)
    client(board.s3, keys).create_bucket(Bucket="cuts")
    kept = {}
    for life in range(cuts):
        writers = Writers(client(board.s3, keys, attempts=1), kept, life)
        time.sleep(moments.uniform(0, CUT_AFTER_READY))
        board.cut_power()
        writers.end()
        after = board.serial.mark()
        board.power_on()
        if moments.random() < START_SHARE:
            board.serial.wait_for("Starting kernel", after)
            time.sleep(moments.uniform(0, CUT_IN_START))
            board.cut_power()
            after = board.serial.mark()
            board.power_on()
        board.serial.wait_for(READY, after)
        s3 = client(board.s3, keys)
        of_this_life = [key for key in kept if key.startswith(f"{life}/")]
        for key in of_this_life + moments.sample(sorted(kept), min(len(kept), 5)):
            assert read(s3, key) == kept[key], f"{key} after cut {life + 1}"
        print(f"cut {life + 1} of {cuts}: {len(of_this_life)} objects written in this life, {len(kept)} in all")
    s3 = client(board.s3, keys)
    assert kept, "no object was ever acknowledged"
    for key, expected in kept.items():
        assert read(s3, key) == expected, key


def test_a_fresh_card_brings_the_same_board_back(boards):
    board = boards(BOARD, drives=1)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "shoal-data", board.drives[0]], check=True)
    board.let_it_found()
    board.power_on()
    keys = Keys(board.serial)
    board.serial.wait_for(READY)
    s3 = client(board.s3, keys)
    s3.create_bucket(Bucket="cuts")
    body = os.urandom(3 << 20)
    s3.put_object(Bucket="cuts", Key="kept", Body=body)
    board.cut_power()
    assert "making a data partition" not in board.serial.text, "the card was written though there is a drive"

    board.flash()
    after = board.serial.mark()
    board.power_on()
    board.serial.wait_for(READY, after)
    assert "founding a grid" not in board.serial.text[after:]
    assert client(board.s3, keys).get_object(Bucket="cuts", Key="kept")["Body"].read() == body


def test_cuts_in_the_first_starts(boards, cuts, seed):
    moments = random.Random(seed)
    for life in range((cuts + 4) // 5):
        board = boards(BOARD)
        board.let_it_found()
        board.power_on()
        board.serial.wait_for("Starting kernel")
        time.sleep(moments.uniform(0, CUT_IN_START))
        board.cut_power()
        after = board.serial.mark()
        board.power_on()
        board.serial.wait_for(READY, after)
        board.press_power_button()
        assert "ready: S3 at http://" in board.read_from_card("status.txt"), f"first start {life + 1}"
