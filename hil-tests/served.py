"""An agent on this host, and S3 on it."""

import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import botocore.config
import pytest


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Served:
    """An agent that a command line starts, on ports of its own."""

    def __init__(self, command, log):
        self.log = log
        s3, admin, rpc = free_ports(3)
        self.s3 = f"http://127.0.0.1:{s3}"
        environment = os.environ | {name: f"127.0.0.1:{port}" for name, port in
                                    [("SHOAL_S3_LISTEN", s3), ("SHOAL_ADMIN_LISTEN", admin), ("SHOAL_RPC_LISTEN", rpc)]}
        environment["SHOAL_DIE_WITH_PARENT"] = "1"
        self.process = subprocess.Popen(command, env=environment, stdout=open(log, "w"), stderr=subprocess.STDOUT)

    def wait(self):
        """Until S3 answers, whatever it says."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            assert self.process.poll() is None, pathlib.Path(self.log).read_text()
            try:
                return urllib.request.urlopen(self.s3, timeout=5)
            except urllib.error.HTTPError:
                return None
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"S3 does not answer:\n{pathlib.Path(self.log).read_text()}")

    def stop(self):
        """As systemd and engines do it."""
        self.process.terminate()
        assert self.process.wait(60) == 0, pathlib.Path(self.log).read_text()


def client(served, founded):
    return boto3.client("s3", endpoint_url=served.s3, aws_access_key_id=founded["access_key"],
                        aws_secret_access_key=founded["secret_key"], region_name="us-east-1",
                        config=botocore.config.Config(s3={"addressing_style": "path"}, signature_version="s3v4"))


def store(s3):
    """An object that was put and read back; its body."""
    s3.create_bucket(Bucket="attic")
    body = os.urandom(3 << 20)
    s3.put_object(Bucket="attic", Key="box", Body=body)
    assert s3.get_object(Bucket="attic", Key="box")["Body"].read() == body
    return body
