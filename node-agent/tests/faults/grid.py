"""One real grid of one node: started, killed, restarted; its drives, its S3 client, its command line."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions

SHOAL = pathlib.Path(os.environ.get("SHOAL_BIN", "target/ci/shoal")).resolve()
READY_SECONDS_MAX = 60


class Grid:
    """`shoal demo --json --dir DIR`, as a user would run it."""

    def __init__(self, directory, drives=4, profile="auto", options=()):
        self.directory = pathlib.Path(directory)
        self.options = ["--drives", str(drives), "--profile", profile, *options]
        self.process = None
        self.ready = None
        self.log = self.directory.with_suffix(".log")

    def start(self):
        assert self.process is None, "already running"
        command = [SHOAL, "demo", "--json", "--dir", self.directory, "--s3-port", "0", "--admin-port", "0"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.PIPE, stderr=log)
        timer = threading.Timer(READY_SECONDS_MAX, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            status = self.process.wait()
            self.process = None
            raise AssertionError(f"the grid did not start (status {status}):\n{self.log_tail()}")
        self.ready = json.loads(line)
        return self

    def log_tail(self):
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def kill(self):
        """Power off as far as a process can see it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the grid did not stop on SIGTERM:\n{self.log_tail()}")
            finally:
                self.process = None

    def s3(self, attempts=1):
        config = botocore.config.Config(
            retries={"max_attempts": attempts, "mode": "standard"},
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=64,
        )
        return boto3.client(
            "s3",
            endpoint_url=self.ready["endpoint"],
            aws_access_key_id=self.ready["access_key"],
            aws_secret_access_key=self.ready["secret_key"],
            region_name=self.ready["region"],
            config=config,
        )

    def command(self, *arguments, check=True):
        """Runs `shoal ARGUMENTS --json` against this grid's admin port; the parsed answer."""
        done = subprocess.run(
            [SHOAL, *arguments, "--json", "--admin", self.ready["admin"], "--operator-key", self.ready["admin_key"]],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, f"shoal {arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ready_now(self):
        """What /health/ready says: ready?, and why not."""
        try:
            with urllib.request.urlopen(self.ready["admin"] + "/health/ready", timeout=10) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as refused:
            body = json.load(refused)
        return body["ready"], body["reasons"]

    def drives(self):
        """The drive folders, found by their labels, in order of their names."""
        return sorted(path.parent for path in self.directory.rglob("shoal-drive"))


def pull_out(folder):
    """Takes a folder away under a node that may be writing into it."""
    gone = folder.with_suffix(".gone")
    folder.rename(gone)
    while gone.exists():
        shutil.rmtree(gone, ignore_errors=True)


def noise(seed, size):
    """Bytes that do not compress and that a seed repeats."""
    out = bytearray()
    counter = 0
    while len(out) < size:
        block = hashlib.sha512(f"{seed}/{counter}".encode()).digest()
        out += block * 64  # repeats within 4 KiB; every 4 KiB differs
        counter += 1
    return bytes(out[:size])


def digest(data):
    return hashlib.sha256(data).hexdigest()


def files_of(drive):
    """All regular files of a drive but its label and identity, largest first."""
    found = [path for path in drive.rglob("*") if path.is_file() and "shoal" not in path.name]
    return sorted(found, key=lambda path: -path.stat().st_size)


def chunk_files(drive):
    """Files that hold chunks: not metadata, not labels."""
    return [path for path in files_of(drive) if "meta" not in path.relative_to(drive).parts and "index" not in path.name]


def flip(path, offset, count=1):
    """Inverts `count` bytes in place."""
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(count)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in old))


def eventually(check, seconds=90, every=0.5):
    """Waits until `check` gives something true; its last answer."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(every)
