"""Boards of several architectures in one grid."""

import json
import os

import pytest

import qemu
from grids import Boards
from wires import hosts

# One of each, 32 and 64 bits.
BOARDS = ("qemu-virt-arm64", "qemu-virt-armv7", "generic-amd64")
# In the metadata, in one packet, in several segments.
SIZES = (1_000, 60_000, 20_000_000)


lacking = [board for board in BOARDS if board not in qemu.tested_boards()]


@pytest.mark.skipif(bool(lacking), reason=f"no image of {', '.join(lacking)}: `just image` builds them")
def test_boards_of_all_architectures_read_each_others_data(boards, wires):
    grid = Boards(boards, wires, BOARDS, "ec:2+1")
    with hosts.inside(wires.client.netns):
        clients = [grid.s3(number) for number in range(len(BOARDS))]
        clients[0].create_bucket(Bucket="mixed")
        kept = {}
        for board, s3 in zip(BOARDS, clients, strict=True):
            for size in SIZES:
                key = f"{board}/{size}"
                kept[key] = os.urandom(size)
                s3.put_object(Bucket="mixed", Key=key, Body=kept[key])
        for through, s3 in zip(BOARDS, clients, strict=True):
            for key, body in kept.items():
                read = s3.get_object(Bucket="mixed", Key=key)["Body"].read()
                assert read == body, f"{key} through {through}"
            listed = s3.list_objects_v2(Bucket="mixed")["Contents"]
            assert [(one["Key"], one["Size"]) for one in listed] == sorted((key, len(body)) for key, body in kept.items())
    # What one board wrote lies on the others, too.
    (segment, *_) = json.loads(grid.command("locate", f"s3://mixed/{BOARDS[0]}/{SIZES[-1]}", "--json"))["segments"]
    assert segment["profile"] == "ec:2+1" and len({chunk["node"] for chunk in segment["chunks"]}) == len(BOARDS)
