"""Packages for hosts that exist already: made, installed by their own tools in a throw-away root, and served from."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tarfile

import pytest

import roots
from served import Served, client, store

SHOAL = pathlib.Path(os.environ.get("SHOAL_BIN", "target/ci/shoal")).resolve()
IMAGE = pathlib.Path(os.environ.get("SHOAL_IMAGE_BIN", "target/ci/shoal-image")).resolve()
HOST = {"x86_64": ("amd64", "x86_64-unknown-linux-musl"), "aarch64": ("arm64", "aarch64-unknown-linux-musl")}
ARCHITECTURE, TARGET = HOST.get(os.uname().machine, (None, None))
STATIC = pathlib.Path(os.environ.get("SHOAL_STATIC_BIN", f"target/cross/{TARGET}/board/shoal")).resolve()
# `systemd-analyze security` gives a service without any of this 9.6, and one below 2 its best mark, "OK".
EXPOSURE_MAX = 2.0


@pytest.fixture
def root(tmp_path):
    """Makes roots; all are gone in the end."""
    lacking = roots.why_not() or (None if ARCHITECTURE else f"no package for {os.uname().machine}")
    if lacking:
        pytest.skip(lacking)
    made = []

    def make(kind, *options):
        made.append(kind(tmp_path / f"root-{len(made)}", *options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def packaged(folder):
    done = subprocess.run([IMAGE, "deb", ARCHITECTURE, "--agent", SHOAL, "--out", folder], capture_output=True, text=True,
                          env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"})
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.deb"))


def unpacked_image(folder):
    """The container image for this host: its configuration, and the folder that its layer was unpacked into."""
    done = subprocess.run([IMAGE, "oci", ARCHITECTURE, "--agent", STATIC, "--out", folder], capture_output=True, text=True,
                          env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"})
    assert done.returncode == 0, done.stderr
    archive = tarfile.open(next(folder.glob("*.oci.tar")))

    def blob(descriptor):
        return archive.extractfile("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))

    platforms = json.load(blob(json.load(archive.extractfile("index.json"))["manifests"][0]))
    assert [each["platform"]["architecture"] for each in platforms["manifests"]] == [ARCHITECTURE]
    manifest = json.load(blob(platforms["manifests"][0]))
    config = json.load(blob(manifest["config"]))["config"]
    tree = folder / "tree"
    # Owners by number, as an engine unpacks it.
    with tarfile.open(fileobj=blob(manifest["layers"][0]), mode="r:gz") as layer:
        layer.extractall(tree, numeric_owner=True)
    return config, tree


def test_debian_package(root, tmp_path):
    """Installed by dpkg, its unit checked by systemd's own tools, served from as the unit says, upgraded, purged."""
    if not shutil.which("dpkg") or not shutil.which("systemd-analyze"):
        pytest.skip("dpkg or systemd-analyze is missing")
    package = packaged(tmp_path / "packages")
    host = root(roots.Root.of_host)
    shutil.copy(package, f"/proc/{host.holder.pid}/root{host.folder}/tmp/shoal.deb")
    install = ["dpkg", "--force-confdef", "--force-depends", "-i", "/tmp/shoal.deb"]
    host.run(*install)
    assert "install ok installed" in host.run("dpkg", "-s", "shoal")
    assert host.run("dpkg", "--verify", "shoal") == "", "what is on disk is what the package holds"
    user = int(host.run("id", "-u", "shoal"))
    assert user != 0
    assert host.run("stat", "-c", "%U %a", "/var/lib/shoal/drive") == "shoal 700\n"

    unit = "/usr/lib/systemd/system/shoal.service"
    assert host.run("systemd-analyze", "verify", "--man=no", unit) == "", "systemd finds nothing to say about the unit"
    # Fails by itself above the threshold, which it takes in tenths.
    host.run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", unit)

    as_written = host.run("cat", unit)
    command = shlex.split(next(line for line in as_written.splitlines() if line.startswith("ExecStart=")).split("=", 1)[1])
    told = host.run("shoal", "init", "--drive", "/var/lib/shoal/drive", "--config", "/var/lib/shoal/init.toml", "--json",
                    user=user)
    founded = json.loads(told.splitlines()[-1])
    served = Served(host.command(*command, user=user), tmp_path / "deb.log")
    served.wait()
    body = store(client(served, founded))
    served.stop()

    # An upgrade leaves alone what people edited, and the data.
    host.run("sh", "-c", "echo '# edited' >> /etc/shoal/shoal.toml")
    host.run(*install)
    assert host.run("tail", "-n1", "/etc/shoal/shoal.toml") == "# edited\n"
    served = Served(host.command(*command, user=user), tmp_path / "deb-again.log")
    served.wait()
    assert client(served, founded).get_object(Bucket="attic", Key="box")["Body"].read() == body
    served.stop()

    host.run("dpkg", "-r", "shoal")
    host.run("sh", "-c", "test ! -e /usr/bin/shoal && test -e /etc/shoal/shoal.toml")
    assert "/var/lib/shoal" in host.run("dpkg", "--purge", "shoal"), "it says where the data stay"
    host.run("sh", "-c", "test ! -e /etc/shoal/shoal.toml && test -e /var/lib/shoal/drive/shoal-root.key")
    assert not pathlib.Path("/var/lib/shoal").exists(), "the host itself was not touched"


def test_container_image(root, tmp_path):
    """The layer of this host's platform, unpacked and run as its configuration says, with nothing else in its root."""
    if not STATIC.exists():
        pytest.skip(f"{STATIC} is missing: `just cross {os.uname().machine}` or SHOAL_STATIC_BIN")
    if roots.why_not():
        pytest.skip(roots.why_not())
    config, tree = unpacked_image(tmp_path)
    container = root(roots.Root.of_tree, tree)
    user = int(config["User"].split(":")[0])
    told = container.run(*config["Entrypoint"], "init", "--drive", "/data", "--config", "/tmp/init.toml", "--json", user=user)
    founded = json.loads(told.splitlines()[-1])
    served = Served(container.command(*config["Entrypoint"], *config["Cmd"], user=user), tmp_path / "oci.log")
    served.wait()
    store(client(served, founded))
    assert json.loads(container.run("/shoal", "status", "--json", user=user)), "the operator's socket answers"
    served.stop()


def test_container_image_in_another_reader(tmp_path):
    """skopeo, which shares no line with what wrote the image, reads it."""
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is missing: apt-get install skopeo")
    if not STATIC.exists():
        pytest.skip(f"{STATIC} is missing: `just cross {os.uname().machine}` or SHOAL_STATIC_BIN")
    done = subprocess.run([IMAGE, "oci", ARCHITECTURE, "--agent", STATIC, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    archive = next(tmp_path.glob("*.oci.tar"))
    seen = subprocess.run(["skopeo", "inspect", f"oci-archive:{archive}"], capture_output=True, text=True)
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["Architecture"] == ARCHITECTURE
    # A copy reads every blob and compares every digest.
    copied = subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", f"oci-archive:{archive}", f"dir:{tmp_path}/copy"],
                            capture_output=True, text=True)
    assert copied.returncode == 0, copied.stderr
