"""A host that exists already: Debian with systemd and two container engines, in QEMU. Made once, by mmdebstrap and without an
installer; what a test writes is gone with it."""

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess

from board import Serial
from qemu import TOP, free_port

RELEASE = "trixie"
PACKAGES = ["aardvark-dns", "ca-certificates", "crun", "dbus", "docker-cli", "docker-compose", "docker.io",
            "initramfs-tools", "iproute2", "iptables", "kmod", "linux-image-cloud-amd64", "netavark", "nftables", "podman", "podman-compose",
            "systemd-sysv", "udev"]
DISK_BYTES = 6 << 30
SECOND_DISK_KIB = 1 << 20
MEMORY_MIB = 2048
# Of one command: the emulated host takes its time.
PATIENCE = 600
# Of a shell that may not have heard.
SHELL_PATIENCE = 10
# Root without a password at the serial line, whose end this test holds; an address by DHCP.
CONFIGURE = r"""
echo host > "$1/etc/hostname"
echo '127.0.0.1 localhost host' > "$1/etc/hosts"
echo '/dev/vda / ext4 rw 0 1' > "$1/etc/fstab"
mkdir -p "$1/etc/systemd/system/serial-getty@ttyS0.service.d"
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear %%I dumb\n' \
  > "$1/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"
printf '[Match]\nName=e*\n[Network]\nDHCP=ipv4\n' > "$1/etc/systemd/network/all.network"
echo 'nameserver 10.0.2.3' > "$1/etc/resolv.conf"
chroot "$1" systemctl enable systemd-networkd
"""


def why_not():
    """Why there can be none here; None = there can."""
    if os.geteuid() != 0:
        return "making a Debian host needs root"
    lacking = [each for each in ("mmdebstrap", "mke2fs", "qemu-system-x86_64") if not shutil.which(each)]
    return f"{', '.join(lacking)} missing: apt-get install mmdebstrap qemu-system-x86" if lacking else None


def made_once():
    """The folder that holds `disk.img`, `vmlinuz` and `initrd.img`."""
    recipe = hashlib.sha256(repr((RELEASE, PACKAGES, DISK_BYTES, CONFIGURE)).encode()).hexdigest()[:12]
    folder = TOP / f"target/hil/debian-{recipe}"
    if folder.exists():
        return folder
    unfinished = folder.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    root = unfinished / "root"
    options = ["--variant=minbase", f"--include={','.join(PACKAGES)}", f"--customize-hook={CONFIGURE}"]
    mirror = [os.environ["SHOAL_DEBIAN_MIRROR"]] if "SHOAL_DEBIAN_MIRROR" in os.environ else []
    subprocess.run(["mmdebstrap", *options, RELEASE, root, *mirror], check=True)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(root / name, unfinished / name)
    with open(unfinished / "disk.img", "wb") as disk:
        disk.truncate(DISK_BYTES)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", root, unfinished / "disk.img"], check=True)
    shutil.rmtree(root)
    unfinished.rename(folder)
    return folder


class Debian:
    """The host, on. `files` (a folder) lies at /files there, /dev/vdc is a second disk with an empty file system; `ports` of it
    are at ports of this one: {there: here}."""

    def __init__(self, folder, files, ports):
        folder.mkdir()
        made, carried, second = made_once(), folder / "files.tar", folder / "second.img"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", second, str(SECOND_DISK_KIB)], check=True)
        subprocess.run(["tar", "-C", files, "-cf", carried, "."], check=True)
        self.ports = {port: free_port() for port in ports}
        self.serial, self.commands = Serial(folder / "serial.log"), 0
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in self.ports.items())
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none",
             "-monitor", "none", "-serial", "stdio", "-kernel", made / "vmlinuz", "-initrd", made / "initrd.img",
             "-append", "root=/dev/vda rw console=ttyS0 quiet", "-drive", f"if=virtio,format=raw,snapshot=on,file={made / 'disk.img'}",
             "-drive", f"if=virtio,format=raw,readonly=on,file={carried}",
             "-drive", f"if=virtio,format=raw,file={second}", "-device", "virtio-rng-pci",
             "-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.serial.follow(functools.partial(self.process.stdout.read1, 4096))
        self.wait_for_login(0)
        self.run("mkdir /files && tar -C /files -xf /dev/vdb")

    def _type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_for_login(self, after):
        """Until a shell answers."""
        self.serial.wait_for(r"login: root \(automatic login\)", after, PATIENCE)
        for _ in range(PATIENCE // SHELL_PATIENCE):
            # What is typed before there is a shell may be lost.
            self._type("stty -echo; PS1=; export TERM=dumb PAGER=cat; bind 'set enable-bracketed-paste off'; echo rea''dy")
            try:
                return self.serial.wait_for(r"ready$", after, SHELL_PATIENCE)
            except AssertionError:
                continue
        raise AssertionError(f"no shell answers:\n{self.serial.text[-3000:]}")

    def try_to(self, command):
        """Runs a shell command as root: its status and what it printed, both streams in one."""
        self.commands += 1
        begin, end, after = f"begin-{self.commands}", f"end-{self.commands}", self.serial.mark()
        self._type(f"echo; echo {begin}; {{ {command}\n}} 2>&1 </dev/null; status=$?; echo; echo {end}-$status")
        self.serial.wait_for(rf"^{begin}$", after, PATIENCE)
        status = self.serial.wait_for(rf"^{end}-(\d+)$", after, PATIENCE)
        with self.serial.changed:
            said = self.serial.text[after:status.start()]
        return int(status.group(1)), said.split(f"{begin}\n", 1)[1].strip("\n")

    def run(self, command):
        """The same, and fails where the command does."""
        status, said = self.try_to(command)
        assert status == 0, f"{command}: {status}\n{said}"
        return said

    def wait_until(self, command):
        """Until the command succeeds."""
        self.run(f"for try in $(seq {PATIENCE // 2}); do ( {command} ) && break; sleep 1; done; {command}")

    def reboot(self):
        after = self.serial.mark()
        self._type("systemctl reboot")
        self.wait_for_login(after)

    def close(self):
        self.process.kill()
        self.process.wait()
