"""A bridge in a network namespace for guests, with a DHCP server and a host for clients on it. The namespaces, and
grids of processes in them, are those of node-agent/tests/grid."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "node-agent/tests/grid"))

import hosts  # noqa: E402
from grid import Grid  # noqa: E402
from seeds import chosen_seed  # noqa: E402
from time_server import TimeServer  # noqa: E402

SERVER = 1  # 10.73.0.1 gives addresses; its host is where clients are
FIRST, LAST = 100, 200


class Wires:
    """One bridge. Guests get a tap each; `client` is the host with DHCP."""

    def __init__(self, folder):
        self.network = hosts.Network()
        self.client = self.network.host()
        self.leases = pathlib.Path(folder) / "leases"
        command = ["dnsmasq", "--keep-in-foreground", "--port=0", "--interface=eth0", "--bind-interfaces", "--user=root"]
        command += [f"--dhcp-range=10.73.0.{FIRST},10.73.0.{LAST},1h", f"--dhcp-leasefile={self.leases}", "--log-facility=-"]
        command += ["--conf-file=/dev/null", "--pid-file=", "--dhcp-authoritative"]
        self.dhcp = subprocess.Popen(
            self.client.exec(command), stderr=subprocess.DEVNULL, preexec_fn=hosts.die_with_parent
        )
        self.taps = 0

    def tap(self):
        """QEMU's arguments for a cable of its own, and what QEMU must be started with."""
        self.taps += 1
        name, netns = f"tap{self.taps}", self.network.netns
        hosts.ip("tuntap", "add", "dev", name, "mode", "tap", netns=netns)
        hosts.ip("link", "set", name, "master", "br0", "up", netns=netns)
        arguments = ["-netdev", f"tap,id=net,ifname={name},script=no,downscript=no"]
        return arguments, ["ip", "netns", "exec", netns]

    def exec(self, command, **options):
        """Runs a program on the clients' host."""
        done = subprocess.run(self.client.exec(command), capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self):
        self.dhcp.kill()
        self.dhcp.wait()
        self.network.close()


def address_in(line):
    """The address in `ready: S3 at http://10.73.0.123:9000`."""
    return re.search(r"http://(10\.73\.0\.\d+):", line).group(1)


def why_not():
    """Why boards cannot be put on a bridge here, or None where they can."""
    if not pathlib.Path("/dev/net/tun").exists():
        return "this kernel has no taps (/dev/net/tun)"
    return hosts.why_not()


__all__ = ["Grid", "TimeServer", "Wires", "address_in", "chosen_seed", "hosts", "why_not"]
