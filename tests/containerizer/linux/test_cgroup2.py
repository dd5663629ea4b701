# SPDX-License-Identifier: Apache-2.0
"""Version 2 cgroups: names in folders, processes in a real tree, with or without controllers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.linux import cgroup2, ebpf, inotify, mountinfo
from containerizer.linux.ebpf import DeviceRule


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ("a", ("a",)),
        ("a/leaf", ("a",)),
        ("a/mesos/b", ("a", "b")),
        ("/a/mesos/b/mesos/c/leaf/", ("a", "b", "c")),
        ("a/leaf/made", None),
        ("a/leaf/mesos/x", None),
        ("a/mesos", None),
        ("a/made", None),
        ("agent", None),
        ("agent/leaf", None),
        ("leaf", None),
        ("", None),
        ("a//b", None),
    ],
)
def test_paths_are_read_strictly(relative: str, expected: tuple[str, ...] | None) -> None:
    assert cgroup2.parse_container_path(relative) == expected


def test_what_a_task_made_is_no_container(tmp_path: Path) -> None:
    for made in (
        *("agent/leaf", "a/leaf/own/mesos/x", "a/leaf/mesos/y", "a/mesos/b/leaf/z", "a/own"),
        *("c/mesos/d/mesos/e", "leaf/mesos/x"),
    ):
        (tmp_path / made).mkdir(parents=True)
    (tmp_path / "cgroup.procs").touch()
    assert list(cgroup2.containers(str(tmp_path))) == [
        *(("a",), ("a", "b")),
        *(("c",), ("c", "d"), ("c", "d", "e")),
    ]
    assert list(cgroup2.containers(str(tmp_path / "nowhere"))) == []


def test_only_missing_controllers_are_enabled(tmp_path: Path) -> None:
    control = tmp_path / "cgroup.subtree_control"
    control.write_text("cpu io\n")
    cgroup2.enable(str(tmp_path), {"cpu"})
    assert control.read_text() == "cpu io\n"
    cgroup2.enable(str(tmp_path), {"pids", "cpu", "memory"})
    assert control.read_text() == "+memory +pids"


def test_controllers_are_enabled_on_the_whole_way(tmp_path: Path) -> None:
    for folder in ("", "a", "a/mesos", "a/mesos/b", "a/mesos/b/leaf"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cgroup.subtree_control").touch()
    cgroup2.enable_between(str(tmp_path / "a"), str(tmp_path / "a/mesos/b"), {"cpu"})
    written = {p.parent.name: p.read_text() for p in tmp_path.rglob("cgroup.subtree_control")}
    assert written == {tmp_path.name: "", "a": "+cpu", "mesos": "+cpu", "b": "+cpu", "leaf": ""}


def destroy(cgroup: str, timeout_s: float = 20.0) -> None:
    """Destroy a cgroup in the way of a caller without an event loop."""
    deadline = time.monotonic() + timeout_s
    for delay in cgroup2.destroy(cgroup):
        assert time.monotonic() < deadline, "not destroyed in time"
        time.sleep(delay)


@pytest.fixture
def tree() -> Iterator[str]:
    """A container's cgroup with its leaf in a real tree."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    mounts = [entry.target for entry in mountinfo.read() if entry.fstype == "cgroup2"]
    if not mounts:
        pytest.skip("needs cgroups version 2, if only without controllers")
    made = os.path.join(mounts[-1], f"test-{uuid.uuid4()}")
    cgroup2.create(cgroup2.leaf(made))
    yield made
    destroy(made)


