"""What SDKs do not send: hand-made requests, signed with botocore's signer."""

import base64
import hashlib
import http.client
import socket
import urllib.parse
import xml.etree.ElementTree

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Wire:
    """One request a connection, signed over exactly what is sent."""

    def __init__(self, server):
        self.server = server
        credentials = botocore.credentials.Credentials(server.access_key, server.secret_key)
        self.signer = botocore.auth.S3SigV4Auth(credentials, "s3", server.region)

    def signed_headers(self, method, target, body=b"", headers=()):
        url = self.server.endpoint.rstrip("/") + target
        request = botocore.awsrequest.AWSRequest(method, url, dict(headers), body)
        request.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
        self.signer.add_auth(request)
        return dict(request.headers)

    def call(self, method, target, body=b"", headers=()):
        signed = self.signed_headers(method, target, body, headers)
        connection = http.client.HTTPConnection(self.server.address, timeout=60)
        connection.request(method, target, body or None, signed)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, answer.headers, text


@pytest.fixture
def wire(server):
    return Wire(server)


def error_code(text):
    document = xml.etree.ElementTree.fromstring(text)
    assert document.tag == "Error"
    assert document.find("RequestId").text
    assert document.find("Message").text
    return document.find("Code").text


def test_errors_are_documents(wire, bucket):
    status, headers, text = wire.call("GET", f"/{bucket}/absent%26key")
    assert (status, error_code(text)) == (404, "NoSuchKey")
    document = xml.etree.ElementTree.fromstring(text)
    assert document.find("Key").text == "absent&key"
    assert document.find("Resource").text == f"/{bucket}/absent%26key"
    assert document.find("RequestId").text == headers["x-amz-request-id"]
    assert headers["content-type"] == "application/xml"
    status, headers, text = wire.call("HEAD", f"/{bucket}/absent")
    assert (status, text) == (404, b"")


@pytest.mark.parametrize(
    "method, query",
    [
        ("GET", "inventory"),
        ("GET", "metrics&id=x"),
        ("GET", "notYetInvented"),
        ("PUT", "lifecycle"),
        ("PUT", "notification="),
        ("PUT", "notYetInvented"),
        ("DELETE", "lifecycle"),
        ("DELETE", "notYetInvented"),
        ("POST", ""),
    ],
)
def test_sub_resources_never_fall_through(wire, s3, bucket, method, query):
    status, _, text = wire.call(method, f"/{bucket}?{query}")
    assert (status, error_code(text)) == (501, "NotImplemented")
    s3.put_object(Bucket=bucket, Key="k", Body=b"still here")
    status, _, text = wire.call(method, f"/{bucket}/k?{query}")
    assert (status, error_code(text)) == (501, "NotImplemented")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"still here"


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><Delete><Object><Key>&c;</Key></Object></Delete>'
)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<Delete>",
        LAUGHS,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Delete/>',
        b"<Delete>" * 5_000,
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1_001 + b"</Delete>",
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b"<Wrong><Object><Key>k</Key></Object></Wrong>",
    ],
    ids=["empty", "text", "open", "laughs", "external", "deep", "many", "encoding", "root"],
)
def test_hostile_documents(wire, bucket, document):
    headers = {"content-md5": base64.b64encode(hashlib.md5(document).digest()).decode()}
    status, _, text = wire.call("POST", f"/{bucket}?delete", document, headers)
    assert (status, error_code(text)) == (400, "MalformedXML")


def test_huge_documents(wire, bucket):
    document = b"<Delete><!--" + b"x" * (5 << 20) + b"--></Delete>"
    headers = {"content-md5": base64.b64encode(hashlib.md5(document).digest()).decode()}
    try:
        status, _, text = wire.call("POST", f"/{bucket}?delete", document, headers)
    except (BrokenPipeError, ConnectionResetError):
        return  # refused before it was sent, which is as good
    assert (status, error_code(text)) == (400, "MaxMessageLengthExceeded")


