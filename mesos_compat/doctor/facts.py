# SPDX-License-Identifier: Apache-2.0
"""What is so on this host. Nothing here judges, nothing stays behind.

Source: proc(5), cgroups(7), adjtimex(2), systemd's sd_booted(3).
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import aiohttp

from containerizer.linux import cgroup1, cgroup2, mountinfo, seccomp
from mesos_compat.base.errors import FlagError
from mesos_compat.base.tls import Tls
from mesos_compat.libprocess.http_client import HttpClient, HttpPeer, why
from mesos_compat.master.detected import parse_location

#: Programs that parts of the agent run if they are there.
PROGRAMS = ("hadoop", "gpgv", "systemctl")
#: Python packages that are not on every machine.
MODULES = ("isal", "backports.zstd", "compression.zstd", "kazoo")
#: Services that may be the agent's.
_UNITS = ("mesos-agent", "mesos-slave", "dcos-mesos-slave")
_CNI_DIRECTORIES = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
_MASTER_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 64 << 10
_TRIALS_TIMEOUT_S = 60.0
_TIME_ERROR = 5


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The file system that a directory is on, or will be."""

    directory: str
    fstype: str
    size: int
    #: Bytes that root may still use.
    free: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Master:
    """What came of asking a master; ``error`` is empty if it answered."""

    address: str
    version: str = ""
    error: str = ""
    #: Seconds by which its clock is ahead of ours.
    ahead_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was found. Outcomes are reasons by name, ``None`` for what works."""

    kernel: str
    root: bool
    #: Effective capabilities as a mask.
    capabilities: int
    python: str
    cgroups: str
    #: Controllers that a container can be limited with.
    controllers: frozenset[str]
    namespaces: Mapping[str, str | None]
    isolators: Mapping[str, str | None]
    backends: Mapping[str, str | None]
    #: Why the trials of the three did not end; empty if they did.
    trials_error: str = ""
    seccomp_kernel: bool
    #: Why the library is not there; empty if it is.
    seccomp_library: str
    cni_plugins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    systemd: bool
    #: Properties of services that may be the agent's, by their name.
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    open_files: tuple[int, int]
    disks: Mapping[str, DiskSpace] = field(default_factory=dict)
    clock_synchronized: bool | None
    hostname: str
    addresses: tuple[str, ...]
    masters: tuple[Master, ...] = ()
    #: Why a server cannot be reached, or ``None``, by address.
    zookeepers: Mapping[str, str | None] = field(default_factory=dict)


def gather(
    directories: Mapping[str, str],
    cni_directories: Sequence[str],
    masters: Sequence[str],
    zookeepers: Sequence[str],
    tls: Tls | None = None,
) -> Facts:
    """Look around, for some seconds.

    ``directories`` are those of the agent by the flags that name them, ``masters`` addresses as
    ``host:port``, ``zookeepers`` too; ``tls`` is for the masters. Never raises for what
    a host lacks.
    """
    trials, error = _trials(directories["work_dir"])
    layout = cgroup1.layout()
    try:
        seccomp.native_architecture()
        library = ""
    except seccomp.SeccompError as failure:
        library = str(failure)
    hostname = socket.gethostname()
    return Facts(
        kernel=os.uname().release,
        root=os.geteuid() == 0,
        capabilities=_capabilities(),
        python=".".join(map(str, sys.version_info[:3])),
        cgroups=layout.value,
        controllers=_controllers(layout),
        namespaces=trials.get("namespaces", {}),
        isolators=trials.get("isolators", {}),
        backends=trials.get("backends", {}),
        trials_error=error,
        seccomp_kernel=seccomp.supported(),
        seccomp_library=library,
        cni_plugins=_cni_plugins(cni_directories or _CNI_DIRECTORIES),
        programs={name: path for name in PROGRAMS if (path := shutil.which(name))},
        modules=frozenset(name for name in MODULES if _importable(name)),
        systemd=os.path.isdir("/run/systemd/system"),
        units=_units(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        disks={flag: disk for flag, path in directories.items() if (disk := _disk(path))},
        clock_synchronized=_synchronized(),
        hostname=hostname,
        addresses=_resolved(hostname),
        masters=tuple(_ask(master, tls) for master in masters),
        zookeepers={address: _reach(address) for address in zookeepers},
    )


def _trials(work_dir: str) -> tuple[dict[str, dict[str, str | None]], str]:
    """Run the trials on the file system of the work directory, or if that is not ours elsewhere."""
    above = _existing(work_dir)
    with tempfile.TemporaryDirectory(
        prefix="mesos-compat-doctor-", dir=above if os.access(above, os.W_OK) else None
    ) as directory:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "mesos_compat.doctor.trials", directory],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TRIALS_TIMEOUT_S,
                check=False,
            )
            return json.loads(done.stdout), ""
        except (OSError, subprocess.SubprocessError) as error:
            return {}, str(error)
        except ValueError:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            return {}, said[-1] if said else f"exit status {done.returncode}"


def _existing(path: str) -> str:
    """Return ``path``, or the nearest folder above it that exists."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        found = re.search(r"^CapEff:\s*([0-9a-f]+)", file.read(), re.MULTILINE)
    return int(found[1], 16) if found else 0


