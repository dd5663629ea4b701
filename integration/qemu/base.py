# SPDX-License-Identifier: Apache-2.0
"""The guest's Debian, made once per recipe: a kernel, its initramfs, a root file system.

    $XDG_CACHE_HOME/mesos-compat/qemu/       0700
        base-KEY.lock                        held while it is being made
        base-KEY/vmlinuz, initrd, root.img   KEY is a digest of all that decides the content
        project-*.img                        one per running guest

Made by debootstrap from the mirror that this host's apt uses; nothing is installed on the host.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

#: Debian release by the version of its Python, which has to be the one of our dependencies.
RELEASES = {(3, 11): "bookworm", (3, 13): "trixie"}

#: Program on this host → the Debian package that has it.
HOST_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "setpriv": "util-linux",
}

_PACKAGES = (
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "python3",
    "kmod",
    "procps",
    # What tests start.
    "busybox-static",
    # What the master's library loads.
    "libsasl2-2",
    "libsasl2-modules",
    "zlib1g",
    "libstdc++6",
    "libevent-2.1-7",
    "libevent-core-2.1-7",
    "libevent-extra-2.1-7",
    "libevent-openssl-2.1-7",
    "libevent-pthreads-2.1-7",
)

#: Process 1: everything else is on the disk with the project.
_INIT = """\
#!/bin/sh
mount -o ro /dev/vdb /opt
exec /opt/venv/bin/python3 /opt/project/integration/qemu/guest.py
"""
_INIT_PATH = "sbin/mesos-compat-guest"

#: Megabytes of the root file system; what the guest writes is thrown away.
_ROOT_MB = 2048
_BUILD_TIMEOUT_S = 1800


class UnusableHostError(Exception):
    """This host cannot run guests; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Base:
    """Paths of one finished base."""

    kernel: str
    initrd: str
    root: str


def check_host() -> None:
    """Raise UnusableHostError unless a base can be made and started here."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise UnusableHostError("guests are made for Linux on x86_64")
    if os.geteuid() != 0:
        raise UnusableHostError("debootstrap needs root")
    if sys.version_info[:2] not in RELEASES:
        known = ", ".join(f"{major}.{minor}" for major, minor in RELEASES)
        raise UnusableHostError(f"the guest's Python is that of a Debian release: {known}")
    missing = {package for name, package in HOST_PROGRAMS.items() if shutil.which(name) is None}
    if missing:
        raise UnusableHostError(f"apt-get install --no-install-recommends {' '.join(missing)}")


def cache_folder() -> str:
    """Return the folder of all that is kept, made if it is not there."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.expanduser("~/.cache")
    folder = os.path.join(cache, "mesos-compat", "qemu")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def base() -> Base:
    """Return the base, made if it is not there."""
    release = RELEASES[sys.version_info[0], sys.version_info[1]]
    recipe = "\n".join([release, *_PACKAGES, _INIT, str(_ROOT_MB)])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    folder = os.path.join(cache_folder(), f"base-{key}")
    with _locked(f"{folder}.lock"):
        if not os.path.isdir(folder):
            _make(folder, release)
    return Base(*(os.path.join(folder, name) for name in ("vmlinuz", "initrd", "root.img")))


def make_image(folder: str, image: str, megabytes: int) -> None:
    """Make a file system of the content of ``folder``."""
    _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, image, f"{megabytes}M")


def say(text: str) -> None:
    """Tell what goes on."""
    print(f"qemu: {text}", file=sys.stderr, flush=True)


def _make(folder: str, release: str) -> None:
    with tempfile.TemporaryDirectory(prefix=".base-", dir=cache_folder()) as temporary:
        tree = os.path.join(temporary, "root")
        mirror = _mirror(release)
        say(f"debootstrap {release} from {mirror or 'the default mirror'}, about a minute …")
        included = ",".join(_PACKAGES)
        arguments = ["--variant=minbase", f"--include={included}", release, tree]
        _run("debootstrap", *arguments, *([mirror] if mirror else []))
        made = os.path.join(temporary, "made")
        os.mkdir(made)
        for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd")):
            found = glob.glob(os.path.join(tree, "boot", pattern))
            shutil.copy(found[0], os.path.join(made, name))
        shutil.rmtree(os.path.join(tree, "boot"))
        shutil.rmtree(os.path.join(tree, "var/cache/apt"))
        shutil.rmtree(os.path.join(tree, "var/lib/apt"))
        init = os.path.join(tree, _INIT_PATH)
        with open(init, "w", encoding="ascii") as file:
            file.write(_INIT)
        os.chmod(init, 0o755)
        make_image(tree, os.path.join(made, "root.img"), _ROOT_MB)
        os.rename(made, folder)


def _mirror(release: str) -> str:
    """Return where this host's apt finds the release; empty if it does not."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in listed.stdout.splitlines():
        codename, _, rest = line.partition(" ")
        if codename == release:
            return rest.split()[-1]
    return ""


def _run(*command: str) -> None:
    """Run a program to its end; its output is shown only if it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        raise UnusableHostError(f"{command[0]} failed with {done.returncode}:\n{tail}")


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
