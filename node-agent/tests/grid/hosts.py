"""Hosts as network namespaces on one bridge, with faults on the links between them.

Every host has its own namespace, one interface `eth0` and an address in 10.73.0.0/24 (fd73::/64 too). Its cable ends as port
`pN` of a bridge in a namespace of its own, and all faults are made there, by port: so they hold for every address a host takes,
for multicast, and in one direction if wanted. Nothing touches the machine's own network.

- cut, loss: nftables, family bridge.
- rate: tbf at both ends of the cable.
- delay: `wire.py`, a process between the cable and the bridge; netem is a module that many kernels lack.

The tests' own sockets are made inside the client's namespace (`inside`), so their traffic crosses the bridge as well.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

CLONE_NEWNET = 0x4000_0000
NETNS = pathlib.Path("/run/netns")
PREFIX = "shg"  # of every namespace that these tests make; then the process id
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words, netns=None):
    run(["ip", *(["-n", netns] if netns else []), *words])


def run(command, text=None):
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def die_with_parent():
    """In a new process: it does not outlive the tests."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def why_not():
    """Why hosts cannot be made here, or None where they can."""
    for tool in ("ip", "nft", "tc"):
        if not shutil.which(tool):
            return f"`{tool}` is missing (packages iproute2, nftables)"
    probe = f"{PREFIX}{os.getpid()}-probe"
    try:
        ip("netns", "add", probe)
        try:
            ip("link", "add", "br0", "type", "bridge", netns=probe)
            run(["ip", "netns", "exec", probe, "nft", "-f", "-"], "add table bridge t; add chain bridge t c")
        finally:
            ip("netns", "del", probe)
    except AssertionError as refused:
        return f"no network namespaces here: {refused}"
    return None


def sweep():
    """Removes what test runs left that are dead now."""
    for path in NETNS.glob(f"{PREFIX}*-*"):
        owner = re.match(rf"{PREFIX}(\d+)-", path.name)
        if owner and not pathlib.Path(f"/proc/{owner[1]}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True)


_inside = threading.local()


@contextlib.contextmanager
def inside(netns):
    """This thread's new sockets belong to `netns` meanwhile."""
    home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(NETNS / netns, os.O_RDONLY)
    try:
        if _libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {netns}")
        try:
            yield
        finally:
            if _libc.setns(home, CLONE_NEWNET):
                os._exit(70)  # a thread that is lost in a namespace would make a mess of the rest
    finally:
        os.close(home)
        os.close(there)


def authority(address, port):
    """As it stands in a URL and in a configuration."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Host:
    """One namespace with one cable."""

    def __init__(self, network, number):
        self.network, self.number = network, number
        self.netns = f"{network.name}-h{number}"
        self.port = f"p{number}"
        self.wire = None
        self.address = None
        ip("netns", "add", self.netns)
        ip("link", "add", "eth0", "netns", self.netns, "type", "veth", "peer", "name", self.port, "netns", network.netns)
        ip("link", "set", self.port, "master", "br0", "up", netns=network.netns)
        ip("link", "set", "lo", "up", netns=self.netns)
        ip("link", "set", "eth0", "up", "multicast", "on", netns=self.netns)
        self.readdress(number)

    def readdress(self, last):
        """The only addresses of this host are 10.73.0.`last` and fd73::`last` from now on, as after a new lease."""
        ip("addr", "flush", "dev", "eth0", "scope", "global", netns=self.netns)
        self.address = f"fd73::{last:x}"
        ip("addr", "add", f"{self.address}/64", "nodad", "dev", "eth0", netns=self.netns)
        if self.network.ipv6_only:
            return
        self.address = f"10.73.0.{last}"
        ip("addr", "add", f"{self.address}/24", "brd", "+", "dev", "eth0", netns=self.netns)
        ip("route", "replace", "224.0.0.0/4", "dev", "eth0", netns=self.netns)

    def exec(self, command):
        """`command` as it is run on this host; `ip` replaces itself by it, so the process id is the command's."""
        return ["ip", "netns", "exec", self.netns, *map(str, command)]

    def plug(self, there):
        """The cable in, or out."""
        ip("link", "set", self.port, "up" if there else "down", netns=self.network.netns)

    def rate(self, megabits):
        """A slow cable, both ways; None: fast again."""
        for netns, device in ((self.netns, "eth0"), (self.network.netns, self.port)):
            tc = ["ip", "netns", "exec", netns, "tc", "qdisc"]
            if megabits is None:
                run([*tc, "del", "dev", device, "root"])
            else:
                shape = ["tbf", "rate", f"{megabits}mbit", "burst", "32kb", "latency", "200ms"]
                run([*tc, "replace", "dev", device, "root", *shape])

    def delay(self, milliseconds):
        """Every packet takes so much longer, each way. Stays for the host's life; may be changed."""
        if self.wire is None:
            # The cable ends at the wire, the wire's other end takes the cable's place and name: the rules go on.
            outer, inner = f"{self.port}c", f"{self.port}w"
            netns = self.network.netns
            ip("link", "set", self.port, "down", netns=netns)
            ip("link", "set", self.port, "nomaster", netns=netns)
            ip("link", "set", self.port, "name", outer, netns=netns)
            ip("link", "add", self.port, "type", "veth", "peer", "name", inner, netns=netns)
            ip("link", "set", self.port, "master", "br0", netns=netns)
            for device in (outer, inner, self.port):
                ip("link", "set", device, "up", netns=netns)
            wire = pathlib.Path(__file__).with_name("wire.py")
            command = ["ip", "netns", "exec", netns, sys.executable, str(wire), outer, inner, self.netns]
            self.wire = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
            )
        self.wire.stdin.write(f"{milliseconds}\n")
        self.wire.stdin.flush()
        assert self.wire.stdout.readline() == "ok\n", "the wire broke"

    def close(self):
        if self.wire:
            self.wire.kill()
            self.wire.wait()
        ip("netns", "del", self.netns)


