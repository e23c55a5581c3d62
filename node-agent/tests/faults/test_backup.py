"""`shoal backup` and `shoal restore`: every metadata folder lost, and all of it back from one file or from another S3."""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from grid import SHOAL, Grid, digest, eventually, flip, noise
from test_drives import check, fill

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def passphrase(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return path


def shoal(*arguments, check=True, environment=None):
    done = subprocess.run(
        [SHOAL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(environment or {})},
    )
    if check:
        assert done.returncode == 0, f"shoal {arguments}: {done.stdout}{done.stderr}"
    return done


def back_up(grid, to, passphrase, *options, environment=None):
    door = ["--admin", grid.ready["admin"], "--operator-key", grid.ready["admin_key"]]
    order = ["backup", "--json", "--to", to, "--passphrase-file", passphrase, *options, *door]
    return json.loads(shoal(*order, environment=environment).stdout)


def lose_metadata(drives):
    folders = [drive / "meta" for drive in drives if (drive / "meta").exists()]
    assert folders, "no drive had metadata"
    for folder in folders:
        shutil.rmtree(folder)


def restore_order(source, drives, passphrase, *options):
    folders = [part for drive in drives for part in ("--drive", drive)]
    return ["restore", "--json", "--from", source, "--passphrase-file", passphrase, *folders, *options]


def test_lost_metadata_comes_back_from_a_backup(grid, tmp_path, passphrase):
    stored = fill(grid)
    backup = tmp_path / "grid.backup"
    told = back_up(grid, backup, passphrase)
    assert told["bytes"] == backup.stat().st_size and told["shards"] >= 2
    assert backup.stat().st_mode & 0o077 == 0, "others may read it"
    assert list(tmp_path.glob("*.part")) == []
    refused = shoal("backup", "--to", backup, "--passphrase-file", passphrase, "--admin", grid.ready["admin"],
                    "--operator-key", grid.ready["admin_key"], check=False)
    assert refused.returncode != 0 and "replaces nothing" in refused.stderr

    whole = json.loads(shoal("backup", "verify", "--json", backup).stdout)
    assert whole["authentic"] is False
    whole = json.loads(shoal("backup", "verify", "--json", "--passphrase-file", passphrase, backup).stdout)
    assert whole["authentic"] is True and whole["shards"] == told["shards"]

    later, inline = noise("later", 400_000), noise("inline", 500)
    grid.s3().put_object(Bucket="data", Key="later", Body=later)
    grid.s3().put_object(Bucket="data", Key="inline-later", Body=inline)
    drives = grid.drives()
    running = shoal(*restore_order(backup, drives, passphrase), check=False)
    assert running.returncode != 0 and "runs" in running.stderr, running.stderr
    grid.stop()
    there = shoal(*restore_order(backup, drives, passphrase), check=False)
    assert there.returncode != 0 and "replaces nothing" in there.stderr, there.stderr

    lose_metadata(drives)
    report = json.loads(shoal(*restore_order(backup, drives, passphrase)).stdout)
    assert report["drives"] == 4 and report["new_node"] is False and report["lost"], report
    assert report["objects"] == 1, "the object written after the backup comes back from its chunks"
    again = shoal(*restore_order(backup, drives, passphrase), check=False)
    assert again.returncode != 0, "a second restore must not replace the first"

    grid.start()
    stored["later"] = digest(later)
    check(grid, stored)
    keys = {entry["Key"] for entry in grid.s3().list_objects_v2(Bucket="data")["Contents"]}
    assert keys == set(stored), "inline objects written after the backup are lost, and nothing else"
    more = noise("more", 300_000)
    grid.s3().put_object(Bucket="data", Key="more", Body=more)
    stored["more"] = digest(more)
    grid.stop()
    grid.start()
    check(grid, stored)


def test_a_backup_that_is_not_right_is_refused_in_words(grid, tmp_path, passphrase):
    fill(grid)
    backup = tmp_path / "grid.backup"
    size = back_up(grid, backup, passphrase)["bytes"]
    drives = grid.drives()
    grid.stop()
    lose_metadata(drives)
    before = {drive: sorted(drive.rglob("*")) for drive in drives}

    def refused(source, file=passphrase):
        done = shoal(*restore_order(source, drives, file), check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    wrong = tmp_path / "wrong"
    wrong.write_text("incorrect horse\n")
    assert "does not open with this passphrase" in refused(backup, wrong)
    wrong.write_text("short\n")
    assert "at least 8 letters" in refused(backup, wrong)
    for length in (0, 50, size // 2, size - 1):
        cut = tmp_path / f"cut-{length}"
        cut.write_bytes(backup.read_bytes()[:length])
        assert "is cut short" in refused(cut), length
        assert "is cut short" in shoal("backup", "verify", cut, check=False).stderr
    for place in (30, 90, size // 2, size - 5):
        flipped = tmp_path / f"flipped-{place}"
        shutil.copy(backup, flipped)
        flip(flipped, place)
        assert "is damaged" in refused(flipped), place
        assert shoal("backup", "verify", flipped, check=False).returncode != 0, place
    photo = tmp_path / "photo"
    photo.write_bytes(noise("photo", 5_000))
    assert "is no backup of Shoal" in refused(photo)
    assert {drive: sorted(drive.rglob("*")) for drive in drives} == before, "a refused backup left traces"


def test_the_backup_of_another_grid_is_refused(grid, make_grid, tmp_path, passphrase):
    backup = tmp_path / "grid.backup"
    back_up(grid, backup, passphrase)
    other = make_grid(drives=1)
    other.stop()
    grid.stop()
    lose_metadata(other.drives())
    refused = shoal(*restore_order(backup, other.drives(), passphrase), check=False)
    assert refused.returncode != 0 and "these drives belong to grid" in refused.stderr


def test_a_node_that_lost_its_drives_begins_anew_on_empty_folders(grid, tmp_path, passphrase):
    client = grid.s3()
    client.create_bucket(Bucket="small")
    small = noise("small", 900)
    client.put_object(Bucket="small", Key="inline", Body=small)
    backup = tmp_path / "grid.backup"
    back_up(grid, backup, passphrase)
    grid.stop()
    folders = []
    for drive in grid.drives():
        shutil.rmtree(drive)
        drive.mkdir()
        folders.append(drive)
    report = json.loads(shoal(*restore_order(backup, folders, passphrase, "--same-file-system-ok")).stdout)
    assert report["new_node"] is True, report
    grid.start()
    assert grid.s3().get_object(Bucket="small", Key="inline")["Body"].read() == small
    members = grid.command("node", "list")["nodes"]
    assert len(members) == 2 and sum(member["here"] for member in members) == 1, members


def test_another_s3_keeps_a_backup(grid, make_grid, tmp_path, passphrase):
    stored = fill(grid)
    keeper = make_grid(drives=1, profile="copies:1")
    keeper.s3().create_bucket(Bucket="backups")
    endpoint = ["--s3-endpoint", keeper.ready["endpoint"]]
    keys = {"AWS_ACCESS_KEY_ID": keeper.ready["access_key"], "AWS_SECRET_ACCESS_KEY": keeper.ready["secret_key"]}
    told = back_up(grid, "s3://backups/of my grid/", passphrase, *endpoint, environment=keys)
    assert told["backup"].startswith("s3://backups/of my grid/shoal-"), told
    verified = shoal("backup", "verify", told["backup"], "--passphrase-file", passphrase, *endpoint, environment=keys)
    assert "whole and authentic" in verified.stdout
    missing = shoal("backup", "verify", told["backup"] + "x", *endpoint, environment=keys, check=False)
    assert "NoSuchKey" in missing.stderr
    no_bucket = shoal("backup", "--to", "s3://nowhere/x", "--passphrase-file", passphrase, *endpoint, "--admin",
                      grid.ready["admin"], "--operator-key", grid.ready["admin_key"], environment=keys, check=False)
    assert no_bucket.returncode != 0 and "NoSuchBucket" in no_bucket.stderr

    grid.stop()
    lose_metadata(grid.drives())
    shoal(*restore_order(told["backup"], grid.drives(), passphrase, *endpoint), environment=keys)
    grid.start()
    check(grid, stored)


def fill_rows(grid, count, size=16_000):
    """Objects that live in the metadata alone."""
    client = grid.s3(attempts=5)
    client.create_bucket(Bucket="rows")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: client.put_object(Bucket="rows", Key=f"{n:05}", Body=noise(f"row/{n}", size)), range(count)))


def test_a_backup_of_several_parts_and_one_that_broke_off(grid, make_grid, tmp_path, passphrase):
    fill_rows(grid, 1_200)
    keeper = make_grid(drives=1, profile="copies:1")
    keeper.s3().create_bucket(Bucket="backups")
    endpoint = ["--s3-endpoint", keeper.ready["endpoint"]]
    keys = {"AWS_ACCESS_KEY_ID": keeper.ready["access_key"], "AWS_SECRET_ACCESS_KEY": keeper.ready["secret_key"]}
    told = back_up(grid, "s3://backups/large", passphrase, *endpoint, environment=keys)
    assert told["bytes"] > 17 << 20, "it fits into one part"
    verified = shoal("backup", "verify", told["backup"], "--passphrase-file", passphrase, *endpoint, environment=keys)
    assert "whole and authentic" in verified.stdout
    assert "-" in keeper.s3().list_objects_v2(Bucket="backups")["Contents"][0]["ETag"], "it was no multipart upload"

    host, port = grid.ready["admin"].removeprefix("http://").split(":")
    for to, more in ((tmp_path / "cut.backup", []), ("s3://backups/cut", endpoint)):
        with CutShort((host, int(port)), 17 << 20) as door:
            order = ["backup", "--to", to, "--passphrase-file", passphrase, *more, "--admin", door.url, "--operator-key",
                     grid.ready["admin_key"]]
            cut = shoal(*order, environment=keys, check=False)
        assert cut.returncode != 0 and "broke off" in cut.stderr, cut.stderr
    assert [path for path in tmp_path.iterdir() if "cut" in path.name] == [], "a part was left behind"
    assert "cut" not in str(keeper.s3().list_objects_v2(Bucket="backups")["Contents"])
    assert "Uploads" not in keeper.s3().list_multipart_uploads(Bucket="backups"), "the upload was not aborted"
    back_up(grid, tmp_path / "after.backup", passphrase)


class CutShort:
    """Passes one connection on, and cuts it after so many bytes of the answer."""

    def __init__(self, upstream, count):
        self.upstream, self.left = upstream, count
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join()

    def serve(self):
        client, _ = self.listener.accept()
        with client, socket.create_connection(self.upstream) as server:
            asking = threading.Thread(target=self.ask, args=(client, server))
            asking.start()
            while self.left > 0 and (answer := server.recv(min(65_536, self.left))):
                client.sendall(answer)
                self.left -= len(answer)
            client.shutdown(socket.SHUT_RDWR)
        asking.join()

    def ask(self, client, server):
        try:
            while asked := client.recv(65_536):
                server.sendall(asked)
        except OSError:
            pass


class Fleet(Grid):
    """A demo of three nodes."""

    def __init__(self, directory):
        super().__init__(directory, drives=1, options=["--nodes", "3"])


def test_a_grid_of_three_takes_its_metadata_from_the_one_that_restored(tmp_path, passphrase):
    grid = Fleet(tmp_path / "fleet").start()
    try:
        stored = fill(grid)
        backup = tmp_path / "grid.backup"
        back_up(grid, backup, passphrase)
        grid.stop()
        # More starts than the backup knows of.
        grid.start()
        drives = grid.drives()
        os.kill(grid.ready["pids"][1], signal.SIGKILL)
        alive = shoal(*restore_order(backup, drives[1:2], passphrase), check=False)
        assert alive.returncode != 0 and "of this grid runs" in alive.stderr, alive.stderr
        grid.stop()
        lose_metadata(drives)
        report = json.loads(shoal(*restore_order(backup, drives[1:2], passphrase)).stdout)
        assert len(report["other_members"]) == 2, report
        restart(grid, first=2)
        check(grid, stored)
        members = grid.command("node", "list")["nodes"]
        assert [member["state"] for member in members] == ["alive"] * 3, members
    finally:
        grid.stop()


def restart(grid, first):
    """The node that restored must serve before the others can take its metadata over."""
    folder = grid.directory / f"node-{first}"
    log = open(folder / "first.log", "ab")
    serve = subprocess.Popen([SHOAL, "serve", "--config", folder / "shoal.toml"], stdout=log, stderr=log)
    try:
        others = []
        for number in (1, 2, 3):
            if number != first:
                path = grid.directory / f"node-{number}"
                others.append(subprocess.Popen([SHOAL, "serve", "--config", path / "shoal.toml"], stdout=log, stderr=log))

        def together():
            done = shoal("node", "list", "--json", "--config", grid.directory / "node-1/shoal.toml", check=False)
            if done.returncode != 0:
                return False
            return [node["state"] for node in json.loads(done.stdout)["nodes"]] == ["alive"] * 3

        assert eventually(together), (folder / "first.log").read_text()[-3000:]
    finally:
        for process in [serve, *others]:
            process.send_signal(signal.SIGTERM)
        for process in [serve, *others]:
            process.wait(timeout=40)
    grid.start()
