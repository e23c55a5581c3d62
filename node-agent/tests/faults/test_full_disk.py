"""A full file system: a clear error, nothing lost, deletes go on, writes come back with the room."""

import os
import subprocess

import botocore.exceptions
import pytest

from grid import Grid, digest, noise

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
