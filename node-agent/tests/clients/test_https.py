"""HTTPS with the demo's own certificate, checked as a careful user's client does."""

import os

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError, SSLError

from server import Server, noise


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    if "SHOAL_S3_ENDPOINT" in os.environ:
        pytest.skip("a server that runs already decides itself")
    running = Server.start(tmp_path_factory.mktemp("secure") / "log", "--tls")
    yield running
    running.stop()


def client(server, verify):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        verify=verify,
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1, "mode": "standard"}),
    )


def test_objects_over_https(secure):
    assert secure.endpoint.startswith("https://")
    s3 = client(secure, secure.ca)
    s3.create_bucket(Bucket="secure")
    body = noise(1, 9_000_000)
    # boto3 leaves such a body unsigned and sends its checksum behind it.
    s3.put_object(Bucket="secure", Key="k", Body=body, ChecksumAlgorithm="CRC32")
    assert s3.get_object(Bucket="secure", Key="k", ChecksumMode="ENABLED")["Body"].read() == body
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="secure", Key="c", Body=b"", SSECustomerAlgorithm="AES256", SSECustomerKey="0" * 32)
    assert error.value.response["Error"]["Code"] == "NotImplemented"


def test_a_client_without_the_certificate_refuses(secure):
    with pytest.raises(SSLError):
        client(secure, True).list_buckets()