def _controllers(layout: cgroup1.CgroupLayout) -> frozenset[str]:
    if layout is cgroup1.CgroupLayout.V2:
        return cgroup2.controllers(cgroup1.V2_MOUNT_POINT)
    mounted = cgroup1.hierarchies()
    return frozenset(name for name in mounted if not name.startswith("name="))


def _cni_plugins(directories: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        programs = [n for n in names if os.access(os.path.join(directory, n), os.X_OK)]
        if programs:
            found[directory] = tuple(programs)
    return found


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _units() -> dict[str, dict[str, str]]:
    if not os.path.isdir("/run/systemd/system") or shutil.which("systemctl") is None:
        return {}
    found = {}
    wanted = "--property=LoadState,Delegate,KillMode,Type"
    for name in _UNITS:
        try:
            done = subprocess.run(
                ["systemctl", "show", wanted, f"{name}.service"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        properties = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        if properties.pop("LoadState", "") == "loaded":
            found[name] = properties
    return found


def _disk(path: str) -> DiskSpace | None:
    above = _existing(path)
    try:
        stat = os.statvfs(above)
        entry = mountinfo.containing(mountinfo.read(), above)
    except OSError:
        return None
    return DiskSpace(
        directory=path,
        fstype=entry.fstype if entry is not None else "unknown",
        size=stat.f_blocks * stat.f_frsize,
        free=stat.f_bfree * stat.f_frsize,
        writable=os.access(above, os.W_OK | os.X_OK),
    )


def _synchronized() -> bool | None:
    """Whether the kernel thinks its clock is right; ``None`` if it does not tell."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else bool(state != _TIME_ERROR)


def _resolved(hostname: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


def _reach(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_MASTER_TIMEOUT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        return str(error)
    return None


def _ask(address: str, tls: Tls | None) -> Master:
    return asyncio.run(_answer(address, tls))


async def _answer(address: str, tls: Tls | None) -> Master:
    timeout = aiohttp.ClientTimeout(total=_MASTER_TIMEOUT_S)
    try:
        upid, name = await asyncio.to_thread(parse_location, address)
        peer = HttpPeer(upid.ip, upid.port, name)
        async with (
            HttpClient(tls) as client,
            client.request("GET", peer, "/version", timeout=timeout) as answer,
        ):
            version = json.loads(await answer.content.read(_MAX_ANSWER_BYTES)).get("version", "")
            date = answer.headers.get("Date")
        ahead_s = parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
        return Master(address, version=str(version), ahead_s=ahead_s)
    except (aiohttp.ClientError, OSError, ValueError, TypeError, AttributeError) as error:
        return Master(address, error=why(error))
    except FlagError as error:
        return Master(address, error=str(error))
