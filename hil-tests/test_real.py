"""Real boards, where there are some."""

import os

import pytest

from board import Keys, client
from real import RealBoard, real_boards

BOARDS = real_boards()


@pytest.mark.skipif(not BOARDS, reason="no real boards: SHOAL_HIL_BOARDS names a file that describes them (README.md)")
@pytest.mark.parametrize("described", BOARDS, ids=lambda described: described["name"])
def test_a_flashed_card_becomes_a_grid_and_keeps_what_it_acknowledged(described):
    board = RealBoard(described)
    try:
        board.power_on()
        board.serial.wait_for("shoal: ready: S3 at http://")
        keys = Keys(board.serial)
        s3 = client(board.s3, keys)
        s3.create_bucket(Bucket="first")
        body = os.urandom(20 << 20)
        s3.put_object(Bucket="first", Key="large", Body=body)
        after = board.serial.mark()
        board.cut_power()
        board.power_on()
        board.serial.wait_for("shoal: ready: S3 at http://", after)
        assert s3.get_object(Bucket="first", Key="large")["Body"].read() == body
    finally:
        board.close()
