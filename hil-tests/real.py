"""Real boards: a serial line, and a command that switches the power. See README.md for the file that describes them."""

import os
import subprocess
import tomllib

import pytest

from board import Board, Serial


class RealBoard(Board):
    """`described`: one table of the file."""

    # Cards are flashed by hand and stay in their boards.
    has_power_button = False
    card_at_hand = False

    def __init__(self, described):
        self.name, self.s3 = described["name"], described["s3"]
        self.power = described["power"]
        self.serial = Serial()
        self.line = os.open(described["serial"], os.O_RDONLY | os.O_NOCTTY)
        subprocess.run(["stty", "-F", described["serial"], str(described.get("baud", 115200)), "raw"], check=True)
        self.serial.follow(lambda: os.read(self.line, 4096))

    def let_it_found(self):
        """It was flashed so."""

    def power_on(self):
        subprocess.run(self.power["on"], shell=True, check=True)

    def cut_power(self):
        subprocess.run(self.power["off"], shell=True, check=True)

    def close(self):
        self.cut_power()
        os.close(self.line)


def parameters():
    """The described boards as parameters of a test; where there are none, one that is skipped and says so."""
    path = os.environ.get("SHOAL_HIL_BOARDS")
    if not path:
        why = "no real boards: SHOAL_HIL_BOARDS names a file that describes them (README.md)"
        return [pytest.param(None, marks=pytest.mark.skip(reason=why), id="real")]
    with open(path, "rb") as file:
        return [pytest.param(described, id=f"real-{described['name']}") for described in tomllib.load(file)["board"]]
