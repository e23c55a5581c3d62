"""The server under test, and the clients that are driven against it."""

import dataclasses
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import boto3
import botocore.config

READY_SECONDS_MAX = 60
AGE_SECONDS = 10
TOOLS = pathlib.Path(os.environ.get("SHOAL_CLIENT_TOOLS", "target/tools")).resolve()


@dataclasses.dataclass
class Server:
    """Where it is and with which key."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    ca: str | None = None
    process: subprocess.Popen | None = None

    @classmethod
    def start(cls, log_path, *options):
        """`shoal demo` on free ports, its data gone at the end; or the server that the environment names."""
        if endpoint := os.environ.get("SHOAL_S3_ENDPOINT"):
            return cls(
                endpoint,
                os.environ.get("SHOAL_S3_REGION", "us-east-1"),
                os.environ["SHOAL_S3_ACCESS_KEY"],
                os.environ["SHOAL_S3_SECRET_KEY"],
            )
        binary = pathlib.Path(os.environ.get("SHOAL_BIN", "target/ci/shoal")).resolve()
        if nodes := os.environ.get("SHOAL_NODES"):
            options = ("--nodes", nodes, *options)
        command = [binary, "demo", "--json", "--ephemeral", "--s3-port", "0", "--admin-port", "0", *options]
        with open(log_path, "ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        timer = threading.Timer(READY_SECONDS_MAX, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line:
            raise AssertionError(f"no demo (status {process.wait()}):\n{log_path.read_text(errors='replace')[-3000:]}")
        ready = json.loads(line)
        # The last node of several neither leads nor, from four on, votes: all it answers comes from the others.
        ready["endpoint"] = ready["endpoints"][-1]
        names = ["endpoint", "region", "access_key", "secret_key", "ca"]
        return cls(*(ready[name] for name in names), process=process)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=60) == 0, "the demo did not end well"

    @property
    def address(self):
        """Host and port."""
        return self.endpoint.split("://", 1)[1].rstrip("/")

    def s3(self, **options):
        """A boto3 client; `options` go into its configuration."""
        options.setdefault("retries", {"max_attempts": 1, "mode": "standard"})
        s3_options = {"addressing_style": "path", **options.pop("s3", {})}
        config = botocore.config.Config(s3=s3_options, read_timeout=120, max_pool_connections=32, **options)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=config,
        )

    def environment(self, **more):
        """Variables for the AWS CLI, restic and others; nothing of the user's own settings."""
        own = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return own | more


def run(command, env, check=True, **options):
    """Runs a client; its output, or a failure that shows it."""
    done = subprocess.run(
        [str(part) for part in command], env=env, capture_output=True, text=True, errors="replace", timeout=900, **options
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done


def noise(seed, size):
    """Bytes that do not compress and that a seed repeats."""
    return random.Random(seed).randbytes(size)


def tree_digest(directory):
    """Name and content of every file below a directory."""
    directory = pathlib.Path(directory)
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def make_tree(directory, seed=1):
    """A small tree with the names that break clients, as old as files are that somebody stores: S3 lists times in whole
    seconds, and a file of this second would look newer than its object."""
    directory = pathlib.Path(directory)
    sizes = [0, 1, 17, 4096, 16_384, 16_385, 70_000, 131_072, 1_500_000]
    names = [
        "plain.txt",
        "with blank.txt",
        "plus+and%25.txt",
        "Ünïcödé 🐟.bin",
        "dir/inner.txt",
        "dir/deeper/a&b'c.txt",
        "dir/deeper/[x](y);=.txt",
        "dir.txt",
        "~tilde@at!.txt",
    ]
    for number, (name, size) in enumerate(zip(names, sizes)):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(seed * 1_000 + number, size))
        os.utime(path, (time.time() - AGE_SECONDS,) * 2)
    return directory
