"""Throw-away root file systems of this host: a package is installed and a program run in them, and the host stays as it is."""

import os
import signal
import subprocess


def why_not():
    """Why there can be none here; None = there can."""
    if os.geteuid() != 0:
        return "installing into a throw-away root needs root"
    tried = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no mount namespaces here: {tried.stderr.strip()}"


class Root:
    """A mount namespace that holds a root; what runs in it sees nothing else."""

    def __init__(self, folder, script):
        """`script` mounts the root at `folder`."""
        self.folder = folder
        folder.mkdir()
        script += f"""
mkdir -p {folder}/proc {folder}/dev {folder}/run {folder}/tmp
mount -t proc proc {folder}/proc
mount --bind /dev {folder}/dev
mount -t tmpfs tmpfs {folder}/run
echo ready
exec sleep infinity
"""
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n", "the root could not be mounted"

    @classmethod
    def of_host(cls, folder):
        """What this host's root holds; what is written goes to memory."""
        return cls(folder, f"""
mount -t tmpfs tmpfs {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
mount --bind {folder}/root {folder}
""")

    @classmethod
    def of_tree(cls, folder, tree):
        """What a tree holds."""
        return cls(folder, f"mount --bind {tree} {folder}")

    def command(self, *command, user=None):
        """A command line that runs in the root, as a user and group by number where one is given."""
        # The program that changes the user is the host's, which a root from scratch has not: chroot does both.
        as_user = [f"--userspec={user}:{user}", "--groups="] if user is not None else []
        inside = ["chroot", *as_user, str(self.folder), *map(str, command)]
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *inside]

    def run(self, *command, user=None, **options):
        """Runs to its end; what it printed, both streams in one."""
        done = subprocess.run(self.command(*command, user=user), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=300, **options)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def close(self):
        """The namespace goes, and with it all that was mounted."""
        self.holder.send_signal(signal.SIGKILL)
        self.holder.wait()
