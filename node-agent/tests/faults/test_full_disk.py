"""A full file system: a clear error, nothing lost, deletes go on, writes come back with the room."""

import errno
import os
import subprocess
import time

import botocore.exceptions
import pytest

from grid import Grid, digest, eventually, noise

PIECE = 8 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 700 MiB; mounting wants root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "shoal-test", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_full_disk(small_disk):
    grid = Grid(small_disk / "grid", drives=1, profile="copies:1")
    grid.log = small_disk.parent / "grid.log"
    grid.start()
    try:
        client = grid.s3()
        client.create_bucket(Bucket="full")
        stored = {}
        error = None
        for number in range(200):
            data = noise(f"full/{number}", PIECE)
            try:
                client.put_object(Bucket="full", Key=str(number), Body=data)
            except botocore.exceptions.ClientError as refused:
                error = refused.response
                break
            stored[str(number)] = digest(data)
        assert error, "the disk never got full"
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 507, error
        assert error["Error"]["Code"] == "StorageFull" and error["Error"]["Message"], error
        assert len(stored) >= 20, "full long before the disk was"
        with pytest.raises(client.exceptions.ClientError):
            client.head_object(Bucket="full", Key=str(len(stored)))

        # Deletes and small reads go on; everything acknowledged is there.
        client.delete_object(Bucket="full", Key="0")
        stored.pop("0")
        for key, expected in stored.items():
            assert digest(client.get_object(Bucket="full", Key=key)["Body"].read()) == expected

        # A restart on the full disk works.
        grid.kill()
        grid.start()
        client = grid.s3()
        key = next(iter(stored))
        assert digest(client.get_object(Bucket="full", Key=key)["Body"].read()) == stored[key]

        # Room comes back: so do writes.
        subprocess.run(["mount", "-o", "remount,size=1100m", small_disk], check=True)
        data = noise("after", PIECE)
        grid.s3(attempts=8).put_object(Bucket="full", Key="after", Body=data)
        assert digest(client.get_object(Bucket="full", Key="after")["Body"].read()) == digest(data)
    finally:
        grid.stop()


def test_metadata_without_room(small_disk):
    """Somebody else fills the file system to its last byte: the metadata refuses, and nothing of it dies."""
    grid = Grid(small_disk / "grid", drives=1, profile="copies:1")
    grid.log = small_disk.parent / "grid.log"
    grid.start()
    foreign = small_disk / "foreign"
    try:
        client = grid.s3()
        client.create_bucket(Bucket="full")
        for number in range(50):
            client.put_object(Bucket="full", Key=str(number), Body=b"inline")
        assert eventually(lambda: list(small_disk.rglob("meta/reserve"))), "no reserve for deletes"

        def fill():
            """Takes what is free now, and nothing of the reserve that may be given up meanwhile."""
            room = os.statvfs(small_disk)
            left = room.f_bavail * room.f_frsize
            with open(foreign, "ab", buffering=0) as file:
                try:
                    while left > 0:
                        left -= file.write(bytes(min(left, 1 << 20)))
                except OSError as full:
                    assert full.errno == errno.ENOSPC

        def put():
            try:
                client.put_object(Bucket="full", Key="after", Body=b"inline")
                return 200
            except botocore.exceptions.ClientError as refused:
                return refused.response["ResponseMetadata"]["HTTPStatusCode"]

        fill()
        time.sleep(1.5)  # the room is measured twice a second
        assert put() == 507
        ready, reasons = grid.ready_now()
        assert not ready and any("no more" in reason for reason in reasons), reasons
        # The reserve makes deletes possible.
        assert eventually(lambda: not list(small_disk.rglob("meta/reserve")), seconds=10)
        time.sleep(1)
        for number in range(10):
            client.delete_object(Bucket="full", Key=str(number))
        assert client.get_object(Bucket="full", Key="20")["Body"].read() == b"inline"

        # Without the reserve all commands are refused, and reads go on.
        fill()
        time.sleep(1.5)
        with pytest.raises(botocore.exceptions.ClientError) as refused:
            client.delete_object(Bucket="full", Key="20")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 507
        for _ in range(5):
            assert client.get_object(Bucket="full", Key="20")["Body"].read() == b"inline"
            assert not grid.ready_now()[0]
            time.sleep(0.3)

        os.remove(foreign)
        assert eventually(lambda: put() == 200, seconds=10), "writes did not come back with the room"
        assert eventually(lambda: grid.ready_now()[0], seconds=10), grid.ready_now()
        client.delete_object(Bucket="full", Key="20")
        listed = {entry["Key"] for entry in client.list_objects_v2(Bucket="full")["Contents"]}
        assert listed == {str(number) for number in range(10, 50) if number != 20} | {"after"}
        assert "group died" not in grid.log.read_text(errors="replace"), "a metadata group met the full disk"
    finally:
        if foreign.exists():
            os.remove(foreign)
        grid.stop()
