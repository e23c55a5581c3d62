"""Rot, truncation, lost, swapped and cloned drives: reads stay right while the profile allows, and repair rebuilds."""

import shutil

import pytest

from grid import chunk_files, digest, eventually, flip, noise, pull_out

OBJECTS = {"inline": 900, "small": 100_000, "packed": 700_000, "large": 9_000_000}


def fill(grid, bucket="data"):
    client = grid.s3()
    client.create_bucket(Bucket=bucket)
    stored = {}
    for name, size in OBJECTS.items():
        for number in range(3):
            data = noise(f"{name}/{number}", size)
            client.put_object(Bucket=bucket, Key=f"{name}/{number}", Body=data)
            stored[f"{name}/{number}"] = digest(data)
    return stored


def check(grid, stored, bucket="data"):
    client = grid.s3()
    for key, expected in stored.items():
        actual = digest(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        assert actual == expected, f"{key} came back with other bytes"


def summary(grid):
    return {drive["id"]: drive for drive in grid.command("drive", "list")["drives"]}


def test_flipped_bytes_are_never_served_and_are_repaired(grid):
    stored = fill(grid)
    for drive in grid.drives():
        flipped = []
        for path in chunk_files(drive):
            size = path.stat().st_size
            if size > 8192:
                for part in (3, 5, 7):
                    flip(path, size * part // 8, 2)
                flipped.append(path)
        assert flipped, f"{drive} holds no chunk to damage"
        check(grid, stored)
        grid.command("job", "run", "scrub")
        healthy = eventually(lambda: grid.command("drive", "verify", str(drive), check=False).get("damaged") == 0)
        assert healthy, f"{drive}: damage was not repaired"
    check(grid, stored)


@pytest.mark.parametrize("number", range(4))
def test_each_drive_may_be_lost(make_grid, number):
    grid = make_grid()
    stored = fill(grid)
    lost = grid.drives()[number]
    grid.stop()
    shutil.rmtree(lost)
    grid.start()
    check(grid, stored)
    more = noise("after", 3_000_000)
    grid.s3().put_object(Bucket="data", Key="after", Body=more)
    stored["after"] = digest(more)
    check(grid, stored)
    assert not lost.exists(), "a vanished drive was made again without an order"


def test_a_drive_lost_at_run_time(grid):
    stored = fill(grid)
    lost = grid.drives()[1]
    pull_out(lost)
    check(grid, stored)
    gone = eventually(lambda: sum(drive["state"] != "active" for drive in summary(grid).values()) == 1, seconds=30)
    assert gone, "the loss of a drive was not noticed"
    data = noise("after", 2_000_000)
    grid.s3(attempts=5).put_object(Bucket="data", Key="after", Body=data)
    stored["after"] = digest(data)
    check(grid, stored)


def test_truncated_files(grid):
    stored = fill(grid)
    grid.stop()
    drive = grid.drives()[2]
    for path in chunk_files(drive):
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size // 2)
    grid.start()
    check(grid, stored)


def test_an_empty_drive_swapped_in_is_left_alone(grid):
    stored = fill(grid)
    swapped = grid.drives()[3]
    grid.stop()
    shutil.rmtree(swapped)
    swapped.mkdir()
    grid.start()
    check(grid, stored)
    assert list(swapped.iterdir()) == [], "an unlabelled directory was written to without an order"
    states = [drive["state"] for drive in summary(grid).values()]
    assert states.count("active") == 3


def test_replaced_drive_is_filled_again(grid):
    stored = fill(grid)
    drives = grid.drives()
    lost = drives[0]
    old = next(drive["id"] for drive in summary(grid).values() if drive["path"] == str(lost))
    grid.stop()
    shutil.rmtree(lost)
    lost.mkdir()
    grid.start()
    grid.command("drive", "replace", old, str(lost))
    full = eventually(lambda: grid.command("status").get("segments_incomplete", 1) == 0, seconds=120)
    assert full, "repair did not end"
    # Whatever else is lost now up to the profile's tolerance, everything is still there.
    grid.stop()
    shutil.rmtree(drives[1])
    grid.start()
    check(grid, stored)


def test_a_cloned_drive_is_refused(grid):
    stored = fill(grid)
    first, second = grid.drives()[:2]
    grid.stop()
    shutil.rmtree(second)
    shutil.copytree(first, second)
    grid.start()
    check(grid, stored)
    states = [drive["state"] for drive in summary(grid).values()]
    assert states.count("active") == 3, "a clone was taken into service"


def test_a_clone_and_a_foreign_drive_at_run_time_are_told_and_left_alone(grid, make_grid):
    stored = fill(grid)
    other = make_grid(drives=1)
    other.stop()
    first, second, third = grid.drives()[:3]
    for folder, source in ((second, first), (third, other.drives()[0])):
        pull_out(folder)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.sock"))
    before = {folder: sorted(folder.rglob("*")) for folder in (second, third)}
    told = eventually(
        lambda: [drive for drive in grid.command("drive", "list")["drives"] if drive["state"] == "foreign"][1:], seconds=40
    )
    assert told, "a clone and a foreign drive were not told"
    problems = {drive["path"]: drive["problem"] for drive in grid.command("drive", "list")["drives"] if drive["state"] == "foreign"}
    assert "copy of drive" in problems[str(second)] and "another grid" in problems[str(third)], problems
    check(grid, stored)
    assert {folder: sorted(folder.rglob("*")) for folder in (second, third)} == before, "something was written there"

