"""restic: backups that come back."""

import shutil

import pytest

from server import make_tree, noise, run, tree_digest

pytestmark = pytest.mark.skipif(not shutil.which("restic"), reason="restic is not installed")


def test_backup_check_restore(server, bucket, tmp_path):
    env = server.environment(
        HOME=str(tmp_path),
        RESTIC_REPOSITORY=f"s3:{server.endpoint.rstrip('/')}/{bucket}/repository",
        RESTIC_PASSWORD="a password",
        RESTIC_CACHE_DIR=str(tmp_path / "cache"),
    )

    def restic(*arguments):
        return run(["restic", *arguments], env, cwd=tmp_path).stdout

    tree = make_tree(tmp_path / "tree")
    (tree / "large.bin").write_bytes(noise(8, 60_000_000))
    restic("init")
    restic("backup", "tree")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "first")
    assert tree_digest(tmp_path / "first/tree") == tree_digest(tree)

    before = tree_digest(tree)
    (tree / "plain.txt").write_bytes(b"changed")
    (tree / "more.bin").write_bytes(noise(9, 5_000_000))
    restic("backup", "tree")
    assert restic("snapshots", "--json").count('"short_id"') == 2
    restic("restore", "latest", "--target", tmp_path / "second")
    assert tree_digest(tmp_path / "second/tree") == tree_digest(tree) != before
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "third")
    assert tree_digest(tmp_path / "third/tree") == tree_digest(tree)
