"""docs/compose.yaml, followed without an engine: each service's command, volumes, address and health check, on a host (network
namespace) and in a root of its own that holds the image's layer."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import time

import boto3
import botocore.config
import pytest
import yaml

import roots
from test_packages import STATIC, unpacked_image
from wires import hosts

COMPOSE = pathlib.Path(__file__).resolve().parent.parent / "docs/compose.yaml"


class Service:
    """One service of the file."""

    def __init__(self, name, said, image, layer, folder, network):
        self.said, self.image, self.log = said, image, folder / f"{name}.log"
        self.user = int(image["User"].split(":")[0])
        tree = folder / name
        shutil.copytree(layer, tree, copy_function=os.link)
        for path in ("data", "ticket"):
            os.chown(tree / path, self.user, self.user)
        self.host = network.host()
        self.host.readdress(int(said["networks"]["grid"]["ipv4_address"].rsplit(".", 1)[1]))
        self.tree, self.process = tree, None
        self.root = roots.Root(folder / f"{name}-root", f"mount --bind {tree} {folder}/{name}-root")

    def command(self, *words):
        return self.host.exec(self.root.command(*words, user=self.user))

    def run(self, *words):
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=120)

    def up(self):
        self.process = subprocess.Popen(self.command(*self.image["Entrypoint"], *self.said.get("command", self.image["Cmd"])),
                                        stdout=open(self.log, "a"), stderr=subprocess.STDOUT,
                                        env=os.environ | {"SHOAL_DIE_WITH_PARENT": "1"})

    def wait_healthy(self):
        test = self.said["healthcheck"]["test"]
        assert test[0] == "CMD", "there is no shell in the image"
        until = time.monotonic() + 120
        while (done := self.run(*test[1:])).returncode != 0:
            assert time.monotonic() < until and self.process.poll() is None, done.stderr + self.log.read_text()
            time.sleep(0.5)

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
        self.root.close()


def told(service):
    """The words that the file's head tells people to run in a service."""
    line = next(line for line in COMPOSE.read_text().splitlines() if f" {service} " in line and line.startswith("#"))
    return shlex.split(line.split(f" {service} ", 1)[1].split(" > ")[0], comments=True)


def test_three_nodes(tmp_path):
    lacking = roots.why_not() or hosts.why_not() or (None if STATIC.exists() else f"{STATIC} is missing: SHOAL_STATIC_BIN")
    if lacking:
        pytest.skip(lacking)
    hosts.sweep()
    image, layer = unpacked_image(tmp_path)
    file = yaml.safe_load(COMPOSE.read_text())
    assert set(file["volumes"]) == set(file["services"]), "each node has a volume of its own"
    network = hosts.Network()
    services = []
    try:
        for name, said in file["services"].items():
            assert f"{name}:/data" in said["volumes"]
            services.append(Service(name, said, image, layer, tmp_path, network))
        first, *others = services
        done = first.run("/shoal", *told("run --rm node-1"), "--json")
        assert done.returncode == 0, done.stderr
        keys = json.loads(done.stdout.splitlines()[-1])
        first.up()
        first.wait_healthy()
        done = first.run(*told("exec -T node-1"))
        assert done.returncode == 0, done.stderr
        for other in others:
            assert "./ticket.txt:/ticket/ticket.txt:ro" in other.said["volumes"]
            (other.tree / "ticket/ticket.txt").write_text(done.stdout)
            other.up()
        for other in others:
            other.wait_healthy()
        body = os.urandom(3 << 20)
        client = network.host()
        with hosts.inside(client.netns):
            for number, service in enumerate(services):
                s3 = boto3.client("s3", endpoint_url=f"http://{service.host.address}:9000", region_name="us-east-1",
                                  aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
                                  config=botocore.config.Config(s3={"addressing_style": "path"}))
                if number == 0:
                    s3.create_bucket(Bucket="attic")
                    s3.put_object(Bucket="attic", Key="box", Body=body)
                assert s3.get_object(Bucket="attic", Key="box")["Body"].read() == body
        nodes = json.loads(first.run("/shoal", "node", "list", "--json").stdout)
        assert len(nodes["nodes"]) == 3
    finally:
        for service in services:
            service.close()
        network.close()
