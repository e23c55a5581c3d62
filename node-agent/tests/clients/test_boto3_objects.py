"""Objects with boto3: put, get, head, ranges, conditions, checksums, metadata, delete, copy, presigned."""

import base64
import datetime
import hashlib
import io
import urllib.error
import urllib.request
import zlib

import pytest
from botocore.exceptions import ClientError

from server import noise

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 65_536, 131_073, 1 << 20, (5 << 20) + 1, 67_108_865])
def test_sizes(s3, bucket, size):
    body = noise(size, size)
    etag = s3.put_object(Bucket=bucket, Key="k", Body=body)["ETag"]
    assert etag == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["ContentLength"] == size
    assert got["ETag"] == etag
    assert got["AcceptRanges"] == "bytes"
    assert got["ContentType"] == "binary/octet-stream"
    assert hashlib.sha256(got["Body"].read()).digest() == hashlib.sha256(body).digest()
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"]) == (size, etag)
    assert head["LastModified"] == got["LastModified"]


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "/leading",
        "trailing/",
        "a//b",
        "./.. /../x",
        "blank and\ttab",
        "plus+percent%20and%2F",
        "ünïcödé/日本語/🐟",
        "quote'\"<>&;=?#[]{}|\\^~`",
        "line\nfeed",
        "k" * 1024,
        "é" * 512,
    ],
)
def test_keys(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [entry["Key"] for entry in s3.list_objects(Bucket=bucket)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == key.encode()
    s3.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key=key)
    assert code(error) == ("NoSuchKey", 404)


def test_a_key_beside_its_folder(s3, bucket):
    for key in ["a", "a/", "a/b", "a/b/c"]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in ["a", "a/", "a/b", "a/b/c"]:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


def test_a_key_that_is_too_long(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"")
    assert code(error) == ("KeyTooLongError", 400)


def test_overwrite_and_delete(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    s3.put_object(Bucket=bucket, Key="k", Body=b"two")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="k")
    assert code(error) == ("404", 404)


def test_headers_and_metadata(s3, bucket):
    headers = {
        "ContentType": "text/plain; charset=utf-8",
        "ContentEncoding": "gzip",
        "ContentDisposition": 'attachment; filename="x.txt"',
        "ContentLanguage": "de",
        "CacheControl": "max-age=7",
        "Expires": datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "WebsiteRedirectLocation": "/elsewhere",
    }
    metadata = {"colour": "blue", "mtime": "1700000000.5", "empty": "", "mixed-case": "VaLuE"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata=metadata, **headers)
    for got in [s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")]:
        assert got["Metadata"] == metadata
        for name, value in headers.items():
            if name != "Expires":
                assert got[name] == value, name
        assert got["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        assert got["ServerSideEncryption"] == "AES256"
        assert "StorageClass" not in got


def test_metadata_has_a_limit(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "v" * 2047})
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "v" * 2048})
    assert code(error) == ("MetadataTooLarge", 400)


@pytest.mark.parametrize(
    "size, header, expect",
    [
        (1000, "bytes=0-0", (0, 1)),
        (1000, "bytes=10-19", (10, 20)),
        (1000, "bytes=990-5000", (990, 1000)),
        (1000, "bytes=500-", (500, 1000)),
        (1000, "bytes=-100", (900, 1000)),
        (1000, "bytes=-5000", (0, 1000)),
        (300_000, "bytes=65535-65536", (65_535, 65_537)),
        (300_000, "bytes=131071-262144", (131_071, 262_145)),
        (70_000_000, "bytes=67108860-67108870", (67_108_860, 67_108_871)),
        (70_000_000, "bytes=-1", (69_999_999, 70_000_000)),
    ],
)
def test_ranges(s3, bucket, size, header, expect):
    body = noise(5, size)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    first, end = expect
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {first}-{end - 1}/{size}"
    assert got["ContentLength"] == end - first
    assert got["Body"].read() == body[first:end]
    head = s3.head_object(Bucket=bucket, Key="k", Range=header)
    assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert head["ContentRange"] == got["ContentRange"]


@pytest.mark.parametrize("header", ["bytes=0-1,4-5", "bytes=5-1", "lines=1-2", "bytes=a-b", "nonsense"])
def test_ranges_that_are_ignored(s3, bucket, header):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert got["Body"].read() == b"0123456789"


