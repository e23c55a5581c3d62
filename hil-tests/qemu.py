"""Boards in QEMU, started from the image of a card with its real boot loader."""

import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tomllib
import zlib

from board import Board, Serial
from wires import TimeServer

TOP = pathlib.Path(__file__).resolve().parent.parent
IMAGES = TOP / "target/image"
SHOAL_IMAGE = TOP / os.environ.get("SHOAL_IMAGE_BIN", "target/ci/shoal-image")
# Sparse files: what an image leaves of it is data.
CARD_BYTES = 2 << 30
DRIVE_BYTES = 4 << 30
MTOOLS_BOOT = "@@1M"
MTOOLS_SLOT = {"a": "@@65M", "b": "@@161M"}
# docs/formats/card.md, "Boot state".
GRUB_STATE, GRUB_STATE_BYTES = "EFI/debian/grubenv", 1024
U_BOOT_STATE_AT, U_BOOT_STATE_BYTES = (512 << 10, 516 << 10), 512
OFF_PATIENCE = 90
# This computer, as QEMU's own network shows it to a guest.
HOST_OF_GUESTS = "10.0.2.2"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shoal_image(*arguments):
    return subprocess.run([SHOAL_IMAGE, *arguments], cwd=TOP, check=True, capture_output=True, text=True).stdout.strip()


