# SPDX-License-Identifier: Apache-2.0
"""Thin wrappers: capabilities, signals, descriptors, processes, users, titles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from containerizer.linux import caps, fds, libc, mount, namespaces, proc, signals, users
from containerizer.linux.caps import CapabilitySets


def test_capability_names_are_those_of_the_message() -> None:
    from mesos_compat.pb.mesos import mesos_pb2 as pb

    values = pb.CapabilityInfo.Capability.items()
    assert {name: number - 1000 for name, number in values if number} == caps.NUMBERS


def test_capability_sets() -> None:
    assert caps.mask(["CHOWN", "NET_RAW", "CHECKPOINT_RESTORE"]) == 1 | 1 << 13 | 1 << 40
    with pytest.raises(KeyError):
        caps.mask(["NO_SUCH"])
    sets = caps.get(caps.last())
    status = proc.status("self")
    assert sets.effective == int(status["CapEff"], 16)
    assert sets.bounding == int(status["CapBnd"], 16)


def test_ambient_capabilities_have_to_be_permitted_and_inheritable() -> None:
    sets = CapabilitySets(0, 1, 1, 1, 2)
    with pytest.raises(ValueError, match="not in the permitted set"):
        caps.apply(sets, 40)
    with pytest.raises(ValueError, match="not in the inheritable set"):
        caps.apply(replace(sets, permitted=3), 40)


def test_capabilities_after_exec() -> None:
    sets = CapabilitySets(effective=8, permitted=15, inheritable=1, bounding=3, ambient=1)
    assert caps.after_exec(sets, 0) == replace(sets, effective=3, permitted=3)
    assert caps.after_exec(sets, 7) == replace(sets, effective=1, permitted=1)


def test_signals_come_from_a_descriptor() -> None:
    script = (
        "import os, signal\n"
        "from containerizer.linux import signals\n"
        "signals.block_all()\n"
        "fd = signals.open_signalfd()\n"
        "assert signals.read_signalfd(fd) is None\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert signals.read_signalfd(fd) == (15, os.getpid())\n"
        "signals.reset()\n"
        "assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_uncatchable_signals_are_left_out() -> None:
    assert not signals.CATCHABLE & {signal.SIGKILL, signal.SIGSTOP, 32, 33}
    assert signal.SIGRTMAX in signals.CATCHABLE


@pytest.mark.parametrize("kernel", ["new", "old"])
def test_all_descriptors_but_some_are_closed(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            if kernel == "old":
                monkeypatch.setattr(fds, "syscall", lambda *_: -1)
            kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)][1]
            fds.close_all_but({kept})
            open_now = {int(name) for name in os.listdir("/proc/self/fd")}
            # One more for the listing itself.
            os._exit(0 if {kept} < open_now - {0, 1, 2} and len(open_now) == 5 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_stat_of_a_process_with_a_nasty_name() -> None:
    fields = " ".join(str(n) for n in range(4, 53))
    entry = proc.parse_stat(f"12 (a) R (b)) S {fields}\n".encode())
    assert (entry.pid, entry.name, entry.state) == (12, "a) R (b)", "S")
    assert (entry.parent, entry.group, entry.session) == (4, 5, 6)
    assert (entry.user_ticks, entry.system_ticks) == (14, 15)
    assert (entry.start_ticks, entry.resident_pages) == (22, 24)


def test_processes() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    try:
        assert child.pid in proc.children(os.getpid())
        assert proc.stat(child.pid).parent == os.getpid()
        assert proc.status(child.pid)["PPid"] == str(os.getpid())
        assert not proc.is_zombie_or_gone(child.pid)
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert proc.is_zombie_or_gone(child.pid)
    child.wait()
    assert proc.is_zombie_or_gone(child.pid)
    with pytest.raises(ProcessLookupError):
        proc.stat(child.pid)
    assert proc.children(child.pid) == []


def test_users() -> None:
    assert users.uid_of("root") == 0
    assert users.uid_of("no such user") is None
    assert users.uid_of("a\0b") is None
    assert users.identity_of("no such user") is None
    identity = users.identity_of("root")
    assert identity is not None
    assert identity.gid in identity.groups


def test_errors_name_the_file() -> None:
    with pytest.raises(OSError, match="/no/such") as caught:
        mount.umount("/no/such")
    assert caught.value.filename == "/no/such"
    with pytest.raises(ValueError, match="null byte"):
        libc.text("a\0b")


def test_namespaces_of_a_process() -> None:
    opened = namespaces.open_namespaces(
        os.getpid(), namespaces.CLONE_NEWNS | namespaces.CLONE_NEWIPC
    )
    for _, fd in opened:
        os.close(fd)
    # The mount namespace is entered last: behind it /proc is another one.
    assert [flag for flag, _ in opened] == [namespaces.CLONE_NEWIPC, namespaces.CLONE_NEWNS]


@pytest.mark.parametrize("title", ["short", "long " * 200, "x" * 100_000])
def test_title(title: str) -> None:
    script = (
        "import sys\n"
        "from containerizer.linux.prctl import ProcessTitle, set_name\n"
        "ProcessTitle().set(sys.stdin.read())\n"
        "set_name('a-name-that-is-too-long')\n"
        "print(open('/proc/self/comm').read().strip())\n"
        "print(open('/proc/self/cmdline').read().rstrip('\\0'))\n"
    )
    environ = {"ROOM": " " * 2000}
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=title,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    name, shown = done.stdout.splitlines()
    assert name == "a-name-that-is-"
    assert title.startswith(shown)
    assert len(shown) >= min(len(title), 2000)


def test_a_tree_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "sleep 1000 & (sleep 1000; :) & echo; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as root:
        assert root.stdout is not None
        root.stdout.readline()
        until = time.monotonic() + 60
        wanted = ["sh", "sh", "sleep", "sleep"]
        tree = proc.tree(root.pid)
        while sorted(entry.name for entry in tree) != wanted:
            assert time.monotonic() < until, tree
            time.sleep(0.01)
            tree = proc.tree(root.pid)
        assert tree[0].pid == root.pid
        known = {root.pid}
        for entry in tree[1:]:  # parents come first
            assert entry.parent in known
            known.add(entry.pid)
        everything = list(proc.all_stats())
        monkeypatch.setattr(
            proc, "children", lambda pid: [e.pid for e in everything if e.parent == pid]
        )
        assert {entry.pid for entry in proc.tree(root.pid)} == known
        for pid in known:
            os.kill(pid, signal.SIGKILL)
    assert proc.tree(root.pid) == []
