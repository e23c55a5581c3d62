"""Listings with boto3, V1 and V2, held against a model."""

import pytest
from botocore.exceptions import ClientError

KEYS = sorted(
    [
        "a", "a/", "a/b", "a/b/c", "a/b/d", "a/e", "aa", "b", "b/1", "b/2", "b/3", "c d", "c+d", "c%20d", "ä/1", "ä/2",
        "~", "foo/bar/baz", "foo/bar", "x\u0001y", "x\ny", "日本/東京", "🐟", "zz//zz", "zz//", "zz/",
    ],
    key=lambda key: key.encode(),
)


@pytest.fixture(scope="module")
def filled(server):
    s3 = server.s3()
    name = "listings-of-a-model"
    s3.create_bucket(Bucket=name)
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    yield name
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in KEYS]})
    s3.delete_bucket(Bucket=name)


def model(prefix="", delimiter="", after=""):
    """Keys and common prefixes in byte order, as S3 defines them."""
    entries = {}
    for key in KEYS:
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix):]
        if delimiter and delimiter in rest:
            name = prefix + rest[: rest.index(delimiter) + len(delimiter)]
            entries[name] = "prefix"
        else:
            name = key
            entries[name] = "key"
    return sorted(
        ((name, kind) for name, kind in entries.items() if name.encode() > after.encode()),
        key=lambda entry: entry[0].encode(),
    )


def entries_of(page):
    found = [(entry["Key"], "key") for entry in page.get("Contents", [])]
    found += [(entry["Prefix"], "prefix") for entry in page.get("CommonPrefixes", [])]
    return sorted(found, key=lambda entry: entry[0].encode())


CASES = [
    ("", ""), ("", "/"), ("a", ""), ("a", "/"), ("a/", "/"), ("a/b/", "/"), ("b/", ""), ("absent", "/"), ("", "b"),
    ("", "//"), ("zz", "/"), ("zz/", "/"), ("ä", "/"), ("", "ä"), ("c", " "), ("", "a/"), ("x", "\n"),
]


@pytest.mark.parametrize("prefix, delimiter", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages(s3, filled, prefix, delimiter, size):
    expect = model(prefix, delimiter)
    common = {"Bucket": filled, "Prefix": prefix, "Delimiter": delimiter, "MaxKeys": size}

    found, token, pages = [], {}, 0
    while True:
        page = s3.list_objects_v2(**common, **token)
        entries = entries_of(page)
        assert page["KeyCount"] == len(entries) <= size
        found += entries
        pages += 1
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert found == expect
    assert pages == max(1, -(-len(expect) // size))

    found, marker = [], ""
    while True:
        page = s3.list_objects(**common, Marker=marker)
        found += entries_of(page)
        if not page["IsTruncated"]:
            break
        if delimiter:
            marker = page["NextMarker"]
        else:
            assert "NextMarker" not in page
            marker = page["Contents"][-1]["Key"]
    assert found == expect


@pytest.mark.parametrize("after", ["", "a", "a/", "a/b", "b/zzz", "日", "zzzz"])
def test_start_after(s3, filled, after):
    page = s3.list_objects_v2(Bucket=filled, StartAfter=after)
    assert entries_of(page) == model(after=after)
    page = s3.list_objects(Bucket=filled, Marker=after)
    assert entries_of(page) == model(after=after)


def test_what_an_entry_says(s3, filled):
    head = s3.head_object(Bucket=filled, Key="a/b")
    entry = s3.list_objects_v2(Bucket=filled, Prefix="a/b", FetchOwner=True)["Contents"][0]
    assert (entry["ETag"], entry["Size"]) == (head["ETag"], head["ContentLength"])
    assert entry["LastModified"] == head["LastModified"]
    assert entry["StorageClass"] == "STANDARD"
    assert entry["Owner"]["ID"] == s3.get_bucket_acl(Bucket=filled)["Owner"]["ID"]
    assert "Owner" not in s3.list_objects_v2(Bucket=filled)["Contents"][0]
    assert s3.list_objects(Bucket=filled)["Contents"][0]["Owner"]["ID"] == entry["Owner"]["ID"]


def test_sizes_of_pages(s3, filled):
    none = s3.list_objects_v2(Bucket=filled, MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"], none["MaxKeys"]) == (0, False, 0)
    assert not s3.list_objects(Bucket=filled, MaxKeys=0)["IsTruncated"]
    assert s3.list_objects_v2(Bucket=filled, MaxKeys=5000)["MaxKeys"] == 1000
    for operation in [s3.list_objects, s3.list_objects_v2]:
        with pytest.raises(ClientError) as error:
            operation(Bucket=filled, MaxKeys=-1)
        assert error.value.response["Error"]["Code"] == "InvalidArgument"


def test_refusals(s3, filled):
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=filled, ContinuationToken="made-up")
    assert error.value.response["Error"]["Code"] == "InvalidArgument"
    for operation in [s3.list_objects, s3.list_objects_v2, s3.list_object_versions, s3.list_multipart_uploads]:
        with pytest.raises(ClientError) as error:
            operation(Bucket="no-such-bucket-here")
        assert error.value.response["Error"]["Code"] == "NoSuchBucket"


@pytest.mark.parametrize("prefix, delimiter", [("", ""), ("", "/"), ("a/", "/")])
def test_versions(s3, filled, prefix, delimiter):
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(
        Bucket=filled, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": 3}
    ):
        found += [(entry["Key"], "key") for entry in page.get("Versions", [])]
        found += [(entry["Prefix"], "prefix") for entry in page.get("CommonPrefixes", [])]
    assert sorted(found) == sorted(model(prefix, delimiter))


def test_more_than_a_page(s3, bucket, server):
    from concurrent.futures import ThreadPoolExecutor

    keys = [f"k/{number:05}" for number in range(2_345)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 345]
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys


def test_pages_are_stable_under_writes(s3, bucket):
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"k{number:02}", Body=b"")
    first = s3.list_objects_v2(Bucket=bucket, MaxKeys=10)
    s3.delete_object(Bucket=bucket, Key="k09")
    s3.put_object(Bucket=bucket, Key="a-before", Body=b"")
    s3.put_object(Bucket=bucket, Key="k095", Body=b"")
    rest = s3.list_objects_v2(Bucket=bucket, ContinuationToken=first["NextContinuationToken"])
    assert [entry["Key"] for entry in rest["Contents"]] == ["k095"] + [f"k{number}" for number in range(10, 20)]
