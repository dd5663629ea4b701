# SPDX-License-Identifier: Apache-2.0
"""The rehearsal of a task's life leaves nothing behind."""

from __future__ import annotations

import os
import signal

import pytest

from containerizer.linux import proc, process, signals
from mesos_compat.executor import command, rehearsal
from mesos_compat.executor.command import CommandExecutor
from mesos_compat.executor.groups import Effect, TaskGroups, TellStatus
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1


def test_it_runs_tasks_to_their_end_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[tuple[int, str]] = []
    end = CommandExecutor._end

    def noted(self: CommandExecutor, state: int, message: str) -> None:
        ended.append((state, message))
        end(self, state, message)  # type: ignore[arg-type] # an enum is a number

    monkeypatch.setattr(command.CommandExecutor, "_end", noted)
    in_groups: list[tuple[int, str | None]] = []
    groups_end = TaskGroups._end

    def noted_in_groups(self: TaskGroups, last: TellStatus) -> list[Effect]:
        in_groups.append((last.state, last.message))
        return groups_end(self, last)

    monkeypatch.setattr(TaskGroups, "_end", noted_in_groups)
    before = len(os.listdir("/proc/self/fd"))
    family = set(proc.children(os.getpid()))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signals.block_all()
    try:
        rehearsal.rehearse()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finished = v1.TASK_FINISHED
    assert set(ended) == {(finished, "Command exited with status 0")}
    assert len(ended) == len(in_groups) == rehearsal._ROUNDS
    assert set(in_groups) == set(ended)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert set(proc.children(os.getpid())) <= family


def test_a_plain_fork_is_a_child() -> None:
    pid = process.fork()
    if pid == 0:
        os._exit(7 if os.getpid() != os.getppid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
