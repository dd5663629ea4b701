# SPDX-License-Identifier: Apache-2.0
"""Capability sets of the calling process.

Sets are integers, bit n for capability number n. Capabilities that a newer kernel has and we do
not know by name are kept or dropped by number.

Source: capabilities(7), capset(2); spec ``isolators-resources`` 10.1, 21.5.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterable
from dataclasses import dataclass, replace

from containerizer.linux.libc import LIBC, check
from containerizer.linux.prctl import prctl

#: Name without ``CAP_`` by number, as ``mesos.CapabilityInfo`` names them.
NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_AMBIENT_IS_SET = 1
_AMBIENT_RAISE = 2
_AMBIENT_CLEAR_ALL = 4
#: Capability numbers fit into the two words of version 3.
_LIMIT = 64


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_Data = ctypes.c_uint32 * 6


@dataclass(frozen=True, slots=True)
class CapabilitySets:
    """The five sets of a thread."""

    effective: int
    permitted: int
    inheritable: int
    bounding: int
    ambient: int


def mask(names: Iterable[str]) -> int:
    """Return the set of ``names``. Raises KeyError for a name that is none."""
    result = 0
    for name in names:
        result |= 1 << NUMBERS[name]
    return result


def last() -> int:
    """Return the number of the last capability of this kernel."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return min(int(file.read()), _LIMIT - 1)


def ambient_supported() -> bool:
    """Whether the kernel has ambient capabilities (4.3)."""
    try:
        prctl(_PR_CAP_AMBIENT, _AMBIENT_IS_SET, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def get(last_capability: int) -> CapabilitySets:
    """Return the sets of this thread."""
    header, data = _Header(_VERSION_3, 0), _Data()
    check(LIBC.capget(ctypes.byref(header), data))
    bounding = ambient = 0
    has_ambient = ambient_supported()
    for number in range(last_capability + 1):
        bounding |= prctl(_PR_CAPBSET_READ, number) << number
        if has_ambient:
            ambient |= prctl(_PR_CAP_AMBIENT, _AMBIENT_IS_SET, number) << number
    return CapabilitySets(
        effective=data[0] | data[3] << 32,
        permitted=data[1] | data[4] << 32,
        inheritable=data[2] | data[5] << 32,
        bounding=bounding,
        ambient=ambient,
    )


def apply(sets: CapabilitySets, last_capability: int) -> None:
    """Make ``sets`` those of this thread; the bounding set can only shrink.

    Raises ValueError if ambient ones are not permitted and inheritable as well.
    """
    if sets.ambient & ~sets.permitted:
        raise ValueError("Ambient capabilities are not in the permitted set")
    if sets.ambient & ~sets.inheritable:
        raise ValueError("Ambient capabilities are not in the inheritable set")
    for number in range(last_capability + 1):
        if not sets.bounding >> number & 1 and prctl(_PR_CAPBSET_READ, number):
            prctl(_PR_CAPBSET_DROP, number)
    set_process(sets.effective, sets.permitted, sets.inheritable)
    if not ambient_supported():
        return
    prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for number in range(last_capability + 1):
        if sets.ambient >> number & 1:
            prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)


def set_process(effective: int, permitted: int, inheritable: int) -> None:
    """Call capset(2)."""
    low = 0xFFFFFFFF
    header = _Header(_VERSION_3, 0)
    data = _Data(
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> 32,
        permitted >> 32,
        inheritable >> 32,
    )
    check(LIBC.capset(ctypes.byref(header), data))


def after_exec(sets: CapabilitySets, uid: int) -> CapabilitySets:
    """Return what a plain program executed by ``uid`` would have: the rules of execve(2)."""
    if uid == 0:
        kept = sets.permitted & (sets.inheritable | sets.bounding)
    else:
        kept = sets.ambient
    return replace(sets, permitted=kept, effective=kept)
