"""`shoal doctor`: silent on a healthy grid, and plain about the commonest troubles."""

import json
import os
import shutil
import signal
import socket
import subprocess

from grid import SHOAL, Grid, eventually

# A certificate that was good during the year 2000; its key was thrown away.
ENDED = """-----BEGIN CERTIFICATE-----
MIHLMH+gAwIBAgIBATAFBgMrZXAwEDEOMAwGA1UEAwwFZW5kZWQwHhcNMDAwMTAx
MDAwMDAwWhcNMDEwMTAxMDAwMDAwWjAQMQ4wDAYDVQQDDAVlbmRlZDAqMAUGAytl
cAMhALRJCKhzafrpDoQCnGBscz8yFdwQI1B9NWr7hMbcQinnMAUGAytlcANBANvm
h9ZN47TA9LAgoG0OnYRAzGeX9DttcCHStCkd+c2mYrri8duucRvQIx4ACdnfBP45
oBCbEOVdu+WzZ5+0twI=
-----END CERTIFICATE-----
"""


def doctor(config):
    """Exit status, running?, and what was told by level: lines of `check: message`."""
    done = subprocess.run([SHOAL, "doctor", "--json", "--config", config], capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    told = {"ok": [], "note": [], "trouble": []}
    for finding in report["findings"]:
        told[finding["level"]].append(f"{finding['check']}: {finding['message']}")
    assert report["ok"] == (not told["trouble"]) == (done.returncode == 0), done.stdout + done.stderr
    return report["running"], told


def named(lines, *words):
    return [line for line in lines if all(word in line for word in words)]


def found(tmp_path, *more):
    """A founded grid of one node that does not run: its configuration and its folders."""
    drives = [tmp_path / "a", tmp_path / "b"]
    for drive in drives:
        drive.mkdir()
    config = tmp_path / "shoal.toml"
    folders = [part for drive in drives for part in ("--drive", drive)]
    subprocess.run([SHOAL, "init", "--json", "--same-file-system-ok", "--config", config, *folders], check=True,
                   capture_output=True)
    sections = {"s3": [], "admin": [], "rpc": []}
    for section, line in (("s3", 'listen = "127.0.0.1:0"'), ("admin", 'listen = "127.0.0.1:0"'),
                          ("rpc", 'listen = "127.0.0.1:0"'), *more):
        sections[section] = [line, *[kept for kept in sections[section] if kept.split()[0] != line.split()[0]]]
    text = f"drives = [{', '.join(json.dumps(str(drive)) for drive in drives)}]\n"
    text += "".join(f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items())
    config.write_text(text)
    return config, drives


def test_a_healthy_grid_has_no_trouble_and_a_lost_node_is_named(tmp_path):
    grid = Grid(tmp_path / "fleet", drives=1, options=["--nodes", "3"]).start()
    try:
        config = grid.directory / "node-1/shoal.toml"
        runs, told = doctor(config)
        assert runs and told["trouble"] == [], told
        assert named(told["ok"], "members: all 2 others are reached"), told
        assert named(told["ok"], "multicast: passes"), told
        plain = subprocess.run([SHOAL, "doctor", "--config", config], capture_output=True, text=True)
        assert plain.returncode == 0 and "TROUBLE" not in plain.stdout, plain.stdout

        # They become voters one after the other.
        voters = eventually(lambda: named(doctor(config)[1]["ok"], "quorum: 3 of 3 voters run"))
        assert voters, doctor(config)

        os.kill(grid.ready["pids"][2], signal.SIGKILL)
        at_once = doctor(config)[1]
        assert named(at_once["trouble"], "members: node node-3"), at_once
        down = eventually(lambda: named(doctor(config)[1]["trouble"], "node-3", "is down", "shoal node remove"))
        assert down, "a node that died was not told as down"
        runs, told = doctor(grid.directory / "node-3/shoal.toml")
        assert not runs and named(told["note"], "it does not run"), told
        os.kill(grid.ready["pids"][1], signal.SIGKILL)
        lost = eventually(lambda: named(doctor(config)[1]["trouble"], "quorum: 1 of", "start node-"))
        assert lost, doctor(config)
    finally:
        grid.stop()


def test_mistakes_in_the_configuration_are_named(tmp_path):
    config = tmp_path / "shoal.toml"
    config.write_text('drives = ["/a"]\n[s3]\nregoin = "x"\n')
    runs, told = doctor(config)
    assert not runs and named(told["trouble"], "configuration", "line 3", "did you mean `region`?"), told
    assert named(doctor(tmp_path / "none.toml")[1]["trouble"], "configuration", "none.toml")


def test_drives_that_cannot_serve_are_named(tmp_path):
    config, (first, second) = found(tmp_path)
    told = doctor(config)[1]
    assert told["trouble"] == [], told
    assert named(told["ok"], "drives: 2 labelled"), told
    before = sorted(tmp_path.rglob("*"))
    second.chmod(0o555)
    told = doctor(config)[1]
    assert named(told["trouble"], f"drives: {second}", "is not writable", "chmod u+w"), told
    second.chmod(0o755)
    assert sorted(tmp_path.rglob("*")) == before, "it left traces"
    second.rename(tmp_path / "away")
    second.mkdir()
    assert named(doctor(config)[1]["trouble"], f"drives: {second}", "has no drive label"), told
    shutil.rmtree(first)
    assert named(doctor(config)[1]["trouble"], "drives: no drive of a grid was found"), told


def test_a_taken_port_and_an_ended_certificate_are_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        pem = tmp_path / "cert.pem"
        pem.write_text(ENDED)
        config, _ = found(tmp_path, ("s3", f'listen = "127.0.0.1:{port}"'), ("admin", 'tls = "files"'),
                          ("admin", f'certificate = "{pem}"'), ("admin", f'certificate_key = "{pem}"'))
        told = doctor(config)[1]
    assert named(told["trouble"], "ports", f"127.0.0.1:{port} of [s3] is taken"), told
    assert named(told["trouble"], "certificates", "cert.pem", "ended at 20010101T000000Z"), told
