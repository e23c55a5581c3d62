"""Multipart uploads with boto3."""

import base64
import hashlib
import zlib

import pytest
from botocore.exceptions import ClientError

from server import noise

PART = 5 << 20


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def etag_of(parts):
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f'"{digest}-{len(parts)}"'


def upload_parts(s3, bucket, key, upload, parts, **more):
    named = []
    for number, part in parts.items():
        put = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part, **more)
        named.append({"PartNumber": number, "ETag": put["ETag"]})
    return named


def test_an_upload(s3, bucket):
    parts = {1: noise(1, PART), 2: noise(2, PART + 12_345), 7: noise(7, 99)}
    body = b"".join(parts.values())
    made = s3.create_multipart_upload(
        Bucket=bucket, Key="k", Metadata={"a": "b"}, ContentType="text/x", CacheControl="no-cache"
    )
    assert (made["Bucket"], made["Key"]) == (bucket, "k")
    upload = made["UploadId"]
    named = upload_parts(s3, bucket, "k", upload, parts)
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="k")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named}, MpuObjectSize=len(body)
    )
    assert done["ETag"] == etag_of(list(parts.values()))
    assert (done["Bucket"], done["Key"]) == (bucket, "k")
    assert done["Location"].endswith(f"/{bucket}/k")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (done["ETag"], {"a": "b"}, "text/x")
    assert got["Body"].read() == body
    for first, end in [(0, 10), (PART - 3, PART + 3), (len(body) - 100, len(body)), (PART * 2, PART * 2 + 1)]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{end - 1}")
        assert got["Body"].read() == body[first:end]


def test_a_part_by_its_number(s3, bucket):
    parts = {1: noise(1, PART), 2: noise(2, 1000)}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = upload_parts(s3, bucket, "k", upload, parts)
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {PART}-{PART + 999}/{PART + 1000}"
    assert got["PartsCount"] == 2
    assert got["Body"].read() == parts[2]
    head = s3.head_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (head["ContentLength"], head["PartsCount"]) == (PART, 2)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", PartNumber=3)
    assert code(error) == ("InvalidPartNumber", 416)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")
    assert code(error) == ("InvalidRequest", 400)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"xyz")
    assert s3.get_object(Bucket=bucket, Key="plain", PartNumber=1)["Body"].read() == b"xyz"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="plain", PartNumber=2)
    assert code(error) == ("InvalidPartNumber", 416)


def test_parts_are_replaced_and_left_out(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    upload_parts(s3, bucket, "k", upload, {1: noise(1, PART), 2: noise(2, PART), 3: noise(3, 10)})
    named = upload_parts(s3, bucket, "k", upload, {1: noise(4, PART)})
    named += [{"PartNumber": 3, "ETag": f'"{hashlib.md5(noise(3, 10)).hexdigest()}"'}]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == noise(4, PART) + noise(3, 10)


def test_part_numbers(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for number in [0, -1, 10_001, 65_536, 2_147_483_648]:
        with pytest.raises(ClientError) as error:
            s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"x")
        assert code(error) == ("InvalidArgument", 400), number
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=10_000, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)


def test_completes_that_are_refused(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    one, two = upload_parts(s3, bucket, "k", upload, {1: noise(1, 1000), 2: noise(2, 1000)})

    def complete(parts, **more):
        s3.complete_multipart_upload(
            Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}, **more
        )

    for parts, expect in [
        ([one, two], "EntityTooSmall"),
        ([two, one], "InvalidPartOrder"),
        ([one, one], "InvalidPartOrder"),
        ([one, {"PartNumber": 2, "ETag": '"0123"'}], "InvalidPart"),
        ([one, {"PartNumber": 3, "ETag": one["ETag"]}], "InvalidPart"),
        ([], "MalformedXML"),
    ]:
        with pytest.raises(ClientError) as error:
            complete(parts)
        assert code(error) == (expect, 400), parts
    with pytest.raises(ClientError) as error:
        complete([two], MpuObjectSize=999)
    assert code(error) == ("InvalidRequest", 400)
    complete([two], MpuObjectSize=1000)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == noise(2, 1000)


def test_uploads_that_are_not_there(s3, bucket):
    for upload in ["nonsense", "0123456789abcdef0123456789abcdef"]:
        arguments = {"Bucket": bucket, "Key": "k", "UploadId": upload}
        for call in [
            lambda: s3.upload_part(**arguments, PartNumber=1, Body=b"x"),
            lambda: s3.list_parts(**arguments),
            lambda: s3.abort_multipart_upload(**arguments),
            lambda: s3.complete_multipart_upload(
                **arguments, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"x"'}]}
            ),
        ]:
            with pytest.raises(ClientError) as error:
                call()
            assert code(error) == ("NoSuchUpload", 404), upload


