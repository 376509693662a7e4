"""A machine of its own for one test: systemd as process 1, in namespaces. It sees this machine's files, changes none of them, and has a network with
nobody in it but itself."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.life.deployed import until

SYSTEMD = Path("/lib/systemd/systemd")
_BOOT = r"""
set -e
echo $$ > "$GROUP/cgroup.procs"
exec unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child bash -ec '
mount --make-rprivate /
hostname machine.example
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE"/changed "$PLACE"/scratch "$PLACE"/top
root="$PLACE/top"
mount -t overlay overlay -o lowerdir=/,upperdir="$PLACE"/changed,workdir="$PLACE"/scratch "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do mknod -m 666 "$root/dev/$device" c $(stat -c "0x%t 0x%T" "/dev/$device"); done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
ip link set lo up
: > "$root/etc/machine-id"
rm -rf "$root"/etc/systemd/system/*.wants
mkdir -p "$root/etc/tmpfiles.d"; : > "$root/etc/tmpfiles.d/tmp.conf"  # what a test hands over lies in /tmp, which would be emptied
cd "$root"; mkdir -p old; pivot_root . old; umount -l /old
mount --make-rshared /  # as systemd makes it where it boots a real machine: credentials come to a unit that way
exec env -i container=other PATH="$PATH" /lib/systemd/systemd --log-target=journal --show-status=no
'
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """`init`: the process id of its process 1, as seen from here."""

    def __init__(self, init: int) -> None:
        self.init = init

    def run(
        self, *words: str | Path, check: bool = True, feed: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """What root types there, in /srv."""
        inside = ["nsenter", "-t", str(self.init), "-m", "-n", "-p", "-u", "-i", "-C", "-r", "-w"]
        given = {"HOME": "/srv", "PATH": _PATH, "TERM": "dumb", "LANG": "C.UTF-8", **environment}
        clean = ["env", "-i", "-C", "/srv", *(f"{name}={value}" for name, value in given.items())]
        done = subprocess.run(
            [*inside, *clean, *words], input=feed or "", capture_output=True, text=True, timeout=280, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def write(self, path: str, text: str) -> None:
        """An existing file stays whose it was; a new one everybody may read."""
        self.run("sh", "-c", 'umask 022; exec cat > "$0"', path, feed=text)

    def read(self, path: str) -> str:
        return self.run("cat", path).stdout


@contextlib.contextmanager
def machine(place: Path) -> Iterator[Machine]:
    """`place`: an empty folder. Nothing of the machine is left afterwards."""
    group = _cgroups() / f"gatebook-machine-{os.getpid()}"
    group.mkdir()
    environment = {**os.environ, "GROUP": str(group), "PLACE": str(place), "PATH": _PATH}
    process = subprocess.Popen(["bash", "-c", _BOOT], env=environment, stdin=subprocess.DEVNULL)
    try:
        made = Machine(until(lambda: _child_of(process), "process 1"))
        until(lambda: made.run("systemctl", "is-system-running", check=False).stdout.strip() in _UP, "it is up", 60)
        yield made
    finally:
        process.kill()
        process.wait()
        until(lambda: _gone(group), "the machine is gone")


_UP = ("running", "degraded")


def _child_of(process: "subprocess.Popen[bytes]") -> int | None:
    """systemd, once it is that and no more the shell that makes its place."""
    assert process.poll() is None, "the machine did not start"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if len(children) != 1:
        return None
    with contextlib.suppress(OSError):
        if Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
            return int(children[0])
    return None


def _cgroups() -> Path:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return Path(next(fields[1] for fields in mounts if fields[2] == "cgroup2"))


def _gone(group: Path) -> bool:
    for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def can_be_made() -> str | None:
    """Why no such machine can be made here; None where one can."""
    if os.geteuid() != 0:
        return "only root makes a machine: run the tests as root"
    if not SYSTEMD.exists() or shutil.which("nsenter") is None:
        return "no systemd: apt-get install systemd util-linux"
    if "cgroup2" not in {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}:
        return "no cgroups of version 2: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
    return None