@pytest.mark.parametrize("size, header", [(10, "bytes=10-"), (10, "bytes=100-200"), (10, "bytes=-0"), (0, "bytes=0-0")])
def test_ranges_outside(s3, bucket, size, header):
    s3.put_object(Bucket=bucket, Key="k", Body=bytes(size))
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert code(error) == ("InvalidRange", 416)
    assert error.value.response["Error"]["ActualObjectSize"] == str(size)
    headers = error.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-range"] == f"bytes */{size}"


def test_read_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, after = modified - datetime.timedelta(hours=1), modified + datetime.timedelta(hours=1)
    holds = [
        {"IfMatch": etag},
        {"IfMatch": "*"},
        {"IfMatch": etag.strip('"')},
        {"IfMatch": f'"other", {etag}'},
        {"IfNoneMatch": '"other"'},
        {"IfModifiedSince": before},
        {"IfUnmodifiedSince": modified},
        {"IfMatch": etag, "IfUnmodifiedSince": before},
        {"IfNoneMatch": '"other"', "IfModifiedSince": after},
    ]
    for conditions in holds:
        assert s3.get_object(Bucket=bucket, Key="k", **conditions)["Body"].read() == b"x", conditions
        s3.head_object(Bucket=bucket, Key="k", **conditions)
    refused = [
        ({"IfMatch": '"other"'}, ("PreconditionFailed", 412)),
        ({"IfUnmodifiedSince": before}, ("PreconditionFailed", 412)),
        ({"IfNoneMatch": etag}, ("304", 304)),
        ({"IfNoneMatch": "*"}, ("304", 304)),
        ({"IfModifiedSince": modified}, ("304", 304)),
        ({"IfNoneMatch": etag, "IfModifiedSince": before}, ("304", 304)),
    ]
    for conditions, expect in refused:
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key="k", **conditions)
        assert code(error) == expect, conditions
        if expect[1] == 304:
            assert error.value.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag
        with pytest.raises(ClientError) as error:
            s3.head_object(Bucket=bucket, Key="k", **conditions)
        assert code(error)[1] == expect[1], conditions


def test_write_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfNoneMatch="*")
    assert code(error) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch='"0123"')
    assert code(error) == ("PreconditionFailed", 412)
    s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=etag)
    s3.put_object(Bucket=bucket, Key="k", Body=b"three", IfMatch="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"three"
    for tag in [etag, "*"]:
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="absent", Body=b"", IfMatch=tag)
        assert code(error) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as error:
        s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert code(error) == ("PreconditionFailed", 412)
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"])
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="k")


def checksum(algorithm, body):
    digest = {
        "CRC32": lambda: zlib.crc32(body).to_bytes(4, "big"),
        "SHA1": lambda: hashlib.sha1(body).digest(),
        "SHA256": lambda: hashlib.sha256(body).digest(),
    }[algorithm]()
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_checksums_given(s3, bucket, algorithm, size):
    """Values that this test computes; boto3 computes CRC32 (as trailer, too) below."""
    body = noise(9, size)
    value = checksum(algorithm, body)
    name = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, **{name: value})
    assert (put[name], put["ChecksumType"]) == (value, "FULL_OBJECT")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == value
    assert name not in s3.head_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got[name], got["Body"].read()) == (value, body)
    attributes = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"]
    )
    assert attributes["Checksum"] == {name: value, "ChecksumType": "FULL_OBJECT"}
    assert (attributes["ObjectSize"], attributes["StorageClass"]) == (size, "STANDARD")
    assert attributes["ETag"] == hashlib.md5(body).hexdigest()
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ([algorithm], "FULL_OBJECT")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="wrong", Body=body + b"!", **{name: value})
    assert code(error) == ("BadDigest", 400)
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="wrong")


# What these algorithms say of "123456789", from their catalogue of check values.
CHECK_VALUES = {"CRC32C": 0xE3069283.to_bytes(4, "big"), "CRC64NVME": 0xAE8B14860A799888.to_bytes(8, "big")}


@pytest.mark.parametrize("algorithm", CHECK_VALUES)
def test_check_values(s3, bucket, algorithm):
    value = base64.b64encode(CHECK_VALUES[algorithm]).decode()
    name = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"123456789", **{name: value})
    assert put[name] == value
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == value
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"123456788", **{name: value})
    assert code(error) == ("BadDigest", 400)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