class Network:
    """A bridge and its hosts. `faults` is a list of rules; each change replaces all of them at once."""

    count = 0

    def __init__(self, ipv6_only=False):
        self.ipv6_only = ipv6_only
        Network.count += 1
        self.name = f"{PREFIX}{os.getpid()}-{Network.count}"
        self.netns = f"{self.name}-net"
        self.hosts = []
        self.faults = []
        ip("netns", "add", self.netns)
        ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0", netns=self.netns)
        ip("link", "set", "br0", "up", netns=self.netns)

    def host(self):
        host = Host(self, len(self.hosts) + 1)
        self.hosts.append(host)
        return host

    def _set(self):
        rules = "\n".join(self.faults)
        chain = f"chain wires {{ type filter hook forward priority 0; policy accept;\n{rules}\n}}"
        text = f"table bridge faults\ndelete table bridge faults\ntable bridge faults {{\n{chain}\n}}\n"
        run(["ip", "netns", "exec", self.netns, "nft", "-f", "-"], text)

    def cut(self, sources, destinations):
        """Nothing gets from any of `sources` to any of `destinations`; the other way stays as it is."""
        for one in sources:
            self.faults += [f'iifname "{one.port}" oifname "{other.port}" drop' for other in destinations if other is not one]
        self._set()

    def split(self, left, right):
        """Nothing passes between the two halves. Clients are in neither, so they reach both."""
        self.cut(left, right)
        self.cut(right, left)

    def lose(self, host, percent):
        """So many of the packets from and to `host` are lost."""
        dice = f"numgen random mod 1000 < {int(percent * 10)} drop"
        self.faults += [f'iifname "{host.port}" {dice}', f'oifname "{host.port}" {dice}']
        self._set()

    def heal(self):
        """No cuts, no loss."""
        self.faults = []
        self._set()

    def close(self):
        for host in self.hosts:
            host.close()
        ip("netns", "del", self.netns)
