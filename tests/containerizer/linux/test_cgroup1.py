# SPDX-License-Identifier: Apache-2.0
"""Cgroups as far as they are names and tables; the kernel's part is in the launcher's tests."""

from __future__ import annotations

import os
import subprocess
import time
import uuid

import pytest

from containerizer.linux import cgroup1, mountinfo
from containerizer.linux.cgroup1 import CgroupLayout
from containerizer.linux.mountinfo import MountEntry


def _entries(*mounts: str) -> list[MountEntry]:
    lines = [f"{number} 1 0:1 {text}" for number, text in enumerate(mounts, 2)]
    return mountinfo.parse("\n".join(lines).encode())


_V1 = "/ /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ((), CgroupLayout.NONE),
        ((_V1,), CgroupLayout.V1),
        (("/ /sys/fs/cgroup rw - cgroup2 none rw",), CgroupLayout.V2),
        ((_V1, "/ /sys/fs/cgroup/unified rw - cgroup2 none rw"), CgroupLayout.HYBRID),
        (("/ /mnt/other rw - cgroup2 none rw",), CgroupLayout.NONE),
    ],
)
def test_layout(mounts: tuple[str, ...], expected: CgroupLayout) -> None:
    assert cgroup1.layout(_entries(*mounts)) is expected


def test_hierarchies(monkeypatch: pytest.MonkeyPatch) -> None:
    state = cgroup1.ControllerState(1, True)
    names = ("cpu", "cpuacct", "memory")
    monkeypatch.setattr(cgroup1, "controllers", lambda: dict.fromkeys(names, state))
    entries = _entries(
        # A part of a hierarchy, as containers have it, comes before by name but is none.
        "/mesos/x /a/cpu rw - cgroup cgroup rw,cpu,cpuacct",
        _V1,
        "/ /sys/fs/cgroup/old rw - cgroup cgroup rw,memory",
        "/ /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
    )
    assert cgroup1.hierarchies(entries) == {
        "cpu": "/sys/fs/cgroup/cpu",
        "cpuacct": "/sys/fs/cgroup/cpu",
        "memory": "/sys/fs/cgroup/old",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert cgroup1.attached("/sys/fs/cgroup/cpu", entries) == {"cpu", "cpuacct"}
    assert cgroup1.attached("/sys/fs/cgroup/systemd", entries) == frozenset()


@pytest.mark.parametrize("path", [("a",), ("a", "b"), ("a", "b", "c")])
def test_container_paths_read_back(path: tuple[str, ...]) -> None:
    relative = cgroup1.container_path("root/deep", path)
    assert relative.startswith("root/deep/a")
    assert cgroup1.parse_container_path(relative.removeprefix("root/deep")) == path


@pytest.mark.parametrize("path", ["", "/", "a/b", "a/mesos", "a/b/c", "a/mesos/b/mesos", "a//b"])
def test_other_paths_are_not_ours(path: str) -> None:
    assert cgroup1.parse_container_path(path) is None


def test_stat_values() -> None:
    assert cgroup1.stat_values("a 1\n\nb -2 extra\nc x\nTotal\n") == {"a": 1, "b": -2}


def test_vanished_cgroup_is_empty_and_destroyed(tmp_path: object) -> None:
    path = f"{tmp_path}/none"
    assert cgroup1.all_processes(path) == set()
    assert cgroup1.descendants(path) == []
    assert list(cgroup1.destroy(path)) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_busy_cgroup_is_removed_once_it_is_empty() -> None:
    mounts = [e.target for e in mountinfo.read() if e.fstype in ("cgroup", "cgroup2")]
    if not mounts:
        pytest.skip("needs cgroups")
    cgroup = os.path.join(mounts[0], f"mesos-compat-test-{uuid.uuid4().hex[:8]}")
    os.mkdir(cgroup)
    with subprocess.Popen(["sleep", "1000"]) as process:
        cgroup1.assign(cgroup, process.pid)
        removing = cgroup1.remove(cgroup)
        for _ in range(3):
            assert next(removing) >= 0
            assert os.path.isdir(cgroup)
        process.kill()
        process.wait()
        for delay_s in removing:
            time.sleep(delay_s)
    assert not os.path.exists(cgroup)


def test_descendants_are_deepest_first(tmp_path: object) -> None:
    os.makedirs(f"{tmp_path}/a/b/c")
    os.makedirs(f"{tmp_path}/d")
    found = [path.removeprefix(f"{tmp_path}/") for path in cgroup1.descendants(str(tmp_path))]
    assert found == ["a/b/c", "a/b", "a", "d"]
    assert list(cgroup1.remove(str(tmp_path))) == []
    os.mkdir(str(tmp_path))
