"""The AWS CLI, as its users do."""

import json
import urllib.request

import pytest

from server import TOOLS, make_tree, noise, run, tree_digest

AWS = TOOLS / "clients-awscli/bin/aws"


@pytest.fixture
def aws(server, tmp_path):
    env = server.environment(HOME=str(tmp_path), AWS_PAGER="")

    def call(*arguments, check=True):
        return run([AWS, *arguments], env, check=check)

    return call


def test_a_day_with_a_bucket(aws, tmp_path):
    tree = make_tree(tmp_path / "tree")
    aws("s3", "mb", "s3://awscli-day")
    aws("s3", "sync", tree, "s3://awscli-day/tree")
    listed = aws("s3", "ls", "--recursive", "s3://awscli-day/").stdout
    assert len(listed.splitlines()) == len(tree_digest(tree))
    assert "PRE tree/" in aws("s3", "ls", "s3://awscli-day/").stdout
    again = aws("s3", "sync", tree, "s3://awscli-day/tree")
    assert "upload" not in again.stdout, "nothing changed"
    (tree / "new.txt").write_bytes(b"new")
    (tree / "plain.txt").write_bytes(b"changed")
    (tree / "dir.txt").unlink()
    third = aws("s3", "sync", "--delete", tree, "s3://awscli-day/tree").stdout
    assert third.count("upload:") == 2 and third.count("delete:") == 1
    aws("s3", "sync", "s3://awscli-day/tree", tmp_path / "back")
    assert tree_digest(tmp_path / "back") == tree_digest(tree)
    aws("s3", "cp", "s3://awscli-day/tree/new.txt", "s3://awscli-day/copy of new.txt")
    assert aws("s3", "cp", "s3://awscli-day/copy of new.txt", "-").stdout == "new"
    aws("s3", "mv", "s3://awscli-day/copy of new.txt", "s3://awscli-day/moved")
    assert aws("s3", "rb", "s3://awscli-day", check=False).returncode != 0
    aws("s3", "rm", "--recursive", "s3://awscli-day/tree")
    aws("s3", "rb", "--force", "s3://awscli-day")
    assert "awscli-day" not in aws("s3", "ls").stdout


def test_a_large_file_in_parts(aws, bucket, tmp_path):
    (tmp_path / "large").write_bytes(noise(1, 70_000_000))
    aws("s3", "cp", tmp_path / "large", f"s3://{bucket}/large", "--no-progress")
    head = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "large").stdout)
    assert head["ETag"].endswith('-9"')
    aws("s3", "cp", f"s3://{bucket}/large", tmp_path / "back", "--no-progress")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copied", "--no-progress")
    aws("s3", "cp", f"s3://{bucket}/copied", tmp_path / "copied", "--no-progress")
    assert (tmp_path / "copied").read_bytes() == (tmp_path / "large").read_bytes()


def test_a_stream_from_standard_input(aws, server, bucket, tmp_path):
    body = noise(2, 20_000_000)
    (tmp_path / "in").write_bytes(body)
    with open(tmp_path / "in", "rb") as stdin:
        run([AWS, "s3", "cp", "-", f"s3://{bucket}/stream"], server.environment(), stdin=stdin)
    aws("s3", "cp", f"s3://{bucket}/stream", tmp_path / "out", "--no-progress")
    assert (tmp_path / "out").read_bytes() == body


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [1000, 17_000_000])
def test_checksums(aws, bucket, tmp_path, algorithm, size):
    (tmp_path / "file").write_bytes(noise(3, size))
    aws("s3", "cp", tmp_path / "file", f"s3://{bucket}/k", "--checksum-algorithm", algorithm, "--no-progress")
    shown = aws("s3api", "head-object", "--bucket", bucket, "--key", "k", "--checksum-mode", "ENABLED").stdout
    assert f"Checksum{algorithm}" in shown
    aws("s3", "cp", f"s3://{bucket}/k", tmp_path / "back", "--checksum-mode", "ENABLED", "--no-progress")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


def test_presign(aws, bucket, tmp_path):
    (tmp_path / "file").write_bytes(b"presigned")
    # Version 1 of this client still signs addresses with Signature V2 in us-east-1 unless told otherwise.
    aws("configure", "set", "default.s3.signature_version", "s3v4")
    aws("s3", "cp", tmp_path / "file", f"s3://{bucket}/a b")
    url = aws("s3", "presign", f"s3://{bucket}/a b", "--expires-in", "60").stdout.strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"presigned"


def test_the_commands_of_a_script(aws, bucket, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "file", "--metadata", "a=b")
    listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", bucket, "--query", "Contents[].Key").stdout)
    assert listed == ["k"]
    refused = aws(
        "s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "file", "--if-none-match", "*",
        check=False,
    )
    assert refused.returncode != 0 and "PreconditionFailed" in refused.stderr
    aws("s3api", "delete-objects", "--bucket", bucket, "--delete", json.dumps({"Objects": [{"Key": "k"}]}))
    assert aws("s3api", "head-object", "--bucket", bucket, "--key", "k", check=False).returncode != 0