def test_delete_objects_needs_a_digest(wire, s3, bucket):
    document = b"<Delete><Object><Key>k</Key></Object></Delete>"
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    status, _, text = wire.call("POST", f"/{bucket}?delete", document)
    assert (status, error_code(text)) == (400, "InvalidRequest")
    wrong = {"content-md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}
    status, _, text = wire.call("POST", f"/{bucket}?delete", document, wrong)
    assert (status, error_code(text)) == (400, "BadDigest")
    assert s3.head_object(Bucket=bucket, Key="k")
    sha256 = {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(document).digest()).decode()}
    status, _, text = wire.call("POST", f"/{bucket}?delete", document, sha256)
    assert status == 200
    assert xml.etree.ElementTree.fromstring(text).find(f"{NAMESPACE}Deleted/{NAMESPACE}Key").text == "k"


def test_metadata_beyond_ascii(wire, bucket):
    status, _, _ = wire.call("PUT", f"/{bucket}/k", b"x", {"x-amz-meta-word": "=?UTF-8?Q?=C3=84?="})
    assert status == 200
    _, headers, _ = wire.call("HEAD", f"/{bucket}/k")
    assert headers["x-amz-meta-word"] == "=?UTF-8?Q?=C3=84?="


def test_keys_that_xml_cannot_hold(wire, s3, bucket):
    key = "a\x01b\x7fc"
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    _, _, text = wire.call("GET", f"/{bucket}?list-type=2&encoding-type=url")
    document = xml.etree.ElementTree.fromstring(text)
    listed = document.find(f"{NAMESPACE}Contents/{NAMESPACE}Key").text
    assert urllib.parse.unquote_plus(listed) == key
    _, _, text = wire.call("GET", f"/{bucket}?list-type=2")
    assert b"<Key>a&#x1;b\x7fc</Key>" in text


def test_expect_refuses_before_the_body(server, wire):
    """No body is asked for where the bucket is not there."""
    body = b"x" * 1000
    headers = wire.signed_headers("PUT", "/no-such-bucket-here/k", body, {"expect": "100-continue"})
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        lines = ["PUT /no-such-bucket-here/k HTTP/1.1", f"host: {server.address}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("host", "content-length")]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        first = connection.recv(65536)
    assert first.startswith(b"HTTP/1.1 404"), first


def test_expect_asks_for_the_body(server, wire, s3, bucket):
    body = b"x" * 1000
    headers = wire.signed_headers("PUT", f"/{bucket}/k", body, {"expect": "100-continue"})
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        lines = [f"PUT /{bucket}/k HTTP/1.1", f"host: {server.address}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("host", "content-length")]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        first = connection.recv(65536)
        assert first.startswith(b"HTTP/1.1 100"), first
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_a_body_that_is_cut_short_is_no_object(server, wire, s3, bucket):
    body = b"x" * 200_000
    headers = wire.signed_headers("PUT", f"/{bucket}/cut", body)
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        lines = [f"PUT /{bucket}/cut HTTP/1.1", f"host: {server.address}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("host", "content-length")]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:100_000])
    s3.put_object(Bucket=bucket, Key="after", Body=b"")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["after"]


def test_a_body_with_another_hash_is_refused(server, wire, s3, bucket):
    headers = wire.signed_headers("PUT", f"/{bucket}/k", b"signed")
    connection = http.client.HTTPConnection(server.address, timeout=60)
    connection.request("PUT", f"/{bucket}/k", b"forged", headers)
    answer = connection.getresponse()
    assert (answer.status, error_code(answer.read())) == (400, "XAmzContentSHA256Mismatch")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_if_range(wire, s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    status, _, text = wire.call("GET", f"/{bucket}/k", headers={"range": "bytes=2-3", "if-range": etag})
    assert (status, text) == (206, b"23")
    status, _, text = wire.call("GET", f"/{bucket}/k", headers={"range": "bytes=2-3", "if-range": '"old"'})
    assert (status, text) == (200, b"0123456789")


def test_unsigned_requests_are_refused(server, bucket):
    for method, target in [("GET", "/"), ("GET", f"/{bucket}"), ("PUT", f"/{bucket}/k"), ("DELETE", f"/{bucket}")]:
        connection = http.client.HTTPConnection(server.address, timeout=60)
        connection.request(method, target, b"")
        answer = connection.getresponse()
        assert (answer.status, error_code(answer.read())) == (403, "AccessDenied")
