"""The packages on a Debian host that runs systemd and container engines: followed as README.Debian and docs/compose.yaml say."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

import debian
from board import client
from served import store
from test_compose import COMPOSE, told
from test_packages import IMAGE

STATIC = debian.TOP / "target/cross/x86_64-unknown-linux-musl/board/shoal"


class Told:
    """Keys as `init --json` tells them."""

    def __init__(self, line):
        said = json.loads(line)
        self.access, self.secret = said["access_key"], said["secret_key"]


@pytest.fixture
def host(tmp_path):
    """Makes the host with what a function puts into its /files; it is off in the end."""
    static = debian.pathlib.Path(os.environ.get("SHOAL_STATIC_BIN", STATIC))
    lacking = debian.why_not() or (None if static.exists() else f"{static} is missing: `just cross x86_64`")
    if lacking:
        pytest.skip(lacking)
    files, made = tmp_path / "files", []
    files.mkdir()

    def make(kind, *more):
        subprocess.run([IMAGE, kind, "amd64", "--agent", static, "--out", files], check=True, capture_output=True)
        for each in more:
            shutil.copy(each, files)
        made.append(debian.Debian(tmp_path / "host", files, ports=[9000]))
        return made[-1]

    yield make
    for each in made:
        each.close()


def s3_of(host, keys):
    return client(f"http://127.0.0.1:{host.ports[9000]}", keys)


def read(s3):
    return s3.get_object(Bucket="attic", Key="box")["Body"].read()


def test_service_in_its_sandbox(host):
    """Installed, founded and started; a second disk, kill -9, an upgrade, a reboot, and the end."""
    host = host("deb")
    host.run("dpkg -i /files/shoal_*.deb")
    assert host.try_to("systemctl is-enabled shoal")[1] == "disabled", "installing starts nothing"
    lines = [line.strip() for line in host.run("cat /usr/share/doc/shoal/README.Debian").splitlines()]
    found, start = lines[lines.index(next(line for line in lines if " shoal init " in line)):][:2]
    keys = Told(host.run(f"{found} --json").splitlines()[-1])
    host.run(start)
    host.wait_until("shoal status >/dev/null 2>&1")
    s3 = s3_of(host, keys)
    body = store(s3)

    pid = host.run("systemctl show shoal -p MainPID --value")
    facts = dict(re.findall(r"^(\w+):\s+(.*)$", host.run(f"cat /proc/{pid}/status"), re.MULTILINE))
    assert (facts["Seccomp"], facts["NoNewPrivs"], int(facts["CapEff"], 16)) == ("2", "1", 0)
    inside = f"nsenter -t {pid} -m --"
    assert "Read-only file system" in host.try_to(f"{inside} touch /usr/lib/mark")[1], "the sandbox is there"

    # Another disk, as README.Debian says, mounted while the service runs.
    host.run("mkdir -p /srv/disk1 && mount /dev/vdc /srv/disk1 && echo '/dev/vdc /srv/disk1 ext4 defaults 0 2' >> /etc/fstab")
    for line in lines[(at := lines.index("install -d -o shoal -g shoal /srv/disk1/shoal")) : at + 2]:
        host.run(line)
    assert "/srv/disk1/shoal" in host.run("shoal drive list")

    # One where the service may not write.
    host.run("install -d -o shoal -g shoal /data/shoal")
    add = "shoal drive add --same-file-system-ok /data/shoal"
    status, said = host.try_to(add)
    assert status != 0 and "ReadWritePaths=/data/shoal" in said, f"{status} {said}"
    host.run("mkdir -p /etc/systemd/system/shoal.service.d && "
             "printf '[Service]\\nReadWritePaths=/data/shoal\\n' > /etc/systemd/system/shoal.service.d/override.conf && "
             "systemctl daemon-reload && systemctl restart shoal")
    host.wait_until("shoal status >/dev/null 2>&1")
    assert "/srv/disk1/shoal" in host.run("shoal drive list"), "the disk mounted later is still writable"
    host.run(add)
    assert "/data/shoal" in host.run("shoal drive list")

    host.run("systemctl kill -s KILL shoal")
    host.wait_until("systemctl is-active shoal && shoal status >/dev/null 2>&1")
    assert host.run("systemctl show shoal -p NRestarts --value") == "1"
    assert read(s3) == body

    before = host.run("systemctl show shoal -p MainPID --value")
    host.run("dpkg -i /files/shoal_*.deb")
    assert host.run("systemctl show shoal -p MainPID --value") != before, "an upgrade starts the new program"
    host.wait_until("shoal status >/dev/null 2>&1")
    assert read(s3) == body

    host.reboot()
    host.wait_until("shoal status >/dev/null 2>&1")
    assert read(s3) == body
    host.run("systemctl stop shoal")
    assert host.run("systemctl show shoal -p Result --value") == "success"
    host.run("dpkg -r shoal && test ! -e /usr/bin/shoal && test -e /var/lib/shoal/drive/shoal-root.key")


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_three_containers(host, engine):
    """docs/compose.yaml, its head followed word by word."""
    host = host("oci", COMPOSE)
    if engine == "docker":
        host.wait_until("docker info >/dev/null 2>&1")
        compose = "docker compose"
    else:
        host.run("systemctl stop docker.socket docker")
        compose = "podman-compose"
    host.run(f"{engine} load -i /files/shoal-*.oci.tar")
    compose = f"cd /files && {compose} -f compose.yaml"
    words = shlex.join(told("run --rm node-1"))
    told_keys = host.run(f"{compose} run -T --rm node-1 {words} --json")
    # Engines move the cursor about on the same line.
    keys = Told(re.search(r'\{"access_key".*\}', told_keys).group())
    host.run(f"{compose} up -d node-1")
    answers = f"{compose} exec -T node-1 /shoal"
    host.wait_until(f"{answers} status --config /etc/shoal.toml >/dev/null 2>&1")
    host.run(f"{compose} exec -T node-1 {shlex.join(told('exec -T node-1'))} > /files/ticket.txt")
    host.run(f"{compose} up -d")
    three = f"{answers} node list --json --config /etc/shoal.toml"
    host.wait_until(f"test $({three} | grep -o alive | wc -l) -ge 3")
    s3 = s3_of(host, keys)
    body = store(s3)
    host.run(f"{compose} down && {compose} up -d")
    host.wait_until(f"test $({three} | grep -o alive | wc -l) -ge 3")
    assert read(s3_of(host, keys)) == body, "what containers keep is in their volumes"
