"""Signature Version 2, which boto3 presigns with unless told otherwise: refused, or taken where the server is set to."""

import dataclasses
import os
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from server import TOOLS, Server, run


@pytest.fixture(scope="module")
def lenient(tmp_path_factory):
    if "SHOAL_S3_ENDPOINT" in os.environ:
        pytest.skip("a server that runs already decides itself")
    running = Server.start(tmp_path_factory.mktemp("lenient") / "log", "--signature-v2")
    running.s3().create_bucket(Bucket="old")
    yield running
    running.stop()


def call(method, url, data=None, headers=None):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read()


def test_refused_unless_set(server, bucket):
    url = server.s3().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert "AWSAccessKeyId" in url, "boto3 presigns with version 2 by default"
    with pytest.raises(urllib.error.HTTPError) as error:
        call("GET", url)
    assert error.value.code == 400
    assert b"Please use AWS4-HMAC-SHA256" in error.value.read()


def test_presigned_with_the_defaults_of_boto3(lenient):
    s3 = lenient.s3()
    key = "ünï+key %"
    put = {"Bucket": "old", "Key": key, "ContentType": "text/x", "Metadata": {"colour": "blue"}}
    # urllib sets a type of its own where none is given, and boto3 signed this one.
    call("PUT", s3.generate_presigned_url("put_object", Params=put), b"body", {"Content-Type": "text/x"})
    get = {"Bucket": "old", "Key": key, "ResponseContentDisposition": 'attachment; filename="a b+ü.txt"'}
    url = s3.generate_presigned_url("get_object", Params=get)
    headers, got = call("GET", url)
    assert (got, headers["content-type"], headers["x-amz-meta-colour"]) == (b"body", "text/x", "blue")
    assert "a b+" in headers["content-disposition"]
    for operation, more in [("list_objects_v2", {"Prefix": "ü"}), ("list_objects", {}), ("head_bucket", {})]:
        url = s3.generate_presigned_url(operation, Params={"Bucket": "old", **more})
        call("HEAD" if operation == "head_bucket" else "GET", url)
    for wrong in [url.replace("Signature=", "Signature=A"), url.replace("Expires=", "Expires=1")]:
        with pytest.raises(urllib.error.HTTPError) as error:
            call("HEAD", wrong)
        assert error.value.code == 403
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "old", "Key": key}, ExpiresIn=-5)
    with pytest.raises(urllib.error.HTTPError) as error:
        call("GET", url)
    assert error.value.code == 403 and b"expired" in error.value.read()


def test_parts_presigned(lenient):
    s3 = lenient.s3()
    upload = s3.create_multipart_upload(Bucket="old", Key="parts")["UploadId"]
    part = {"Bucket": "old", "Key": "parts", "UploadId": upload, "PartNumber": 1}
    headers, _ = call("PUT", s3.generate_presigned_url("upload_part", Params=part), b"x", {"Content-Type": ""})
    done = {"Parts": [{"PartNumber": 1, "ETag": headers["etag"]}]}
    s3.complete_multipart_upload(Bucket="old", Key="parts", UploadId=upload, MultipartUpload=done)
    assert s3.get_object(Bucket="old", Key="parts")["Body"].read() == b"x"


def test_presigned_virtual_host(lenient):
    named = dataclasses.replace(lenient, endpoint=lenient.endpoint.replace("127.0.0.1", "localhost"), process=None)
    lenient.s3().put_object(Bucket="old", Key="virtual", Body=b"x")
    s3 = named.s3(s3={"addressing_style": "virtual"})
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "old", "Key": "virtual"})
    host = f"old.{named.address}"
    assert host in url
    # Not every resolver knows names below `localhost`.
    assert call("GET", url.replace(host, lenient.address), headers={"Host": host})[1] == b"x"


def test_signed_headers(lenient):
    s3 = lenient.s3(signature_version="s3")
    s3.put_object(Bucket="old", Key="a b", Body=b"x", Metadata={"a": "b"}, ContentType="x/y")
    assert s3.get_object(Bucket="old", Key="a b")["Metadata"] == {"a": "b"}
    assert "a b" in [entry["Key"] for entry in s3.list_objects_v2(Bucket="old")["Contents"]]
    s3.delete_objects(Bucket="old", Delete={"Objects": [{"Key": "a b"}]})
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="old", Key="a b")
    assert error.value.response["Error"]["Code"] == "NoSuchKey"


def test_s3cmd(lenient, tmp_path):
    source = tmp_path / "file"
    source.write_bytes(b"x" * 100_000)
    command = [TOOLS / "clients-requirements/bin/s3cmd", "--config=/dev/null", "--signature-v2", "--no-ssl"]
    command += [f"--host={lenient.address}", f"--host-bucket={lenient.address}"]
    command += [f"--access_key={lenient.access_key}", f"--secret_key={lenient.secret_key}"]
    run([*command, "put", source, "s3://old/s3cmd"], lenient.environment())
    run([*command, "get", "s3://old/s3cmd", tmp_path / "back"], lenient.environment())
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert "s3cmd" in run([*command, "ls", "s3://old"], lenient.environment()).stdout
