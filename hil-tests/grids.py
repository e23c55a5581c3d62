"""Grids of boards in QEMU on one bridge."""

import os
import pathlib
import time

from board import PATIENCE, Keys, client
from wires import address_in

READY = r"shoal: (ready: S3 at http://10\.73\.0\.\d+:)"


class Boards:
    """A grid of boards on one bridge: the first one founds it, the others have one ticket, and nobody touches them."""

    def __init__(self, boards, wires, names, profile):
        self.wires = wires
        self.first, *self.others = [boards(name, network=wires.tap()) for name in names]
        self.first.put_on_card("shoal.toml", f'profile = "{profile}"\n[admin]\ntls = "off"\n[board]\nfound = true\n')
        self.first.power_on()
        self.keys = Keys(self.first.serial)
        self.addresses = [address_in(self.first.serial.wait_for(READY).group(1))]
        self.ticket = self.command("ticket", "create", "--uses", str(len(self.others)), "--expires", "1h").split()[0]
        for board in self.others:
            board.put_on_card("ticket.txt", self.ticket)
            board.power_on()
        self.addresses += [address_in(board.serial.wait_for(READY).group(1)) for board in self.others]
        for board in self.others:
            board.serial.wait_for("the ticket was wiped from the card")
        until = time.monotonic() + PATIENCE
        while self.members() != len(names):  # the list reaches every node in its time
            assert time.monotonic() < until, self.command("node", "list")
            time.sleep(0.5)

    def command(self, *words):
        shoal = pathlib.Path(os.environ["SHOAL_BIN"]).absolute()
        admin = ["--admin", f"http://{self.addresses[0]}:9001", "--operator-key", self.keys.operator]
        return self.wires.exec([shoal, *words, *admin])

    def members(self):
        return self.command("node", "list").count("10.73.0.")

    def s3(self, number):
        """A client of one board; to be used inside the clients' namespace."""
        return client(f"http://{self.addresses[number]}:9000", self.keys)
