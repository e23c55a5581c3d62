"""What people leave on the card: the files of Raspberry Pi Imager, and the order to erase everything."""

import subprocess

import botocore.exceptions
import pytest

from board import Keys, client

BOARD = "qemu-virt-arm64"
READY = "shoal: ready: S3 at http://"
USER_DATA = "#cloud-config\nhostname: attic\nusers:\n- name: mary\n  passwd: $5$hash-of-a-password\nssh_pwauth: true\n"
NETWORK = """network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
  wifis:
    wlan0:
      access-points:
        "home":
          password: "the-password-of-a-network"
"""
BOOT_END = 65 << 20  # of volume SHOAL on the card
SECRETS = ("hash-of-a-password", "the-password-of-a-network")


def knows(board, keys):
    """Does the board's grid know these keys?"""
    try:
        client(board.s3, keys).list_buckets()
    except botocore.exceptions.ClientError as refused:
        assert refused.response["Error"]["Code"] == "InvalidAccessKeyId", refused
        return False
    return True


def test_an_imager_and_a_factory_reset(boards):
    board = boards(BOARD, drives=1)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "shoal-data", board.drives[0]], check=True)
    board.let_it_found()
    board.put_on_card("user-data", USER_DATA)
    board.put_on_card("network-config", NETWORK)
    board.power_on()
    board.serial.wait_for("shoal: ignored: `wifis` in network-config: the images of this board have no Wi-Fi")
    first = Keys(board.serial)
    board.serial.wait_for(READY)
    assert knows(board, first)
    board.press_power_button()
    status = board.read_from_card("status.txt")
    assert "host name attic" in status
    assert "ignored: `users`, `ssh_pwauth` in user-data: nobody logs in to a board" in status
    assert "hostname: attic" in board.read_from_card("user-data")
    with open(board.card, "rb") as card:
        on_card = card.read(BOOT_END)
    assert not any(secret.encode() in on_card for secret in SECRETS), "a secret is still on the card"

    # Words that order nothing, then the card alone, which holds no data here.
    for words, told in (
        ("yes please", "wrong: factory-reset.txt: write `erase this board's data`"),
        ("erase this board's data", "applied: factory-reset.txt"),
    ):
        board.put_on_card("factory-reset.txt", words)
        after = board.serial.mark()
        board.power_on()
        board.serial.wait_for(f"shoal: {told}", after)
        board.serial.wait_for(READY, after)
        assert knows(board, first), words
        board.press_power_button()
        assert "host name attic" in board.read_from_card("status.txt")

    board.put_on_card("factory-reset.txt", "Erase this board's data and its drives.\n")
    after = board.serial.mark()
    board.power_on()
    board.serial.wait_for("shoal: factory reset: erasing /dev/vd", after)
    second = Keys(board.serial, after)
    board.serial.wait_for(READY, after)
    assert knows(board, second) and not knows(board, first)
    board.press_power_button()
    assert board.read_from_card("factory-reset.txt") is None
    with pytest.raises(AssertionError):
        board.serial.wait_for("making a data partition", after, patience=0)
