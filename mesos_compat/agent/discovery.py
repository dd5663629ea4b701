# SPDX-License-Identifier: Apache-2.0
"""What the agent offers and what it is called: from flags, and from the machine for the rest.

Source: spec ``agent-master`` 6.4, 12.1, 12.3.
"""

from __future__ import annotations

import os
import socket

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.model.resources import Resources, parse_resources, resource_of
from mesos_compat.pb.mesos import mesos_pb2 as pb

_MB = 1 << 20
_GB = 1 << 30
#: Left to the system, if the machine has at least twice as much; else half is left.
_MEM_KEPT = 1 * _GB
_DISK_KEPT = 5 * _GB
#: Used when the machine does not tell.
_FALLBACK_CPUS, _FALLBACK_MEM_MB, _FALLBACK_DISK_MB = 1, 1024, 10240
_PORTS = "[31000-32000]"


def resources(text: str, default_role: str, work_dir: str) -> list[pb.Resource]:
    """Return the agent's resources: those of ``--resources``, and for names that it does not
    mention what the machine has. Raises FlagError.
    """
    try:
        given = parse_resources(text, default_role)
        names = {resource.name for resource in given}
        for name, amount in (
            ("cpus", str(_cpus())),
            ("mem", str(_mem_mb())),
            ("disk", str(_disk_mb(work_dir))),
            ("ports", _PORTS),
        ):
            if name not in names:
                given.append(resource_of(name, amount, default_role))
        _check_disks(given)
        return Resources.of(given).messages()
    except WireError as error:
        raise FlagError(f"Failed to determine agent resources: {error}") from error


def hostname(flag: str | None, lookup: bool, ip: str) -> str:
    """Return the name that frameworks see. Raises FlagError if it cannot be looked up."""
    if flag:
        return flag
    if not lookup:
        return ip
    try:
        return socket.gethostbyaddr(ip)[0]
    except OSError as error:
        raise FlagError(f"Failed to get hostname: {error.strerror or error}") from error


def _cpus() -> int:
    return os.cpu_count() or _FALLBACK_CPUS


def _mem_mb() -> int:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return _FALLBACK_MEM_MB
    return (total - _MEM_KEPT if total >= 2 * _MEM_KEPT else total // 2) // _MB


def _disk_mb(work_dir: str) -> int:
    try:
        found = os.statvfs(work_dir)
    except OSError:
        return _FALLBACK_DISK_MB
    total = found.f_blocks * found.f_frsize
    return (total - _DISK_KEPT if total >= 2 * _DISK_KEPT else total // 2) // _MB


def _check_disks(given: list[pb.Resource]) -> None:
    """Refuse disks of which this agent can make nothing."""
    source = pb.Resource.DiskInfo.Source
    for resource in given:
        if not resource.disk.HasField("source"):
            continue
        kind = resource.disk.source.type
        if kind == source.PATH:
            if not resource.disk.source.path.root:
                raise FlagError(f"PATH disk root directory is not specified '{resource}'")
            _make_root(resource.disk.source.path.root)
        elif kind == source.MOUNT:
            _check_mount(resource.disk.source.mount.root)
        else:
            raise FlagError(f"Unsupported 'DiskInfo.Source.Type' in '{resource}'")


def _make_root(root: str) -> None:
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as error:
        raise FlagError(
            f"Failed to create disk root directory '{root}': {error.strerror}"
        ) from error


def _check_mount(root: str) -> None:
    real = os.path.realpath(root)
    if not os.path.exists(root):
        raise FlagError(f"Failed to get realpath for mount '{root}': No such file or directory")
    if not os.path.ismount(real):
        raise FlagError(f"Failed to find mount '{real}' in /proc/mounts")