@pytest.mark.parametrize("signed", [False, True])
def test_streams_with_a_trailer(server, bucket, algorithm, signed):
    """A body that boto3 sends in chunks with the checksum behind it."""
    client = server.s3(s3={"payload_signing_enabled": signed})
    body = noise(3, 300_000)
    put = client.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
    assert put[f"Checksum{algorithm}"] == checksum(algorithm, body)
    got = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert "ContentEncoding" not in got


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_streams_with_a_trailer_and_an_encoding(s3, bucket, algorithm):
    s3.put_object(
        Bucket=bucket, Key="k", Body=io.BytesIO(b"z" * 99), ChecksumAlgorithm=algorithm, ContentEncoding="gzip"
    )
    assert s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "gzip"


def test_content_md5(s3, bucket):
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=right)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"y", ContentMD5=right)
    assert code(error) == ("BadDigest", 400)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5="short")
    assert code(error) == ("InvalidDigest", 400)


def test_encryption_headers(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    assert put["ServerSideEncryption"] == "AES256"
    for arguments in [
        {"ServerSideEncryption": "aws:kms"},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32},
        {"Tagging": "a=b"},
        {"ObjectLockLegalHoldStatus": "ON"},
        {"GrantRead": "id=x"},
    ]:
        # boto3 sends customers' keys over HTTPS alone.
        if "SSECustomerKey" in arguments and s3.meta.endpoint_url.startswith("http:"):
            continue
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key="refused", Body=b"x", **arguments)
        assert code(error) == ("NotImplemented", 501), arguments
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="refused")


def test_storage_classes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="NO_SUCH_CLASS")
    assert code(error) == ("InvalidStorageClass", 400)


def test_versions_of_an_unversioned_bucket(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"x"
    listed = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(one["Key"], one["VersionId"], one["IsLatest"]) for one in listed] == [("k", "null", True)]
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", VersionId="0123456789abcdef0123456789abcdef")
    assert code(error) == ("NoSuchVersion", 404)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", VersionId="nonsense")
    assert code(error) == ("InvalidArgument", 400)
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_delete_objects(s3, bucket):
    keys = [f"k{number:04}" for number in range(25)] + ["a&b", "ü"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    objects = [{"Key": key} for key in [*keys, "absent"]]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [one["Key"] for one in done["Deleted"]] == [*keys, "absent"]
    assert "Errors" not in done
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"")["ETag"]
    done = s3.delete_objects(
        Bucket=bucket,
        Delete={
            "Objects": [{"Key": "k", "ETag": '"other"'}, {"Key": "k2", "VersionId": "nonsense"}],
            "Quiet": True,
        },
    )
    assert [one["Code"] for one in done["Errors"]] == ["PreconditionFailed", "InvalidArgument"]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "ETag": etag}], "Quiet": True})
    assert "Errors" not in done and "Deleted" not in done
    with pytest.raises(ClientError) as error:
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": str(n)} for n in range(1001)]})
    assert code(error) == ("MalformedXML", 400)


@pytest.mark.parametrize("size", [0, 100, 200_000, 6 << 20])
def test_copies(s3, new_bucket, size):
    source, target = new_bucket(), new_bucket()
    body = noise(4, size)
    put = s3.put_object(
        Bucket=source, Key="from here", Body=body, Metadata={"a": "b"}, ContentType="text/x", ChecksumAlgorithm="SHA256"
    )
    copied = s3.copy_object(Bucket=target, Key="to", CopySource={"Bucket": source, "Key": "from here"})
    result = copied["CopyObjectResult"]
    assert result["ETag"] == put["ETag"]
    assert result["ChecksumSHA256"] == put["ChecksumSHA256"]
    got = s3.get_object(Bucket=target, Key="to")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (body, {"a": "b"}, "text/x")
    s3.copy_object(
        Bucket=target,
        Key="replaced",
        CopySource=f"{source}/from here",
        MetadataDirective="REPLACE",
        Metadata={"c": "d"},
        ContentType="text/y",
    )
    got = s3.get_object(Bucket=target, Key="replaced")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (body, {"c": "d"}, "text/y")


def test_copies_onto_themselves(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "b"})
    source = {"Bucket": bucket, "Key": "k"}
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="k", CopySource=source)
    assert code(error) == ("InvalidRequest", 400)
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"x", {"c": "d"})
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, ChecksumAlgorithm="SHA1")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["Metadata"]) == (b"x", {"c": "d"})
    assert got["ChecksumSHA1"] == checksum("SHA1", b"x")


