import itertools

import pytest

from server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One demo grid for all tests; each test has buckets of its own."""
    running = Server.start(tmp_path_factory.mktemp("server") / "log")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def s3(server):
    return server.s3()


_numbers = itertools.count()


def empty_and_delete(s3, name):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
        if keys:
            done = s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
            assert not done.get("Errors"), done["Errors"]
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def new_bucket(s3):
    """Makes buckets; empties and deletes them at the end, which tests that as well."""
    made = []

    def make(prefix="bucket"):
        name = f"{prefix}-{next(_numbers):04}"
        s3.create_bucket(Bucket=name)
        made.append(name)
        return name

    yield make
    for name in made:
        empty_and_delete(s3, name)


@pytest.fixture
def bucket(new_bucket):
    return new_bucket()
