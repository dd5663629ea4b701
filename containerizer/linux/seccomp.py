# SPDX-License-Identifier: Apache-2.0
"""System call filters: profiles, their translation into BPF, and giving one to this process.

Translation is done by libseccomp, which knows the numbers of all system calls on all architectures
and how 32-bit and x32 programs get past a filter that forgets them; tables of our own would be old
next year. It is loaded at the first use and needed by whoever translates; installing a filter takes
its bytes only.

Source: seccomp(2), seccomp_rule_add(3); spec ``isolators-resources`` 13, 21.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass

from containerizer.linux.prctl import prctl

LIBRARY = "libseccomp.so.2"
#: The Debian package that has it.
PACKAGE = "libseccomp2"

#: What a rule can do, by the names of ``ContainerSeccompProfile``.
ACTIONS: Mapping[str, int] = {
    "ACT_KILL": 0,
    "ACT_TRAP": 0x30000,
    "ACT_ERRNO": 0x50000,
    "ACT_TRACE": 0x7FF00000,
    "ACT_ALLOW": 0x7FFF0000,
}
OPERATORS: Mapping[str, int] = {
    "CMP_NE": 1,
    "CMP_LT": 2,
    "CMP_LE": 3,
    "CMP_EQ": 4,
    "CMP_GE": 5,
    "CMP_GT": 6,
    "CMP_MASKED_EQ": 7,
}
#: Architectures as libseccomp calls them, by the names of ``ContainerSeccompProfile``.
ARCHITECTURES: Mapping[str, str] = {
    f"ARCH_{name.upper()}": name
    for name in (
        "x86",
        "x86_64",
        "x32",
        "arm",
        "aarch64",
        "mips",
        "mipsel",
        "mips64",
        "mipsel64",
        "mips64n32",
        "mipsel64n32",
        "ppc",
        "ppc64",
        "ppc64le",
        "s390",
        "s390x",
    )
}
#: A system call has so many arguments.
MAX_ARGUMENTS = 6
#: The largest errno that the kernel returns for a filter.
MAX_ERRNO = 4095

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_CTL_NNP = 3
_NO_SYSCALL = -1
_TRACE_MESSAGE = 1
_INSTRUCTION_BYTES = 8
#: Of the kernel, in instructions.
_MAX_INSTRUCTIONS = 4096


class SeccompError(Exception):
    """A profile that cannot be translated, or nothing to translate it with."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an argument of a system call has to be; ``value_two`` counts for CMP_MASKED_EQ only."""

    index: int
    operator: str
    value: int
    value_two: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to calls of ``names`` whose arguments fit all of ``arguments``."""

    names: tuple[str, ...]
    action: str
    arguments: tuple[Comparison, ...] = ()
    #: What ACT_ERRNO returns.
    errno: int = errno.EPERM
    #: Capabilities (bits) of which all have to be in the bounding set, and of which none may be.
    includes: int = 0
    excludes: int = 0

    def holds(self, bounding: int) -> bool:
        """Whether the rule is one for a container with that bounding set."""
        return not self.includes & ~bounding and not self.excludes & bounding


@dataclass(frozen=True, slots=True)
class Profile:
    """A filter as people write it."""

    default_action: str
    default_errno: int = errno.EPERM
    #: Beside the native one.
    architectures: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


def supported() -> bool:
    """Whether the kernel has filters."""
    try:
        prctl(_PR_SET_SECCOMP, _MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


def native_architecture() -> str:
    """Return this machine's architecture. Raises SeccompError."""
    token = _library().seccomp_arch_native()
    for architecture, name in ARCHITECTURES.items():
        if _library().seccomp_arch_resolve_name(name.encode()) == token:
            return architecture
    raise SeccompError(f"Unknown native architecture {token:#x}")


def is_syscall(name: str) -> bool:
    """Whether libseccomp has heard of a system call, of any architecture. Raises SeccompError."""
    return _number(name) != _NO_SYSCALL


def translate(profile: Profile, bounding: int) -> bytes:
    """Return the BPF program of ``profile`` for that bounding set. Raises SeccompError."""
    library = _library()
    default = _action(profile.default_action, profile.default_errno)
    context = library.seccomp_init(default)
    if not context:
        raise SeccompError("Failed to initialize Seccomp filter")
    try:
        # Otherwise no_new_privs, too, would be set by whoever loads it with the library.
        _check(library.seccomp_attr_set(context, _CTL_NNP, 0), "Failed to set attribute")
        for architecture in profile.architectures:
            _add_architecture(context, architecture)
        for rule in profile.rules:
            if rule.holds(bounding):
                _add_rule(context, rule)
        return _export(context)
    finally:
        library.seccomp_release(context)


def install(program: bytes) -> None:
    """Filter the system calls of this thread and of all that come from it, for ever.

    Needs CAP_SYS_ADMIN or no_new_privs.
    """
    count, rest = divmod(len(program), _INSTRUCTION_BYTES)
    if not 0 < count <= _MAX_INSTRUCTIONS or rest:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    text = ctypes.create_string_buffer(program, len(program))
    what = _Program(count, ctypes.addressof(text))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(what))


class _Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


class _Compare(ctypes.Structure):
    _fields_ = [
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise SeccompError(
            f"Seccomp filters need the library {LIBRARY} (Debian package {PACKAGE}): {error}"
        ) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Compare),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _check(result: int, what: str) -> None:
    if result < 0:
        raise SeccompError(f"{what}: {os.strerror(-result)}")


def _number(name: str) -> int:
    return int(_library().seccomp_syscall_resolve_name(name.encode("utf-8", "surrogatepass")))


def _action(name: str, number: int) -> int:
    if name == "ACT_ERRNO":
        return ACTIONS[name] | number
    return ACTIONS[name] | (_TRACE_MESSAGE if name == "ACT_TRACE" else 0)


def _add_architecture(context: int, architecture: str) -> None:
    token = _library().seccomp_arch_resolve_name(ARCHITECTURES[architecture].encode())
    result = _library().seccomp_arch_add(context, token)
    if result != -errno.EEXIST:
        _check(result, f"Failed to add Seccomp architecture '{architecture}'")


def _add_rule(context: int, rule: Rule) -> None:
    comparisons = (_Compare * len(rule.arguments))(
        *(_Compare(c.index, OPERATORS[c.operator], c.value, c.value_two) for c in rule.arguments)
    )
    action = _action(rule.action, rule.errno)
    for name in rule.names:
        number = _number(name)
        if number == _NO_SYSCALL:
            raise SeccompError(f"Unrecognized syscall '{name}'")
        result = _library().seccomp_rule_add_array(
            context, action, number, len(comparisons), comparisons
        )
        _check(result, f"Failed to add rule for syscall '{name}' with action '{rule.action}'")


def _export(context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(fd, "rb", buffering=0) as file:
        _check(_library().seccomp_export_bpf(context, fd), "Failed to export Seccomp filter")
        file.seek(0)
        program = file.readall()
    if len(program) > _MAX_INSTRUCTIONS * _INSTRUCTION_BYTES:
        raise SeccompError(
            f"The filter has {len(program) // _INSTRUCTION_BYTES} instructions; the kernel takes"
            f" {_MAX_INSTRUCTIONS}"
        )
    return program
