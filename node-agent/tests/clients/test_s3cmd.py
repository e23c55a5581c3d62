"""s3cmd, as its users do."""

import pytest

from server import TOOLS, make_tree, noise, run, tree_digest

S3CMD = TOOLS / "clients-requirements/bin/s3cmd"


@pytest.fixture
def s3cmd(server, tmp_path):
    config = tmp_path / "s3cfg"
    secure = server.endpoint.startswith("https")
    config.write_text(
        f"[default]\naccess_key = {server.access_key}\nsecret_key = {server.secret_key}\n"
        f"host_base = {server.address}\nhost_bucket = {server.address}\nuse_https = {secure}\n"
        f"bucket_location = {server.region}\n"
    )

    def call(*arguments, check=True):
        return run([S3CMD, "-c", config, "--no-progress", *arguments], server.environment(), check=check)

    return call


def test_a_day_with_a_bucket(s3cmd, tmp_path):
    tree = make_tree(tmp_path / "tree")
    s3cmd("mb", "s3://s3cmd-day")
    s3cmd("sync", f"{tree}/", "s3://s3cmd-day/tree/")
    assert len(s3cmd("ls", "--recursive", "s3://s3cmd-day").stdout.splitlines()) == len(tree_digest(tree))
    again = s3cmd("sync", f"{tree}/", "s3://s3cmd-day/tree/").stdout
    assert "upload:" not in again, "nothing changed"
    (tmp_path / "back").mkdir()
    s3cmd("sync", "s3://s3cmd-day/tree/", f"{tmp_path}/back/")
    assert tree_digest(tmp_path / "back") == tree_digest(tree)
    s3cmd("cp", "s3://s3cmd-day/tree/plain.txt", "s3://s3cmd-day/copy")
    s3cmd("mv", "s3://s3cmd-day/copy", "s3://s3cmd-day/moved")
    shown = s3cmd("info", "s3://s3cmd-day/moved").stdout
    assert "FULL_CONTROL" in shown
    assert "Location" in s3cmd("info", "s3://s3cmd-day").stdout
    s3cmd("del", "--recursive", "--force", "s3://s3cmd-day/tree")
    assert s3cmd("rb", "s3://s3cmd-day", check=False).returncode != 0
    s3cmd("rb", "--recursive", "--force", "s3://s3cmd-day")
    assert "s3cmd-day" not in s3cmd("ls").stdout


def test_a_large_file_in_parts(s3cmd, bucket, tmp_path):
    (tmp_path / "large").write_bytes(noise(1, 33_000_000))
    s3cmd("put", "--multipart-chunk-size-mb=5", tmp_path / "large", f"s3://{bucket}/large")
    s3cmd("get", f"s3://{bucket}/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_metadata(s3cmd, s3, bucket, tmp_path):
    (tmp_path / "file.html").write_bytes(b"<p>")
    options = ["--mime-type=text/html", "--add-header=x-amz-meta-colour:blue"]
    s3cmd("put", *options, tmp_path / "file.html", f"s3://{bucket}/file.html")
    head = s3.head_object(Bucket=bucket, Key="file.html")
    assert head["Metadata"]["colour"] == "blue"
    assert head["ContentType"].startswith("text/html")
    s3cmd("modify", "--add-header=x-amz-meta-colour:green", f"s3://{bucket}/file.html")
    assert s3.head_object(Bucket=bucket, Key="file.html")["Metadata"]["colour"] == "green"


def test_uploads_are_listed_and_aborted(s3cmd, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    assert upload in s3cmd("multipart", f"s3://{bucket}").stdout
    assert "1" in s3cmd("listmp", f"s3://{bucket}/k", upload).stdout
    s3cmd("abortmp", f"s3://{bucket}/k", upload)
    assert upload not in s3cmd("multipart", f"s3://{bucket}").stdout