class QemuBoard(Board):
    """`network`: QEMU's arguments for the board's network, and the words before QEMU's command that lead to it; QEMU's own
    network, with S3 at a port of this host, where it is not said."""

    def __init__(self, name, folder, network=None, drives=0, number=0):
        self.name, self.folder, self.number = name, pathlib.Path(folder), number
        self.folder.mkdir(parents=True, exist_ok=True)
        self.emulator = json.loads(shoal_image("emulator", name))
        program = self.emulator["program"]
        assert shutil.which(program), f"{program} is not installed: README.md says which package has it"
        self.has_power_button = self.has_pci
        self.has_watchdog = self.has_pci and self.emulator["watchdog"]
        if not self.has_pci:
            self.large_bytes = 3 << 20  # its emulated USB carries some 150 KB a second
        self.card = self.folder / "card.img"
        self.drives = [self.folder / f"drive-{index}.img" for index in range(drives)]
        self.flash()
        for drive in self.drives:
            with open(drive, "wb") as file:
                file.truncate(DRIVE_BYTES)
        self.serial = Serial(self.folder / "serial.log")
        self.process = None
        if network is None:
            port = free_port()
            network = (["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:9000"], [])
            self.s3 = f"http://127.0.0.1:{port}"
        self.network, self.prefix = network
        self.time = None if self.emulator["real_time_clock"] else TimeServer(port=0)
        if self.time:
            host = f"{HOST_OF_GUESTS}:{self.time.address.split(':')[1]}"
            self.found += f'[clock]\nsource = "proven"\nntp = ["{host}"]\n'

    def flash(self):
        """A fresh card; what was on it is gone."""
        image = IMAGES / f"shoal-{self.name}.img"
        subprocess.run(["cp", "--sparse=always", image, self.card], check=True)
        os.truncate(self.card, CARD_BYTES)

    def power_on(self):
        assert self.process is None, "it is on already"
        command = [*self.prefix, self.emulator["program"], *self.emulator["arguments"]]
        command += ["-nodefaults", "-display", "none", "-monitor", "none", "-chardev", "stdio,id=line,signal=off"]
        command += ["-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"]
        if firmware := self.emulator["firmware"]:
            flash = ["-drive", f"if=pflash,format=raw,readonly=on,file={firmware}"]
            ways = {"flash": flash, "bios": ["-bios", firmware], "kernel": ["-kernel", firmware]}
            command += ways[self.emulator["firmware_as"]]
        if tree := self.emulator["device_tree"]:
            command += ["-dtb", self._device_tree(tree)]
        mac = f"52:54:00:5a:{self.number:02x}:01"
        command += ["-serial", "null"] * self.emulator["serial_port"] + ["-serial", "chardev:line"]
        if self.has_pci:
            for index, path in enumerate([self.card, *self.drives]):
                command += ["-drive", f"if=none,id=disk{index},format=raw,discard=unmap,file={path}"]
                command += ["-device", f"virtio-blk-pci,drive=disk{index}" + (",bootindex=0" if index == 0 else "")]
            command += self.network + ["-device", f"virtio-net-pci,netdev=net,mac={mac},romfile="]
            command += ["-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset"]
        else:
            assert not self.drives, "drives of such machines are not emulated"
            command += ["-drive", f"if=sd,format=raw,file={self.card}"]
            command += self.network + ["-device", f"usb-net,netdev=net,mac={mac}"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.serial.follow(functools.partial(self.process.stdout.read1, 4096))

    @property
    def has_pci(self):
        return self.emulator["bus"] == "pci"

    def _device_tree(self, path):
        """The machine's, without the devices that it cannot have here: no driver knows the name that they get."""
        content = pathlib.Path(path).read_bytes()
        for name in self.emulator["hidden"]:
            assert name.encode() in content, f"{path} has no {name}"
            content = content.replace(name.encode(), b"hidden," + b"-" * (len(name) - 7))
        changed = self.folder / "machine.dtb"
        changed.write_bytes(content)
        return changed

    def cut_power(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def _order(self, command, **arguments):
        """Of QEMU itself."""
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.connect(str(self.folder / "qmp"))
            lines = qmp.makefile("rw")
            for order in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(order) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    assert "error" not in answer, answer

    def press_power_button(self):
        self._order("system_powerdown")
        self.process.wait(OFF_PATIENCE)
        self.process = None

    def hang(self):
        """The kernel stops for good, if `let_it_hang` was called before: a break on the serial line, and what crashes Linux."""
        self._order("chardev-send-break", id="line")
        self.process.stdin.write(b"c")
        self.process.stdin.flush()

    def close(self):
        if self.process:
            self.cut_power()
        if self.time:
            self.time.close()

    def put_on_card(self, name, text):
        assert self.process is None, "the card is in the board"
        subprocess.run(
            ["mcopy", "-o", "-i", f"{self.card}{MTOOLS_BOOT}", "-", f"::{name}"], input=text, text=True, check=True
        )

    def read_from_card(self, name):
        assert self.process is None, "the card is in the board"
        read = subprocess.run(
            ["mtype", "-i", f"{self.card}{MTOOLS_BOOT}", f"::{name}"], capture_output=True, text=True
        )
        return read.stdout.replace("\r", "") if read.returncode == 0 else None

    def set_boot_state(self, **variables):
        """As an update would, while the power is off: `slot`, `trial`, `tries`."""
        if self.read_from_card(GRUB_STATE) is not None:
            lines = "".join(f"{name}={value}\n" for name, value in variables.items())
            text = ("# GRUB Environment Block\n" + lines).ljust(GRUB_STATE_BYTES, "#")
            return self.put_on_card(GRUB_STATE, text)
        text = b"".join(f"{name}={value}\0".encode() for name, value in variables.items())
        text = text.ljust(U_BOOT_STATE_BYTES - 4, b"\0")
        with open(self.card, "r+b") as card:
            for at in U_BOOT_STATE_AT:
                card.seek(at)
                card.write(zlib.crc32(text).to_bytes(4, "little") + text)

    def let_it_hang(self, slot):
        """The kernel of a slot takes orders by the serial line and does not start anew after a crash; while the power is off."""
        volume, name = f"{self.card}{MTOOLS_SLOT[slot]}", "::command_line.env"
        text = subprocess.run(["mtype", "-i", volume, name], capture_output=True, text=True, check=True).stdout
        length = len(text)
        text = text.rstrip("#").replace("panic=5", "panic=0 sysrq_always_enabled")
        assert "panic=0" in text, "the command line says what the kernel does after a crash"
        padded = text.ljust(length, "#") if text.startswith("#") else text
        subprocess.run(["mcopy", "-o", "-i", volume, "-", name], input=padded, text=True, check=True)

    def empty_slot(self, slot):
        """Its kernel is gone, while the power is off."""
        assert self.process is None, "the card is in the board"
        subprocess.run(["mdel", "-i", f"{self.card}{MTOOLS_SLOT[slot]}", "::kernel"], check=True)


def tested_boards():
    """Names of the boards whose configuration says `tested` and whose image was built."""
    names = []
    for path in sorted((TOP / "board-configs").glob("*.toml")):
        if path.name.startswith("_") or path.stem.endswith(".lock"):
            continue
        if tomllib.loads(path.read_text()).get("support") == "tested" and (IMAGES / f"shoal-{path.stem}.img").exists():
            names.append(path.stem)
    return names


def missing():
    """What this host lacks for QEMU boards, as a sentence; None where nothing is missing."""
    for program in ("qemu-system-aarch64", "mcopy"):
        if shutil.which(program) is None:
            return f"{program} is not installed: .ci/setup with SHOAL_SETUP=test brings it"
    return None
