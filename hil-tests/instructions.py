"""Instructions a byte of a PUT and a GET, by stage and in all, for the processors of boards: hil-tests/run instructions aarch64|armv7.

Counted under qemu-user (instructions.c), where neither clock nor cache plays a part: the same on any computer. Each figure is
what more rounds cost, by their bytes, so that the start does not count. Needs the agent that `just cross` built."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from served import Served, client

TOP = pathlib.Path(__file__).resolve().parent.parent
PROCESSORS = {
    "aarch64": ("aarch64-unknown-linux-musl", "qemu-aarch64"),
    "armv7": ("armv7-unknown-linux-musleabihf", "qemu-arm"),
}
# Stage → which of PUT and GET it is part of.
STAGES = {"md5": "PUT", "sha256": "PUT, signed with its body", "crc32": "PUT, with this checksum", "seal": "PUT",
          "encode 2+1": "PUT, with ec:2+1", "frame hash": "both", "open": "GET"}
# Boards mostly lack AES instructions, which the emulated processors have. One disk stands for several here.
BOARDS = 'cipher = "chacha20-poly1305"\ndrives_are_domains = true\n'
ROUNDS = (4, 12)
OBJECT_BYTES = 16 << 20
OBJECTS = (1, 5)


class Counter:
    """Runs programs of another processor and says how many instructions they took."""

    def __init__(self, emulator, folder):
        version = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True).stdout
        major = int(re.search(r"version (\d+)", version).group(1))
        self.plugin, self.out, self.emulator = folder / "count.so", folder / "count", emulator
        source = pathlib.Path(__file__).with_name("instructions.c")
        command = ["cc", "-O2", "-shared", "-fPIC", f"-DVERSION={1 if major < 9 else 2}", source, "-o", self.plugin]
        subprocess.run(command, check=True)

    def command(self, *words):
        return [self.emulator, "-plugin", f"{self.plugin},out={self.out}", *words]

    def count(self):
        """Of the program that ended last."""
        return int(self.out.read_text())


def stages(counter, program):
    for stage, part in STAGES.items():
        counts = []
        for rounds in ROUNDS:
            told = subprocess.run(counter.command(program, stage, str(rounds)), capture_output=True, text=True, check=True)
            counts.append(counter.count())
        per_byte = (counts[1] - counts[0]) / ((ROUNDS[1] - ROUNDS[0]) * int(told.stdout))
        print(f"| {stage} | {part} | {per_byte:.2f} |", flush=True)


def whole(counter, agent, folder, drives, profile):
    """A PUT, and a GET, through the agent."""
    for name in ("PUT", "GET"):
        counts = []
        for objects in OBJECTS:
            place = pathlib.Path(tempfile.mkdtemp(dir=folder))
            config = place / "shoal.toml"
            init = [counter.emulator, agent, "init", "--config", config, "--same-file-system-ok", "--json"]
            for number in range(drives):
                (place / f"drive-{number}").mkdir()
                init += ["--drive", place / f"drive-{number}"]
            told = subprocess.run(init, capture_output=True, text=True, check=True).stdout
            config.write_text(BOARDS + f'profile = "{profile}"\n' + config.read_text())
            served = Served(counter.command(agent, "serve", "--config", config), place / "log")
            served.wait()
            s3 = client(served, json.loads(told.splitlines()[-1]))
            s3.create_bucket(Bucket="count")
            body = os.urandom(OBJECT_BYTES)
            if name == "GET":
                s3.put_object(Bucket="count", Key="object", Body=body)
            for number in range(objects):
                if name == "PUT":
                    s3.put_object(Bucket="count", Key=str(number), Body=body)
                else:
                    assert s3.get_object(Bucket="count", Key="object")["Body"].read() == body
            served.stop()
            counts.append(counter.count())
        per_byte = (counts[1] - counts[0]) / ((OBJECTS[1] - OBJECTS[0]) * OBJECT_BYTES)
        print(f"| a whole {name} of {OBJECT_BYTES >> 20} MiB, `{profile}` | | {per_byte:.2f} |", flush=True)


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSORS:
        sys.exit(f"usage: hil-tests/run instructions {'|'.join(PROCESSORS)}")
    target, emulator = PROCESSORS[sys.argv[1]]
    if not shutil.which(emulator):
        sys.exit(f"{emulator} is missing: apt-get install qemu-user (what is linked statically takes no plugins)")
    built = TOP / "target/cross" / target
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        counter = Counter(emulator, folder)
        print("| stage | of | instructions a byte |\n|---|---|---|")
        stages(counter, built / "board/examples/stages")
        whole(counter, built / "board/shoal", folder, 1, "copies:1")
        whole(counter, built / "board/shoal", folder, 3, "ec:2+1")


if __name__ == "__main__":
    main()