def test_conditions_of_copies(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    past, future = datetime.datetime(2000, 1, 1), datetime.datetime(2040, 1, 1)
    source = {"Bucket": bucket, "Key": "k"}
    for conditions in [
        {"CopySourceIfMatch": etag},
        {"CopySourceIfNoneMatch": '"other"'},
        {"CopySourceIfModifiedSince": past},
        {"CopySourceIfUnmodifiedSince": future},
    ]:
        s3.copy_object(Bucket=bucket, Key="to", CopySource=source, **conditions)
    for conditions in [
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfUnmodifiedSince": past},
    ]:
        with pytest.raises(ClientError) as error:
            s3.copy_object(Bucket=bucket, Key="to", CopySource=source, **conditions)
        assert code(error) == ("PreconditionFailed", 412), conditions


def test_copies_of_what_is_not_there(s3, bucket):
    for source, expect in [
        (f"{bucket}/absent", ("NoSuchKey", 404)),
        ("no-such-bucket-here/k", ("NoSuchBucket", 404)),
        (f"{bucket}", ("InvalidArgument", 400)),
    ]:
        # boto3 checks the form of a source given as text, so the last one goes as a header of our own.
        client = s3
        with pytest.raises(Exception) as error:
            client.copy_object(Bucket=bucket, Key="to", CopySource=source)
        if isinstance(error.value, ClientError):
            assert code(error) == expect


def test_presigned(server, bucket):
    # For some regions boto3 still signs addresses with Signature V2 unless told otherwise.
    s3 = server.s3(signature_version="s3v4")
    body = noise(7, 50_000)

    def call(method, url, data=None, headers=None):
        request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()

    key = "presigned ünï+key"
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
    assert call("PUT", url, body)[0] == 200
    url = s3.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": bucket,
            "Key": key,
            "ResponseContentType": "text/z",
            "ResponseContentDisposition": 'attachment; filename="ü.txt"',
            "ResponseCacheControl": "no-store",
        },
    )
    status, headers, got = call("GET", url)
    assert (status, got) == (200, body)
    assert (headers["content-type"], headers["cache-control"]) == ("text/z", "no-store")
    assert call("GET", url, headers={"Range": "bytes=5-9"})[2] == body[5:10]
    tampered = url.replace("text%2Fz", "text%2Fq")
    assert tampered != url
    for wrong, method, expect in [
        (tampered, "GET", 403),
        (url, "DELETE", 403),
        (url.split("?")[0], "GET", 403),
        (s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "absent"}), "GET", 404),
    ]:
        with pytest.raises(urllib.error.HTTPError) as error:
            call(method, wrong)
        assert error.value.code == expect
    url = s3.generate_presigned_url("delete_object", Params={"Bucket": bucket, "Key": key})
    assert call("DELETE", url)[0] == 204


def test_content_encoding_is_what_the_client_wrote(s3, bucket):
    for sent, kept in [
        ("deflate, gzip", "deflate, gzip"),
        ("deflate,gzip", "deflate,gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("aws-chunked, deflate, gzip", "deflate, gzip"),
    ]:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentEncoding=sent)
        assert s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == kept
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentEncoding="aws-chunked")
    assert "ContentEncoding" not in s3.head_object(Bucket=bucket, Key="k")


def test_upload_and_download_files(s3, bucket, tmp_path):
    """boto3's transfer manager: multipart above 8 MiB, ranged downloads."""
    body = noise(11, 20_000_000)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-3"')
    s3.download_file(bucket, "big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == body
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copied")
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == body


def test_many_at_once(server, bucket):
    from concurrent.futures import ThreadPoolExecutor

    client = server.s3()

    def work(number):
        body = noise(number, number * 997 % 150_000)
        client.put_object(Bucket=bucket, Key=f"k{number}", Body=body)
        assert client.get_object(Bucket=bucket, Key=f"k{number}")["Body"].read() == body
        return number

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(work, range(200))) == list(range(200))
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 200


def test_one_of_many_creates(server, bucket):
    """`If-None-Match: *` at the same time: exactly one wins."""
    from concurrent.futures import ThreadPoolExecutor

    client = server.s3()

    def create(number):
        try:
            client.put_object(Bucket=bucket, Key="k", Body=str(number).encode(), IfNoneMatch="*")
            return number
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            return None

    with ThreadPoolExecutor(16) as pool:
        won = [number for number in pool.map(create, range(16)) if number is not None]
    assert len(won) == 1
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == str(won[0]).encode()
