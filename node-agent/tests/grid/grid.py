"""A real grid: one `shoal serve` a host, founded and joined by the commands that a user would type."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from hosts import Network, authority, die_with_parent
from s3 import S3

SHOAL = pathlib.Path(os.environ.get("SHOAL_BIN", "target/ci/shoal")).resolve()
RPC_PORT = 9002
READY_SECONDS_MAX = 60


class Refused(AssertionError):
    """A command of shoal said no."""


def shoal(*words, host=None, seconds=120):
    """Runs a command; its answer parsed, if it is JSON."""
    command = [SHOAL, *words]
    done = subprocess.run(
        host.exec(command) if host else [str(word) for word in command], capture_output=True, text=True, timeout=seconds
    )
    if done.returncode != 0:
        raise Refused(f"shoal {' '.join(map(str, words))}: {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout


class Node:
    """One node on its host: its drive, its configuration, its process, its log."""

    def __init__(self, grid, host, number, drives=1):
        self.grid, self.host, self.number = grid, host, number
        self.folder = grid.folder / f"n{number}"
        self.config = self.folder / "shoal.toml"
        self.socket = grid.folder / f"{number}.s"
        self.log = self.folder / "shoal.log"
        self.drives = [self.folder / f"drive-{i + 1}" for i in range(drives)]
        self.process = None
        self.id = None
        self.environment = {}
        for drive in self.drives:
            drive.mkdir(parents=True)

    def __repr__(self):
        return f"node {self.number}"

    @property
    def address(self):
        return self.host.address

    def _drive_words(self):
        return [word for drive in self.drives for word in ("--drive", drive)]

    def found(self):
        made = shoal("init", *self._drive_words(), "--config", self.config, "--json", *self._together())
        self.configure()
        return made

    def join(self, ticket=None, peer=None, patience=30, enrolled=None):
        """By a ticket, or by the key of `key()` in the grid with the pin `enrolled`."""
        file = self.folder / "ticket"
        if ticket is not None:
            file.write_text(ticket + "\n")
        words = ["--ticket-file", file] if enrolled is None else ["--enrolled", enrolled]
        words += ["--rpc-listen", authority(self.address, RPC_PORT), "--patience", str(patience)]
        words += ["--peer", authority(peer.address, RPC_PORT)] if peer else []
        words += ["--name", f"node-{self.number}", *self._together()]
        made = shoal("join", *self._drive_words(), *words, "--config", self.config, "--json", host=self.host)
        self.configure()
        return made

    def key(self):
        """Its public key, drawn where there is none yet."""
        return shoal("node", "key", "--drive", self.drives[0], "--json")["public_key"]

    def _together(self):
        return ["--same-file-system-ok"] if len(self.drives) > 1 else []

    def configure(self):
        drives = ", ".join(f'"{drive}"' for drive in self.drives)
        self.config.write_text(
            f"drives = [{drives}]\n"
            + ("drives_are_domains = true\n" if len(self.drives) > 1 else "")
            + f'socket = "{self.socket}"\n'
            + '[s3]\nlisten = "[::]:9000"\n'
            + '[admin]\nlisten = "[::]:9001"\ntls = "off"\n'
            + f'[rpc]\nlisten = "{authority(self.address, RPC_PORT)}"\n'
            + '[log]\nlevel = "info,openraft=warn"\n'
        )

    def start(self, wait=True):
        assert self.process is None, f"{self} runs already"
        command = self.host.exec([SHOAL, "serve", "--config", self.config])
        with open(self.log, "ab") as log:
            log.write(f"--- started at {time.monotonic():.3f}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | self.environment, preexec_fn=die_with_parent
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=READY_SECONDS_MAX):
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"{self} ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                status = self.status()
                if status["readiness"]["ready"]:
                    self.id = status["node"]
                    return
                why = status["readiness"]["reasons"]
            except Refused as refused:
                why = refused
            if time.monotonic() > end:
                raise AssertionError(f"{self} is not ready after {seconds} s: {why}\n{self.log_tail()}")
            time.sleep(0.1)

    def kill(self):
        """Power off, as far as a process can see it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """In good order."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self} did not stop on SIGTERM:\n{self.log_tail()}") from None
        self.process = None

    def command(self, *words, seconds=60):
        return shoal(*words, "--socket", self.socket, seconds=seconds)

    def status(self):
        return self.command("status", "--json")

    def nodes(self):
        """The members as this node sees them, by id."""
        return {one["node"]: one for one in self.command("node", "list", "--json")["nodes"]}

    def ticket(self, uses=8, expires="24h"):
        return self.command("ticket", "create", "--uses", str(uses), "--expires", expires, "--json")["ticket"]

    def log_tail(self, size=3000):
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""


class Grid:
    """Several nodes on one network, and clients on it."""

    def __init__(self, network, folder):
        self.network, self.folder = network, pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.client = network.host()
        self.nodes = []
        self.keys = None

    def add(self, drives=1, start=True):
        """Founds the grid with the first node; joins further ones by a ticket."""
        node = Node(self, self.network.host(), len(self.nodes) + 1, drives)
        if self.nodes:
            node.join(self.up()[0].ticket())
        else:
            self.keys = node.found()
        self.nodes.append(node)
        return node.start() if start else node

    def up(self):
        return [node for node in self.nodes if node.process]

    def s3(self, timeout=10):
        return S3(self.client.netns, self.keys["access_key"], self.keys["secret_key"], timeout)

    def bucket(self, name="load", seconds=30):
        client = self.s3()
        answer = None

        def made():
            nonlocal answer
            answer = client.request(self.up()[0], "PUT", f"/{name}")
            return answer.status in (200, 409)

        assert eventually(made, seconds), f"no bucket: {answer}"

    def leader(self, among=None):
        """The node that leads the root shard, as one of `among` sees it; None while there is none."""
        for node in among or self.up():
            try:
                leads = [one for one, row in node.nodes().items() if row["leads"]]
            except (Refused, subprocess.TimeoutExpired):
                continue
            if leads:
                return next((node for node in self.nodes if node.id == leads[0]), None)
        return None

    def wait_leader(self, among=None, seconds=30):
        leader = eventually(lambda: self.leader(among), seconds)
        assert leader, "nobody leads\n" + self.log_tails()
        return leader

    def log_tails(self):
        return "\n".join(f"=== {node}\n{node.log_tail()}" for node in self.nodes)

    def close(self):
        """Power off; then the folders go."""
        for node in self.nodes:
            if node.process:
                node.process.send_signal(signal.SIGCONT)
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def eventually(check, seconds=60, every=0.2):
    """Waits until `check` gives something true; its last answer."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(every)


__all__ = ["Grid", "Network", "Node", "Refused", "SHOAL", "eventually", "shoal"]
