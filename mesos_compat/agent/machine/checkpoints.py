# SPDX-License-Identifier: Apache-2.0
"""What is written down when, so that another process can go on: only for frameworks that want it.

An update is neither acknowledged nor sent on before it is stored.

Source: spec ``state-and-recovery`` 4.3, 7.
Deviation: a full disk refuses new executors, and what else could not be stored is stored later;
upstream's agent ends.
"""

from __future__ import annotations

from mesos_compat.agent import paths
from mesos_compat.agent.machine.effects import Checkpoint, StartTimer
from mesos_compat.agent.machine.events import (
    AgentNotStored,
    StoreDue,
    TaskNotStored,
    TaskStoreDue,
    UpdateStored,
)
from mesos_compat.agent.machine.state import AgentState, Executor, Framework, Task
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.writes import (
    AppendedRecord,
    FileWrite,
    LatestDirectory,
    MarkFile,
    RecordFile,
    RemovedFile,
    TextFile,
)
from mesos_compat.model.ids import TaskId
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: Seconds until something that could not be stored is stored again.
RETRY_S = 10.0
#: What stands for the UPID of a scheduler that uses HTTP, here and with masters.
NO_PID = "@0.0.0.0:0"


def agent_dir(state: AgentState) -> str:
    """The meta directory of the agent under its id."""
    assert state.agent_id is not None, "only a registered agent keeps anything"
    return paths.agent(paths.meta(state.config.work_dir), state.agent_id)


def framework_dir(state: AgentState, framework: Framework) -> str:
    """The meta directory of a framework."""
    assert state.agent_id is not None, "only a registered agent has frameworks"
    meta = paths.meta(state.config.work_dir)
    return paths.framework(meta, state.agent_id, framework.framework_id)


def executor_dir(state: AgentState, executor: Executor) -> str:
    """The meta directory of an executor."""
    assert state.agent_id is not None, "only a registered agent has executors"
    meta = paths.meta(state.config.work_dir)
    return paths.executor(meta, state.agent_id, executor.framework_id, executor.executor_id)


def run_dir(state: AgentState, executor: Executor) -> str:
    """The meta directory of a run."""
    return paths.sandbox(executor_dir(state, executor), executor.container_id)


def task_dir(state: AgentState, executor: Executor, task_id: TaskId) -> str:
    """The meta directory of a task."""
    return layout.task(run_dir(state, executor), task_id)


def agent(turn: Turn) -> None:
    """Keep the id that the agent was given."""
    state = turn.state
    directory = agent_dir(state)
    writes = (
        LatestDirectory(directory),
        RecordFile(layout.agent_info(directory), state.info()),
    )
    turn.do(Checkpoint(writes, failed=AgentNotStored()))


def framework(state: AgentState, framework: Framework) -> tuple[FileWrite, ...]:
    """Return what keeps a framework, as it is now."""
    if not framework.info.checkpoint:
        return ()
    directory = framework_dir(state, framework)
    return (
        RecordFile(layout.framework_info(directory), framework.info),
        TextFile(layout.framework_pid(directory), framework.pid or NO_PID),
    )


def executor(state: AgentState, framework: Framework, executor: Executor) -> tuple[FileWrite, ...]:
    """Return what keeps a new run of an executor."""
    if not framework.info.checkpoint:
        return ()
    directory = executor_dir(state, executor)
    return (
        RecordFile(layout.executor_info(directory), executor.info),
        TextFile(layout.generated(directory), "1" if executor.generated else "0", sync=True),
        LatestDirectory(run_dir(state, executor), private=True),
    )


def task(turn: Turn, framework: Framework, executor: Executor, task: Task) -> None:
    """Keep a task that was queued, where an earlier one of this id may have been."""
    if not framework.info.checkpoint:
        return
    directory = task_dir(turn.state, executor, task.task_id)
    key = framework.framework_id, executor.executor_id, executor.container_id
    turn.do(
        Checkpoint(
            (RecordFile(layout.task_info(directory), task.message(framework.framework_id)),),
            failed=TaskNotStored(*key, task.task_id),
            kept=(directory,),
        )
    )


def forget_updates(turn: Turn, framework: Framework, executor: Executor, task_id: TaskId) -> None:
    """Forget the updates of an earlier task of this id in the same run: they would be taken for
    those of the one that begins.
    """
    if framework.info.checkpoint and executor.completed:
        path = layout.task_updates(task_dir(turn.state, executor, task_id))
        turn.do(Checkpoint((RemovedFile(path),)))


def task_later(turn: Turn, event: TaskNotStored) -> None:
    """Try again to keep a task."""
    key = event.framework_id, event.executor_id, event.container_id, event.task_id
    turn.do(StartTimer(("task", *map(str, key)), RETRY_S, TaskStoreDue(*key)))


def forked_pid(state: AgentState, framework: Framework, executor: Executor) -> str | None:
    """Return where the pid of a container's init is kept."""
    if not framework.info.checkpoint:
        return None
    return layout.forked_pid(run_dir(state, executor))


def http_executor(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Keep in mind that the executor comes back by itself."""
    if framework.info.checkpoint:
        turn.do(Checkpoint((MarkFile(layout.http_marker(run_dir(turn.state, executor))),)))


def libprocess_executor(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Keep where the executor can be asked to come back."""
    if framework.info.checkpoint:
        path = layout.libprocess_pid(run_dir(turn.state, executor))
        turn.do(Checkpoint((TextFile(path, executor.pid),)))


def update(
    turn: Turn, framework: Framework, executor: Executor, update: messages.StatusUpdate
) -> None:
    """Keep an update; UpdateStored follows."""
    task_id = TaskId(update.status.task_id.value)
    path = layout.task_updates(task_dir(turn.state, executor, task_id))
    record = messages.StatusUpdateRecord(type=messages.StatusUpdateRecord.UPDATE, update=update)
    key = framework.framework_id, executor.executor_id, executor.container_id
    turn.do(
        Checkpoint(
            (AppendedRecord(path, record),),
            stored=UpdateStored(*key, success=True),
            failed=UpdateStored(*key, success=False),
        )
    )


def update_later(turn: Turn, event: UpdateStored) -> None:
    """Try again to keep an update."""
    key = event.framework_id, event.executor_id, event.container_id
    turn.do(StartTimer(("store", event.container_id.value), RETRY_S, StoreDue(*key)))


def acknowledgement(turn: Turn, path: str, uuid: bytes) -> None:
    """Keep in mind that an update needs not be sent again; ``path`` is that of its stream."""
    record = messages.StatusUpdateRecord(type=messages.StatusUpdateRecord.ACK, uuid=uuid)
    turn.do(Checkpoint((AppendedRecord(path, record),)))


def completed(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Keep in mind that a run is over."""
    if framework.info.checkpoint:
        turn.do(Checkpoint((MarkFile(layout.sentinel(run_dir(turn.state, executor))),)))
