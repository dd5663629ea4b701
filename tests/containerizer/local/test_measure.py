# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess

import pytest

from containerizer.linux import proc
from containerizer.local.measure import sample


def test_without_cgroups_only_the_tree_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    stat = proc.stat

    def noted(pid: int | str) -> proc.ProcessStat:
        looked_at.append(int(pid))
        return stat(pid)

    monkeypatch.setattr(proc, "stat", noted)
    with subprocess.Popen(["sleep", "60"]) as child:
        found = sample("none", "c", child.pid)
        assert looked_at == [child.pid]
        assert found.processes == 1
        assert found.cpu_s is not None
        assert found.memory_bytes is not None
        assert found.memory_limit_bytes is None
        looked_at.clear()
        own = sample("none", "c", os.getpid())
        assert {os.getpid(), child.pid} <= set(looked_at)
        assert own.processes == len(looked_at)
        child.kill()
    assert sample("none", "c", child.pid).processes == 0
