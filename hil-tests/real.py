"""Real boards: a serial line, and a command that switches the power. See README.md for the file that describes them."""

import os
import subprocess
import threading
import tomllib

from board import Board, Serial


class RealBoard(Board):
    """`described`: one table of the file."""

    def __init__(self, described):
        self.name, self.s3 = described["name"], described["s3"]
        self.power = described["power"]
        self.serial = Serial()
        self.line = os.open(described["serial"], os.O_RDONLY | os.O_NOCTTY)
        subprocess.run(["stty", "-F", described["serial"], str(described.get("baud", 115200)), "raw"], check=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while data := os.read(self.line, 4096):
            self.serial.feed(data.decode(errors="replace"))

    def power_on(self):
        subprocess.run(self.power["on"], shell=True, check=True)

    def cut_power(self):
        subprocess.run(self.power["off"], shell=True, check=True)

    def close(self):
        self.cut_power()
        os.close(self.line)


def real_boards():
    path = os.environ.get("SHOAL_HIL_BOARDS")
    if not path:
        return []
    with open(path, "rb") as file:
        return tomllib.load(file)["board"]
