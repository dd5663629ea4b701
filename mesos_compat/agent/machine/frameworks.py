# SPDX-License-Identifier: Apache-2.0
"""Frameworks at the agent: added with their first task, removed when nothing of them lives here.

Source: spec ``agent-master`` 9.4, 16; ``executors`` 4.10.
"""

from __future__ import annotations

from collections import deque

from mesos_compat.agent import paths
from mesos_compat.agent.machine import (
    authorizations,
    checkpoints,
    draining,
    executors,
    masters,
    streams,
)
from mesos_compat.agent.machine.effects import Checkpoint, CollectGarbage, Exit, TellRemoved
from mesos_compat.agent.machine.events import UpdateFramework
from mesos_compat.agent.machine.state import (
    AgentPhase,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.model.ids import FrameworkId
from mesos_compat.pb.mesos import mesos_pb2 as pb


def obtain(turn: Turn, info: pb.FrameworkInfo, pid: str) -> Framework:
    """Return the framework, which is added if the agent does not know it."""
    state = turn.state
    framework_id = FrameworkId(info.id.value)
    framework = state.frameworks.get(framework_id)
    if framework is not None:
        return framework
    completed: deque[Executor] = deque(maxlen=state.config.max_completed_executors)
    for old in state.completed_frameworks:
        if old.framework_id == framework_id:
            completed.extend(old.completed_executors)
            state.completed_frameworks.remove(old)
            break
    framework = Framework(info, usable_pid(pid), completed_executors=completed)
    state.frameworks[framework_id] = framework
    return framework


def usable_pid(pid: str) -> str:
    """Return the UPID text of a v0 scheduler, empty for what stands for none."""
    return "" if pid == checkpoints.NO_PID or "@" not in pid or pid.endswith(":0") else pid


def update(turn: Turn, event: UpdateFramework) -> None:
    """The framework failed over or changed; its new scheduler gets all pending updates."""
    state = turn.state
    framework = state.frameworks.get(event.framework_id)
    if state.phase is not AgentPhase.RUNNING or framework is None:
        return
    if not masters.from_master(turn, event.sender, "update framework"):
        return
    if framework.phase is FrameworkPhase.TERMINATING:
        return
    if event.info is not None:
        framework.info = event.info
    framework.pid = usable_pid(event.pid)
    if framework.stored:
        turn.do(Checkpoint(checkpoints.framework(state, framework)))
    streams.resume(turn)


def shut_down(turn: Turn, framework: Framework) -> None:
    """End everything of a framework; from now on it gets no updates."""
    turn.info(f"Shutting down framework {framework.framework_id}")
    framework.phase = FrameworkPhase.TERMINATING
    authorizations.forget(turn, framework)
    for executor in list(framework.executors.values()):
        if executor.phase is ExecutorPhase.TERMINATED:
            remove_executor(turn, framework, executor)
        else:
            executors.shut_down(turn, framework, executor)
    remove_if_idle(turn, framework)


def remove_executor(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Move a run to the completed ones, and its framework too if it was the last."""
    config, agent_id = turn.state.config, turn.state.agent_id
    assert agent_id is not None
    framework.drop_executor(executor)
    executors.cancel_timers(turn, executor)
    framework.completed_executors.append(executor)
    if config.decorators is not None:
        turn.do(TellRemoved(framework.info, executor.info))
    home = paths.executor(config.work_dir, agent_id, framework.framework_id, executor.executor_id)
    turn.info(
        f"Cleaning up executor '{executor.executor_id}' of framework {framework.framework_id}"
    )
    checkpoints.completed(turn, framework, executor)
    old = [executor.directory, home]
    if framework.info.checkpoint:
        state = turn.state
        old += [checkpoints.run_dir(state, executor), checkpoints.executor_dir(state, executor)]
    turn.do(CollectGarbage(tuple(old)))
    remove_if_idle(turn, framework)


def remove_if_idle(turn: Turn, framework: Framework) -> None:
    """Forget a framework of which nothing lives here."""
    state = turn.state
    if not framework.idle or state.frameworks.get(framework.framework_id) is not framework:
        return
    assert state.agent_id is not None
    turn.info(f"Cleaning up framework {framework.framework_id}")
    streams.close_framework(turn, framework.framework_id)
    del state.frameworks[framework.framework_id]
    state.completed_frameworks.append(framework)
    old = [paths.framework(state.config.work_dir, state.agent_id, framework.framework_id)]
    if framework.stored and framework.info.checkpoint:
        old.append(checkpoints.framework_dir(state, framework))
    turn.do(CollectGarbage(tuple(old)))
    draining.finish(turn)
    if state.phase is AgentPhase.TERMINATING and not state.frameworks:
        turn.do(Exit())