def start(cgroup: str, script: str) -> subprocess.Popen[str]:
    """Start a shell that joins the cgroup first, and wait for its first line."""
    joined = f"echo 0 > {cgroup}/cgroup.procs && {script}"
    process = subprocess.Popen(["sh", "-c", joined], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def ended(process: subprocess.Popen[str]) -> int:
    """Return how a process ended."""
    assert process.stdout is not None
    process.stdout.close()
    return process.wait(10)


@pytest.mark.root
@pytest.mark.parametrize("old_kernel", [False, True])
def test_everything_is_killed(tree: str, old_kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old_kernel:
        monkeypatch.setattr(cgroup2, "_KILL", "cgroup.no-such-file")
    leaf = cgroup2.leaf(tree)
    bomb = "trap '' TERM; f() { sleep 0.01; f & f & wait; }; ulimit -u 2000; f & echo up; wait"
    process = start(leaf, bomb)
    deadline = time.monotonic() + 60
    while len(cgroup2.all_processes(tree)) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    destroy(tree)
    assert not cgroup2.exists(tree)
    assert ended(process) == -signal.SIGKILL


@pytest.mark.root
@pytest.mark.parametrize("old_kernel", [False, True])
def test_a_task_that_froze_itself_dies(
    tree: str, old_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old_kernel:
        monkeypatch.setattr(cgroup2, "_KILL", "cgroup.no-such-file")
    own = os.path.join(cgroup2.leaf(tree), "own")
    cgroup2.create(own)
    process = start(own, "echo up; exec sleep 1000")
    cgroup2.write(own, "cgroup.freeze", "1")
    destroy(tree)
    assert ended(process) == -signal.SIGKILL


@pytest.mark.root
def test_a_task_with_a_threaded_cgroup_dies(tree: str) -> None:
    own = os.path.join(cgroup2.leaf(tree), "own")
    cgroup2.create(own)
    process = start(cgroup2.leaf(tree), "echo up; exec sleep 1000")
    cgroup2.write(own, "cgroup.type", "threaded")
    cgroup2.write(own, "cgroup.threads", str(process.pid))
    with pytest.raises(OSError):
        cgroup2.read(own, "cgroup.procs")
    assert process.pid in cgroup2.all_processes(tree)
    destroy(tree)
    assert ended(process) == -signal.SIGKILL


@pytest.mark.root
def test_what_is_gone_is_destroyed(tree: str) -> None:
    destroy(tree)
    assert cgroup2.all_processes(tree) == set()
    assert not cgroup2.populated(tree)
    destroy(tree)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["c 1:3 rw", "c 1:3 m"], ["c 1:3 rwm"]),
        (["c *:* m", "c 1:3 m", "c 1:3 r"], ["c *:* m", "c 1:3 rm"]),
        (["c *:* rwm", "c 1:3 rwm", "b 1:3 r"], ["c *:* rwm", "b 1:3 r"]),
        (["a *:* rwm", "c 1:3 rwm", "b *:* m"], ["a *:* rwm"]),
    ],
)
def test_no_device_rule_is_superfluous(entries: list[str], expected: list[str]) -> None:
    rules = [DeviceRule.parse(entry) for entry in entries]
    assert ebpf.normalised(rules) == [DeviceRule.parse(entry) for entry in expected]


def test_a_rule_without_access_is_dropped() -> None:
    assert ebpf.normalised([DeviceRule("c", 1, 3, "")]) == []


@pytest.mark.root
@pytest.mark.parametrize(
    ("entries", "allowed"),
    [
        ([], set()),
        (["a *:* rwm"], {"read null", "write null", "read zero"}),
        (["c 1:3 r"], {"read null"}),
        (["c 1:3 w", "c 1:3 r", "b *:* rwm"], {"read null", "write null"}),
        (["c 1:* r"], {"read null", "read zero"}),
        (["b 1:3 rwm"], set()),
    ],
)
def test_devices_of_a_cgroup(tree: str, entries: list[str], allowed: set[str]) -> None:
    program = ebpf.load(ebpf.device_program([DeviceRule.parse(entry) for entry in entries]))
    try:
        ebpf.attach(program, tree)
    finally:
        os.close(program)
    attempts = {"read null": "</dev/null", "write null": ">/dev/null", "read zero": "</dev/zero"}
    tests = "; ".join(f"if (: {how}) 2>&9; then echo {what}; fi" for what, how in attempts.items())
    script = f"exec 9>/dev/full; echo 0 > {cgroup2.leaf(tree)}/cgroup.procs; {tests}"
    done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    assert set(done.stdout.splitlines()) == allowed


@pytest.mark.root
def test_an_impossible_program_is_explained(tree: str) -> None:
    no_exit = ebpf.device_program([])[:-8]
    with pytest.raises(OSError) as caught:
        ebpf.load(no_exit)
    assert caught.value.errno is not None


def test_notices_of_changed_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.touch()
    second.touch()
    fd = inotify.open_inotify()
    try:
        numbers = [inotify.watch(fd, str(path), inotify.IN_MODIFY) for path in (first, second)]
        assert inotify.read(fd) == []
        second.write_text("x")
        assert (numbers[1], inotify.IN_MODIFY) in inotify.read(fd)
        inotify.unwatch(fd, numbers[0])
        assert inotify.read(fd) == [(numbers[0], inotify.IN_IGNORED)]
        with pytest.raises(OSError):
            inotify.unwatch(fd, numbers[0])
        with pytest.raises(FileNotFoundError):
            inotify.watch(fd, str(tmp_path / "nothing"), inotify.IN_MODIFY)
    finally:
        os.close(fd)
