"""The static agents of other processors, run by qemu-user: known answers at start, S3, and 64-bit sizes in 32 bits."""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import urllib.request

import pytest

from served import Served, client, store

AGENTS = {"aarch64": "aarch64-unknown-linux-musl", "armv7": "armv7-unknown-linux-musleabihf"}
# What boards run, else what CI builds.
PROFILES = ("board", "emulated")
EMULATORS = {"aarch64": "qemu-aarch64-static", "armv7": "qemu-arm-static"}
# Of new objects, and where a chunk says so (docs/formats/chunk.md). Both emulated processors have AES instructions; 32-bit
# programs make no use of them.
CIPHERS, CIPHER_AT = {"aarch64": 1, "armv7": 2}, 48
PART_BYTES = 128 << 20
PARTS = 33
# At once: one upload does not keep two processors busy.
UPLOADS = 3
FOUR_GIB = 4 << 30


@pytest.fixture
def agent(request, tmp_path):
    """Founds a grid of one with the agent of a processor; `served()` starts it."""
    which = request.param
    emulator = EMULATORS[which]
    built = [pathlib.Path("target/cross", AGENTS[which], profile, "shoal").resolve() for profile in PROFILES]
    path = next((path for path in built if path.exists()), None)
    if not path:
        pytest.skip(f"{built[0]} is missing: `just cross {which}`")
    if not shutil.which(emulator):
        pytest.skip(f"{emulator} is missing: apt-get install qemu-user-static")
    drive, config = tmp_path / "drive", tmp_path / "shoal.toml"
    drive.mkdir()
    init = [emulator, path, "init", "--drive", drive, "--config", config, "--json"]
    told = subprocess.run(init, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    founded = json.loads(told.stdout.splitlines()[-1])
    running = []

    def served():
        running.append(Served([emulator, path, "serve", "--config", config], tmp_path / "agent.log"))
        running[-1].wait()
        return running[-1], client(running[-1], founded)

    served.cipher = CIPHERS[which]
    yield served
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.mark.parametrize("agent", AGENTS, indirect=True)
def test_an_agent_serves_and_keeps_on_another_processor(agent, tmp_path):
    served, s3 = agent()
    body = store(s3)
    for number in range(30):
        s3.put_object(Bucket="attic", Key=f"small/{number:02}", Body=b"x" * number)
    upload = s3.create_multipart_upload(Bucket="attic", Key="parts")["UploadId"]
    parts = [os.urandom(5 << 20), os.urandom(1000)]
    tags = [
        s3.upload_part(Bucket="attic", Key="parts", UploadId=upload, PartNumber=number, Body=part)["ETag"]
        for number, part in enumerate(parts, 1)
    ]
    listed = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(Bucket="attic", Key="parts", UploadId=upload, MultipartUpload={"Parts": listed})
    served.stop()
    chunks = [path.read_bytes() for path in (tmp_path / "drive/chunks").rglob("*") if path.is_file()]
    assert {chunk[CIPHER_AT] for chunk in chunks} == {agent.cipher}

    _, s3 = agent()
    assert s3.get_object(Bucket="attic", Key="box")["Body"].read() == body
    assert s3.get_object(Bucket="attic", Key="parts")["Body"].read() == b"".join(parts)
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="attic", Prefix="small/")["Contents"]]
    assert keys == [f"small/{number:02}" for number in range(30)]
    s3.delete_object(Bucket="attic", Key="box")
    assert s3.list_objects_v2(Bucket="attic")["KeyCount"] == 31


@pytest.mark.parametrize("agent", ["armv7"], indirect=True)
def test_an_object_and_ranges_beyond_4_gib_in_32_bits(agent):
    """Takes some minutes and 5 GB of disk."""
    _, s3 = agent()
    s3.create_bucket(Bucket="attic")
    whole = os.urandom(PART_BYTES)

    def part(number):
        return number.to_bytes(8, "big") + whole[8:]

    upload = s3.create_multipart_upload(Bucket="attic", Key="large")["UploadId"]

    def send(number):
        # By a presigned URL: a signed body would take the emulated processor nearly twice as long.
        to = {"Bucket": "attic", "Key": "large", "UploadId": upload, "PartNumber": number + 1}
        url = s3.generate_presigned_url("upload_part", to)
        with urllib.request.urlopen(urllib.request.Request(url, part(number), method="PUT")) as answer:
            return {"PartNumber": number + 1, "ETag": answer.headers["ETag"]}

    with concurrent.futures.ThreadPoolExecutor(UPLOADS) as uploads:
        listed = list(uploads.map(send, range(PARTS)))
    s3.complete_multipart_upload(Bucket="attic", Key="large", UploadId=upload, MultipartUpload={"Parts": listed})
    assert s3.head_object(Bucket="attic", Key="large")["ContentLength"] == PARTS * PART_BYTES

    def expected(first, last):
        numbers = range(first // PART_BYTES, last // PART_BYTES + 1)
        start = first - first // PART_BYTES * PART_BYTES
        return b"".join(part(number) for number in numbers)[start : start + last + 1 - first]

    end = PARTS * PART_BYTES
    for first, last in [
        (0, 99),
        (FOUR_GIB - 100_000, FOUR_GIB - 1),
        (FOUR_GIB - 70_000, FOUR_GIB + 70_000),
        (FOUR_GIB, FOUR_GIB),
        (FOUR_GIB + 5, FOUR_GIB + 200_000),
        (end - 1000, end - 1),
    ]:
        answer = s3.get_object(Bucket="attic", Key="large", Range=f"bytes={first}-{last}")
        assert answer["ContentRange"] == f"bytes {first}-{last}/{end}"
        assert answer["Body"].read() == expected(first, last), f"bytes {first} to {last}"
