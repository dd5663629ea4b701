# SPDX-License-Identifier: Apache-2.0
"""The system call filters of one container: the command's, and the one of its init.

Whoever may trace init (root with CAP_SYS_PTRACE) can run code in it, so init is filtered, too. But
what a profile says is meant for the command, and init has to go on whatever that is: its filter is
the profile with what init itself calls allowed, none of which changes anything outside.

The agent translates profiles and hands over the bytes. A profile that comes without them is
translated here, in a process of its own: the library must not stay in an init, where a container
would find it.

Source: spec ``containerizer`` 8.2 (19), ``isolators-resources`` 10.1, 13.
Deviation: for a command task with an image the filter is put on the task, not on its executor.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from containerizer.init.failure import LaunchFailure
from containerizer.linux import seccomp
from containerizer.linux.process import fork
from containerizer.linux.seccomp import Comparison, Profile, Rule, SeccompError

#: Flags of clone(2) that make namespaces.
_NAMESPACES = 0x7E020000
#: What an init that only waits for its command calls, and what giving up privileges takes.
_WAITING = """
    _llseek brk capget capset clock_gettime clock_gettime64 close close_range exit exit_group
    fcntl fcntl64 fstat fstat64 futex futex_time64 getcwd getegid geteuid getgid getpgrp getpid
    getppid getrandom gettid gettimeofday getuid kill lseek madvise mmap mmap2 mprotect mremap
    munmap newfstatat poll ppoll ppoll_time64 prctl pread64 read readv restart_syscall rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigtimedwait sched_yield seccomp
    set_robust_list set_tid_address setgid setgid32 setgroups setgroups32 setuid setuid32
    sigaltstack signalfd signalfd4 sigreturn tgkill wait4 waitid waitpid write writev
"""
#: What the command executor calls beyond that: connections, timers, files, processes.
_WORKING = """
    _newselect accept4 access bind clock_nanosleep clock_nanosleep_time64 connect dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve faccessat
    faccessat2 fchmod fchown fork getdents getdents64 getpeername getpgid getpriority getrlimit
    getsockname getsockopt ioctl lstat nanosleep open openat pidfd_open pidfd_send_signal pipe
    pipe2 prlimit64 pselect6 readlink readlinkat recv recvfrom recvmsg select send sendmsg sendto
    setpgid setsid setsockopt shutdown socket socketpair stat stat64 statx sysinfo ugetrlimit
    umask uname vfork
"""
NEEDED = frozenset(f"{_WAITING} {_WORKING}".split())


@dataclass(frozen=True, slots=True)
class Filters:
    """BPF programs for a command and for what watches it."""

    command: bytes
    init: bytes
    #: Whether a program that is init and command in one puts them in place itself, on its task.
    by_program: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "command": base64.b64encode(self.command).decode(),
            "init": base64.b64encode(self.init).decode(),
            "by_program": self.by_program,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Filters:
        """Read what ``document`` returned. Raises ValueError, KeyError, TypeError."""
        command, init = (
            base64.b64decode(document[name], validate=True) for name in ("command", "init")
        )
        return cls(command, init, bool(document["by_program"]))


def translate(profile: Profile, bounding: int) -> Filters:
    """Return the filters for a container with that bounding set. Raises SeccompError."""
    return Filters(
        seccomp.translate(profile, bounding), seccomp.translate(_for_init(profile), bounding)
    )


def translate_apart(profile: Profile, bounding: int) -> Filters:
    """Do the same in a process that ends with it. Raises LaunchFailure."""
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        _answer(profile, bounding, writing)
    os.close(writing)
    with open(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    try:
        document = json.loads(text)
        if (error := document.get("error")) is None:
            return Filters.of(document)
    except (ValueError, KeyError, TypeError):
        error = "the translation ended"
    raise LaunchFailure(f"Failed to load Seccomp filter: {error}")


def _answer(profile: Profile, bounding: int, fd: int) -> None:
    try:
        document = translate(profile, bounding).document()
    except SeccompError as error:
        document = {"error": str(error)}
    except BaseException as error:
        document = {"error": repr(error)}
    try:
        with open(fd, "wb") as answer:
            answer.write(json.dumps(document).encode())
    finally:
        os._exit(0)


def _for_init(profile: Profile) -> Profile:
    """Return ``profile`` with all that init needs allowed."""
    needed = {name for name in NEEDED if seccomp.is_syscall(name)}
    rules = []
    for rule in profile.rules:
        names = tuple(name for name in rule.names if name not in needed)
        if names:
            rules.append(replace(rule, names=names))
    if profile.default_action != "ACT_ALLOW":
        # Processes, but no namespaces with them.
        rules = [_without(rule, "clone") for rule in rules]
        rules.append(Rule(tuple(sorted(needed)), "ACT_ALLOW"))
        flags = Comparison(0, "CMP_MASKED_EQ", _NAMESPACES, 0)
        rules.append(Rule(("clone",), "ACT_ALLOW", (flags,)))
    return replace(profile, rules=tuple(rules))


def _without(rule: Rule, name: str) -> Rule:
    return replace(rule, names=tuple(other for other in rule.names if other != name))
