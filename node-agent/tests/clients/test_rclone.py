"""rclone, as its users do: a tree of 5,000 small files and one of 300 MiB."""

import hashlib
import shutil

import pytest

from server import make_tree, noise, run

pytestmark = pytest.mark.skipif(not shutil.which("rclone"), reason="rclone is not installed")


@pytest.fixture
def rclone(server, tmp_path):
    env = server.environment(
        HOME=str(tmp_path),
        RCLONE_CONFIG=str(tmp_path / "rclone.conf"),
        RCLONE_CONFIG_GRID_TYPE="s3",
        RCLONE_CONFIG_GRID_PROVIDER="Other",
        RCLONE_CONFIG_GRID_ACCESS_KEY_ID=server.access_key,
        RCLONE_CONFIG_GRID_SECRET_ACCESS_KEY=server.secret_key,
        RCLONE_CONFIG_GRID_ENDPOINT=server.endpoint,
        RCLONE_CONFIG_GRID_REGION=server.region,
        RCLONE_CONFIG_GRID_FORCE_PATH_STYLE="true",
    )
    (tmp_path / "rclone.conf").touch()

    def call(*arguments, check=True):
        return run(["rclone", "--retries", "1", *arguments], env, check=check)

    return call


def test_a_tree_of_five_thousand_files(rclone, bucket, tmp_path):
    tree = tmp_path / "tree"
    for number in range(5_000):
        path = tree / f"d{number % 50:02}" / f"file-{number:04}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number, number * 37 % 20_000))
    rclone("copy", "--transfers", "16", "--checkers", "16", tree, f"grid:{bucket}/tree")
    rclone("check", "--checkers", "16", tree, f"grid:{bucket}/tree")
    rclone("check", "--download", "--checkers", "16", tree / "d07", f"grid:{bucket}/tree/d07")
    for number in range(0, 5_000, 50):
        (tree / "d00" / f"file-{number:04}.bin").unlink()
    (tree / "d01" / "file-0001.bin").write_bytes(b"changed")
    rclone("sync", "--transfers", "16", "--checkers", "16", tree, f"grid:{bucket}/tree")
    rclone("check", "--checkers", "16", tree, f"grid:{bucket}/tree")
    assert len(rclone("lsf", "-R", "--files-only", f"grid:{bucket}/tree").stdout.splitlines()) == 4_900
    rclone("purge", f"grid:{bucket}/tree")
    assert rclone("lsf", f"grid:{bucket}").stdout == ""


def test_a_file_of_300_mib(rclone, bucket, tmp_path):
    path = tmp_path / "large.bin"
    with open(path, "wb") as file:
        for number in range(300):
            file.write(noise(number, 1 << 20))
    rclone("copy", path, f"grid:{bucket}/")
    rclone("check", "--download", "--one-way", "--include", "large.bin", tmp_path, f"grid:{bucket}/")
    rclone("copyto", f"grid:{bucket}/large.bin", f"grid:{bucket}/server-side.bin")
    rclone("copyto", f"grid:{bucket}/server-side.bin", tmp_path / "back.bin")
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, tmp_path / "back.bin")]
    assert sums[0] == sums[1]


def test_names_and_times(rclone, bucket, tmp_path):
    tree = make_tree(tmp_path / "tree")
    rclone("copy", tree, f"grid:{bucket}/tree")
    rclone("check", tree, f"grid:{bucket}/tree")
    again = rclone("copy", "-v", tree, f"grid:{bucket}/tree").stderr
    assert "Copied" not in again, "size and time agree"
    rclone("move", f"grid:{bucket}/tree/dir", f"grid:{bucket}/moved")
    assert "inner.txt" in rclone("lsf", "-R", f"grid:{bucket}/moved").stdout
    assert rclone("cat", f"grid:{bucket}/moved/inner.txt").returncode == 0
    rclone("rmdirs", f"grid:{bucket}/tree")


def test_buckets(rclone):
    rclone("mkdir", "grid:rclone-makes-this")
    assert "rclone-makes-this" in rclone("lsd", "grid:").stdout
    rclone("rmdir", "grid:rclone-makes-this")
    assert "rclone-makes-this" not in rclone("lsd", "grid:").stdout
