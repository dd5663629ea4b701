# SPDX-License-Identifier: Apache-2.0
"""eBPF programs that say which device nodes the processes of a version 2 cgroup may use.

``device_program`` is pure; the rest are the three system calls that are needed.

Source: spec ``isolators-resources`` 5.6, 21.5; bpf(2), kernel ``cgroup-v2.rst``, Device controller.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from containerizer.linux.libc import check, syscall

_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_LOAD, _ATTACH = 5, 8
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE_ATTACH = 15, 6
_ALLOW_MULTI = 2
_ATTRIBUTES_BYTES = 144
_LOG_BYTES = 64 * 1024
#: The verifier was interrupted.
_ATTEMPTS = 5
_LICENSE = b"Apache 2.0\0"

# Opcodes.
_LOAD_WORD, _AND, _SHIFT_RIGHT = 0x61, 0x54, 0x74
_SET, _COPY, _JUMP_NOT, _JUMP_DIFFERENT, _EXIT = 0xB7, 0xBC, 0x55, 0x5D, 0x95
# Registers: result and scratch, and what is asked for.
_RESULT, _CONTEXT, _SCRATCH, _TYPE, _ACCESS, _MAJOR, _MINOR = 0, 1, 1, 2, 3, 4, 5

_TYPES = {"b": 1, "c": 2}
_BITS = {"m": 1, "r": 2, "w": 4}
_ALL_BITS = 7


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """Device nodes and what may be done with them; ``None`` stands for all."""

    #: ``b`` or ``c``.
    kind: str | None
    major: int | None
    minor: int | None
    #: Some of ``rwm``.
    access: str

    @classmethod
    def parse(cls, entry: str) -> DeviceRule:
        """Read the form of version 1, as ``c 1:3 rwm``; ``a`` means everything."""
        kind, numbers, access = entry.split()
        if kind == "a":
            return cls(None, None, None, "rwm")
        major, minor = (None if n == "*" else int(n) for n in numbers.split(":"))
        return cls(kind, major, minor, access)

    @property
    def bits(self) -> int:
        """What may be done, as the kernel counts it."""
        return sum(_BITS[letter] for letter in set(self.access))

    def covers(self, other: DeviceRule) -> bool:
        """Whether all that ``other`` allows is allowed by this one alone."""
        mine = (self.kind, self.major, self.minor)
        theirs = (other.kind, other.major, other.minor)
        same = all(m in (None, t) for m, t in zip(mine, theirs, strict=True))
        return same and other.bits & ~self.bits == 0


def normalised(rules: Sequence[DeviceRule]) -> list[DeviceRule]:
    """Return rules that mean the same, each needed: the kernel refuses what is never reached."""
    merged: dict[tuple[str | None, int | None, int | None], set[str]] = {}
    for rule in rules:
        merged.setdefault((rule.kind, rule.major, rule.minor), set()).update(rule.access)
    kept = [
        DeviceRule(*selector, "".join(letter for letter in "rwm" if letter in access))
        for selector, access in merged.items()
        if access
    ]
    return [r for r in kept if not any(other is not r and other.covers(r) for other in kept)]


def device_program(rules: Sequence[DeviceRule]) -> bytes:
    """Return the instructions of a program that allows what one of the rules allows."""
    code = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT),
        _instruction(_AND, _TYPE, immediate=0xFFFF),
        _instruction(_LOAD_WORD, _ACCESS, _CONTEXT),
        _instruction(_SHIFT_RIGHT, _ACCESS, immediate=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, offset=8),
    ]
    for rule in normalised(rules):
        block = _allowing(rule)
        code += block
        if len(block) == len(_ALLOW):
            return b"".join(code)  # everything is allowed: nothing behind it could be reached
    code += [_instruction(_SET, _RESULT, immediate=0), _instruction(_EXIT)]
    return b"".join(code)


def load(program: bytes) -> int:
    """Load a program; returns its descriptor. Raises OSError with what the kernel found."""
    instructions = ctypes.create_string_buffer(program, len(program))
    license_text = ctypes.create_string_buffer(_LICENSE)
    fields = (
        *(_CGROUP_DEVICE_PROGRAM, len(program) // 8),
        *(ctypes.addressof(instructions), ctypes.addressof(license_text)),
    )
    try:
        return _bpf(_LOAD, struct.pack("<IIQQ", *fields))
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
    log = ctypes.create_string_buffer(_LOG_BYTES)
    logged = struct.pack("<IIQ", 1, _LOG_BYTES, ctypes.addressof(log))
    try:
        return _bpf(_LOAD, struct.pack("<IIQQ", *fields) + logged)
    except OSError as error:
        why = log.value.decode("ascii", "replace").strip()
        raise OSError(error.errno, f"BPF verifier failed: {why}") from error


def attach(program: int, cgroup: str) -> None:
    """Apply a program to a cgroup and those below, beside what is applied there already."""
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _bpf(_ATTACH, struct.pack("<IIII", fd, program, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI))
    except OSError as error:
        raise OSError(error.errno, error.strerror, cgroup) from error
    finally:
        os.close(fd)


def _instruction(
    code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0
) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, immediate)


_ALLOW = (_instruction(_SET, _RESULT, immediate=1), _instruction(_EXIT))


def _allowing(rule: DeviceRule) -> list[bytes]:
    """Return what allows if the rule does, and goes on behind itself if not."""
    #: Comparison and its operands; the distance to jump is not known yet.
    tests: list[tuple[int, int, int, int]] = []
    if rule.major is not None:
        tests.append((_JUMP_NOT, _MAJOR, 0, rule.major))
    if rule.minor is not None:
        tests.append((_JUMP_NOT, _MINOR, 0, rule.minor))
    if rule.kind is not None:
        tests.append((_JUMP_NOT, _TYPE, 0, _TYPES[rule.kind]))
    if rule.bits != _ALL_BITS:
        tests.append((_COPY, _SCRATCH, _ACCESS, 0))
        tests.append((_AND, _SCRATCH, 0, rule.bits))
        tests.append((_JUMP_DIFFERENT, _SCRATCH, _ACCESS, 0))
    code = []
    for index, (operation, target, source, immediate) in enumerate(tests):
        jumps = operation in (_JUMP_NOT, _JUMP_DIFFERENT)
        left = len(tests) - index - 1 + len(_ALLOW)
        code.append(_instruction(operation, target, source, left if jumps else 0, immediate))
    return [*code, *_ALLOW]


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYS_BPF.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    block = ctypes.create_string_buffer(attributes, _ATTRIBUTES_BYTES)
    for attempt in range(1, _ATTEMPTS + 1):
        size = ctypes.c_uint(_ATTRIBUTES_BYTES)
        result = syscall(number, ctypes.c_int(command), ctypes.byref(block), size)
        if result < 0 and ctypes.get_errno() == errno.EAGAIN and attempt < _ATTEMPTS:
            continue
        return check(result)
    raise AssertionError("the last attempt returns or raises")
