"""One board, from the power switch to S3 and back."""

import hashlib
import os

import pytest

import qemu
import real
from board import Keys, client

BOARDS = qemu.tested_boards() or ["qemu-virt-arm64"]


@pytest.mark.parametrize("which", BOARDS + real.parameters())
def test_a_flashed_card_becomes_a_grid_and_keeps_what_it_acknowledged(boards, which):
    board = boards(which)
    board.let_it_found()
    board.power_on()
    board.serial.wait_for("slot a: version .*, every file is what was signed")
    board.serial.wait_for("shoal: ready: S3 at http://")
    board.serial.wait_for(r"\d+ of \d+ MiB of memory are in use; \d+ KiB were written to the card")
    s3 = client(board.s3, Keys(board.serial))
    s3.create_bucket(Bucket="first")
    small, large = b"hello", os.urandom(board.large_bytes)
    s3.put_object(Bucket="first", Key="small", Body=small)
    s3.put_object(Bucket="first", Key="large", Body=large)

    after = board.serial.mark()
    board.cut_power()
    board.power_on()
    board.serial.wait_for("shoal: ready: S3 at http://", after)
    assert s3.get_object(Bucket="first", Key="small")["Body"].read() == small
    read = s3.get_object(Bucket="first", Key="large")["Body"].read()
    assert hashlib.sha256(read).digest() == hashlib.sha256(large).digest()
    assert "making a data partition" not in board.serial.text[after:]

    if board.has_power_button:
        board.press_power_button()
    else:
        board.cut_power()
    if not board.card_at_hand:
        return
    status = board.read_from_card("status.txt")
    assert "ready: S3 at http://" in status and "applied: shoal.toml" in status
    assert board.read_from_card("keys.txt") is None, "keys go to the card only when asked"