def test_an_abort(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    upload_parts(s3, bucket, "k", upload, {1: b"x"})
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    with pytest.raises(ClientError) as error:
        s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert code(error) == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_write_conditions_of_a_complete(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = upload_parts(s3, bucket, "k", upload, {1: b"new"})
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": named}}
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**arguments, IfNoneMatch="*")
    assert code(error) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    s3.complete_multipart_upload(**arguments, IfMatch=s3.head_object(Bucket=bucket, Key="k")["ETag"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_a_complete_again(s3, bucket):
    """A client whose answer was lost asks again and gets the same."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = upload_parts(s3, bucket, "k", upload, {1: b"new"})
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": named}}
    first = s3.complete_multipart_upload(**arguments)
    again = s3.complete_multipart_upload(**arguments)
    assert first["ETag"] == again["ETag"]


def test_list_parts(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a b", ChecksumAlgorithm="SHA1")["UploadId"]
    parts = {number: noise(number, 100 + number) for number in [1, 2, 5, 6, 9]}
    upload_parts(s3, bucket, "a b", upload, parts, ChecksumAlgorithm="SHA1")
    found = []
    for page in s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="a b", UploadId=upload, PaginationConfig={"PageSize": 2}
    ):
        assert (page["Key"], page["UploadId"], page["StorageClass"]) == ("a b", upload, "STANDARD")
        assert (page["ChecksumAlgorithm"], page["ChecksumType"]) == ("SHA1", "COMPOSITE")
        assert len(page.get("Parts", [])) <= 2
        found += page.get("Parts", [])
    assert [part["PartNumber"] for part in found] == list(parts)
    assert [part["Size"] for part in found] == [len(part) for part in parts.values()]
    for part in found:
        body = parts[part["PartNumber"]]
        assert part["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert part["ChecksumSHA1"] == base64.b64encode(hashlib.sha1(body).digest()).decode()
    after = s3.list_parts(Bucket=bucket, Key="a b", UploadId=upload, PartNumberMarker=5)
    assert [part["PartNumber"] for part in after["Parts"]] == [6, 9]
    assert not after["IsTruncated"]


def test_list_uploads(s3, bucket):
    keys = ["a", "a", "b/1", "b/2", "c", "d d"]
    made = [(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys]
    made.sort()
    for size in [1, 2, 1000]:
        found, markers = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=size, **markers)
            found += [(upload["Key"], upload["UploadId"]) for upload in page.get("Uploads", [])]
            assert len(page.get("Uploads", [])) <= size
            if not page["IsTruncated"]:
                break
            markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        assert sorted(found) == made
        assert [key for key, _ in found] == sorted(keys)
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [upload["Key"] for upload in page["Uploads"]] == ["a", "a", "c", "d d"]
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["b/"]
    page = s3.list_multipart_uploads(Bucket=bucket, Prefix="b/")
    assert [upload["Key"] for upload in page["Uploads"]] == ["b/1", "b/2"]


def b64(digest):
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "CRC32"])
def test_composite_checksums(s3, bucket, algorithm):
    digest = {
        "SHA1": lambda data: hashlib.sha1(data).digest(),
        "SHA256": lambda data: hashlib.sha256(data).digest(),
        "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    }[algorithm]
    name = f"Checksum{algorithm}"
    parts = {1: noise(1, PART), 2: noise(2, 777)}
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm)
    assert (made["ChecksumAlgorithm"], made["ChecksumType"]) == (algorithm, "COMPOSITE")
    named = []
    for number, part in parts.items():
        put = s3.upload_part(
            Bucket=bucket, Key="k", UploadId=made["UploadId"], PartNumber=number, Body=part, ChecksumAlgorithm=algorithm
        )
        assert put[name] == b64(digest(part))
        named.append({"PartNumber": number, "ETag": put["ETag"], name: put[name]})
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    wrong = [{**named[0], name: named[1][name]}, named[1]]
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**arguments, MultipartUpload={"Parts": wrong})
    assert code(error)[0] in ("InvalidPart", "BadDigest")
    done = s3.complete_multipart_upload(**arguments, MultipartUpload={"Parts": named})
    expect = b64(digest(b"".join(digest(part) for part in parts.values()))) + "-2"
    assert (done[name], done["ChecksumType"]) == (expect, "COMPOSITE")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (expect, "COMPOSITE")
    got = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectParts", "ObjectSize"], MaxParts=1
    )
    assert got["Checksum"] == {name: expect, "ChecksumType": "COMPOSITE"}
    page = got["ObjectParts"]
    assert (page["TotalPartsCount"], page["IsTruncated"], page["NextPartNumberMarker"]) == (2, True, 1)
    assert page["Parts"] == [{"PartNumber": 1, "Size": PART, name: b64(digest(parts[1]))}]
    page = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], PartNumberMarker=1
    )["ObjectParts"]
    assert [part["PartNumber"] for part in page["Parts"]] == [2]


def test_full_object_checksums(s3, bucket):
    parts = {1: noise(1, PART), 2: noise(2, 4321)}
    whole = b64(zlib.crc32(b"".join(parts.values())).to_bytes(4, "big"))
    made = s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )
    assert made["ChecksumType"] == "FULL_OBJECT"
    named = upload_parts(s3, bucket, "k", made["UploadId"], parts, ChecksumAlgorithm="CRC32")
    arguments = {
        "Bucket": bucket,
        "Key": "k",
        "UploadId": made["UploadId"],
        "MultipartUpload": {"Parts": named},
        "ChecksumType": "FULL_OBJECT",
    }
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**arguments, ChecksumCRC32=b64(b"\0\0\0\0"))
    assert code(error) == ("BadDigest", 400)
    done = s3.complete_multipart_upload(**arguments, ChecksumCRC32=whole)
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (whole, "FULL_OBJECT")
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["ChecksumCRC32"] == whole
    assert got["Body"].read() == b"".join(parts.values())


def test_checksum_choices_that_are_refused(s3, bucket):
    for choice in [
        {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"},
        {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"},
        {"ChecksumAlgorithm": "MD4"},
    ]:
        with pytest.raises(ClientError) as error:
            s3.create_multipart_upload(Bucket=bucket, Key="k", **choice)
        assert code(error) == ("InvalidRequest", 400)


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
def test_the_checksum_of_a_part(s3, bucket, kind):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType=kind)
    parts = {1: noise(1, PART), 2: noise(2, 70_000)}
    named = []
    for number, part in parts.items():
        put = s3.upload_part(
            Bucket=bucket, Key="k", UploadId=made["UploadId"], PartNumber=number, Body=part, ChecksumAlgorithm="CRC32"
        )
        named.append({"PartNumber": number, "ETag": put["ETag"], "ChecksumCRC32": put["ChecksumCRC32"]})
    s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=made["UploadId"], MultipartUpload={"Parts": named}, ChecksumType=kind
    )
    for part in named:
        for read in [s3.get_object, s3.head_object]:
            got = read(Bucket=bucket, Key="k", PartNumber=part["PartNumber"], ChecksumMode="ENABLED")
            assert (got["ChecksumCRC32"], got["ChecksumType"]) == (part["ChecksumCRC32"], kind)
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert "ChecksumCRC32" not in s3.head_object(Bucket=bucket, Key="k", Range="bytes=0-9", ChecksumMode="ENABLED")


def test_part_copies(s3, new_bucket):
    source, target = new_bucket(), new_bucket()
    body = noise(5, 2 * PART + 100)
    s3.put_object(Bucket=source, Key="from ü", Body=body)
    upload = s3.create_multipart_upload(Bucket=target, Key="to")["UploadId"]
    named = []
    for number, (first, last) in enumerate([(0, PART - 1), (PART, len(body) - 1)], 1):
        copied = s3.upload_part_copy(
            Bucket=target,
            Key="to",
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": source, "Key": "from ü"},
            CopySourceRange=f"bytes={first}-{last}",
        )["CopyPartResult"]
        assert copied["ETag"] == f'"{hashlib.md5(body[first:last + 1]).hexdigest()}"'
        named.append({"PartNumber": number, "ETag": copied["ETag"]})
    s3.complete_multipart_upload(Bucket=target, Key="to", UploadId=upload, MultipartUpload={"Parts": named})
    assert s3.get_object(Bucket=target, Key="to")["Body"].read() == body


def test_part_copies_that_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"01234")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    arguments = {"Bucket": bucket, "Key": "to", "UploadId": upload, "PartNumber": 1}
    for range_, expect in [
        ("bytes=0-21", ["InvalidArgument", "InvalidRange"]),
        ("bytes=0-", ["InvalidArgument"]),
        ("bytes=4-1", ["InvalidArgument"]),
        ("0-1", ["InvalidArgument"]),
    ]:
        with pytest.raises(ClientError) as error:
            s3.upload_part_copy(**arguments, CopySource={"Bucket": bucket, "Key": "from"}, CopySourceRange=range_)
        assert code(error)[0] in expect, range_
    with pytest.raises(ClientError) as error:
        s3.upload_part_copy(**arguments, CopySource={"Bucket": bucket, "Key": "absent"})
    assert code(error) == ("NoSuchKey", 404)


def test_a_thousand_and_one_parts(s3, bucket):
    """More parts than a page; small ones, so only the last could end the upload: it must be refused, then aborted."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    from concurrent.futures import ThreadPoolExecutor

    def put(number):
        return s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"x")["ETag"]

    with ThreadPoolExecutor(16) as pool:
        etags = list(pool.map(put, range(1, 1_002)))
    pages = list(s3.get_paginator("list_parts").paginate(Bucket=bucket, Key="k", UploadId=upload))
    assert [len(page["Parts"]) for page in pages] == [1000, 1]
    named = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
    assert code(error) == ("EntityTooSmall", 400)
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
