"""Buckets and the getters of their settings, with boto3."""

import boto3
import pytest
from botocore.exceptions import ClientError


def code(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_life_of_a_bucket(s3, server):
    name = "life.of-a-bucket"
    made = s3.create_bucket(Bucket=name)
    assert made["Location"] == f"/{name}"
    head = s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]
    assert head["x-amz-bucket-region"] == server.region
    listed = s3.list_buckets()
    assert name in [bucket["Name"] for bucket in listed["Buckets"]]
    assert listed["Owner"]["ID"]
    with pytest.raises(ClientError) as error:
        s3.create_bucket(Bucket=name)
    assert code(error) == ("BucketAlreadyOwnedByYou", 409)
    s3.delete_bucket(Bucket=name)
    with pytest.raises(ClientError) as error:
        s3.head_bucket(Bucket=name)
    assert code(error) == ("404", 404)
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=name)
    assert code(error) == ("NoSuchBucket", 404)


def test_location_constraint(s3, server):
    s3.create_bucket(Bucket="located", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    location = s3.get_bucket_location(Bucket="located")["LocationConstraint"]
    assert location == (None if server.region == "us-east-1" else server.region)
    s3.delete_bucket(Bucket="located")


@pytest.mark.parametrize("name", ["ab", "UPPER", "under_score", "-start", "end-", "two..dots", "192.168.1.1", "a" * 64])
def test_invalid_names(server, name):
    # boto3 checks some names itself; those must not reach the server as something else.
    with pytest.raises(Exception) as error:
        server.s3().create_bucket(Bucket=name)
    if isinstance(error.value, ClientError):
        assert code(error)[0] == "InvalidBucketName"


def test_a_full_bucket_is_not_deleted(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code(error) == ("BucketNotEmpty", 409)


def test_open_uploads_go_with_their_bucket(s3):
    """As in S3: an upload is no content. Test suites and `terraform destroy` count on it."""
    s3.create_bucket(Bucket="open-uploads")
    s3.put_object(Bucket="open-uploads", Key="k", Body=b"x")
    upload = s3.create_multipart_upload(Bucket="open-uploads", Key="k")["UploadId"]
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket="open-uploads")
    assert code(error) == ("BucketNotEmpty", 409)
    assert len(s3.list_multipart_uploads(Bucket="open-uploads")["Uploads"]) == 1, "nothing happened"
    s3.delete_object(Bucket="open-uploads", Key="k")
    s3.delete_bucket(Bucket="open-uploads")
    with pytest.raises(ClientError) as error:
        s3.upload_part(Bucket="open-uploads", Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    assert code(error) == ("NoSuchBucket", 404)


def test_list_buckets_in_pages(s3, new_bucket):
    names = sorted(new_bucket("page") for _ in range(5))
    first = s3.list_buckets(Prefix="page-", MaxBuckets=2)
    assert [bucket["Name"] for bucket in first["Buckets"]] == names[:2]
    pages = s3.get_paginator("list_buckets").paginate(Prefix="page-", PaginationConfig={"PageSize": 2})
    assert [bucket["Name"] for page in pages for bucket in page["Buckets"]] == names
    with pytest.raises(ClientError) as error:
        s3.list_buckets(ContinuationToken="made-up")
    assert code(error) == ("InvalidArgument", 400)


def test_settings_of_a_fresh_bucket(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert acl["Grants"][0]["Grantee"]["ID"] == acl["Owner"]["ID"]
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert "TopicConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize(
    "operation, expect",
    [
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_policy_status", "NoSuchBucketPolicy"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
        ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
        ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
        ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
    ],
)
def test_settings_that_were_never_made(s3, bucket, operation, expect):
    with pytest.raises(ClientError) as error:
        getattr(s3, operation)(Bucket=bucket)
    assert code(error) == (expect, 404)
    with pytest.raises(ClientError) as error:
        getattr(s3, operation)(Bucket="no-such-bucket-here")
    assert code(error) == ("NoSuchBucket", 404)


@pytest.mark.parametrize(
    "operation, arguments",
    [
        ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
        ("put_bucket_policy", {"Policy": "{}"}),
        ("put_bucket_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}),
        ("put_bucket_cors", {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}}),
        ("put_bucket_acl", {"ACL": "public-read"}),
        ("put_object_lock_configuration", {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}),
        ("delete_bucket_policy", {}),
        ("list_bucket_metrics_configurations", {}),
    ],
)
def test_settings_that_are_not_built_are_refused(s3, bucket, operation, arguments):
    with pytest.raises(ClientError) as error:
        getattr(s3, operation)(Bucket=bucket, **arguments)
    assert code(error) == ("NotImplemented", 501)


def test_a_private_acl_changes_nothing_and_is_accepted(s3, bucket):
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="bucket-owner-full-control")
    assert s3.get_object_acl(Bucket=bucket, Key="k")["Grants"][0]["Permission"] == "FULL_CONTROL"
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert code(error) == ("NotImplemented", 501)


def test_expected_bucket_owner(s3, bucket):
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=owner)
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="0" * 64)
    assert code(error) == ("AccessDenied", 403)


def test_wrong_keys_are_refused(server):
    for access_key, secret_key, expect in [
        (server.access_key, "wrong" * 8, "SignatureDoesNotMatch"),
        ("NOSUCHKEY", server.secret_key, "InvalidAccessKeyId"),
    ]:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=server.region,
        )
        with pytest.raises(ClientError) as error:
            client.list_buckets()
        assert code(error) == (expect, 403)


def test_any_region_in_a_signature(server):
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="eu-central-1",
    )
    assert client.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
