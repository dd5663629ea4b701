# SPDX-License-Identifier: Apache-2.0
"""Tasks that no master knows: launched, and then forgotten by a master that gave the agent up.

A master answers each attempt to register that it reads. If launches come between two answers, the
second attempt does not tell of them. A master that kept the agent asks for them in the second
answer. One that had given the agent up in between, and took it back as that attempt told, has
forgotten them, told their framework that the agent is unreachable, and says that they are gone
when it is asked.

Deviation: such tasks are ended, and nobody hears of them, nor of those that were refused. Upstream
runs them, and the framework gets their updates after it was told that they are gone.

Source: spec ``agent-master`` 6.1, 6.7, 6.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mesos_compat.agent.machine import authorizations, executors, status, stopping, streams
from mesos_compat.agent.machine.state import (
    AgentState,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    Task,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.agent.machine.updates import UpdateStream
from mesos_compat.model import reasons
from mesos_compat.model.ids import FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

_Ids = set[tuple[FrameworkId, TaskId]]


def told(state: AgentState) -> None:
    """An attempt to register tells of all tasks that are here now."""
    for framework in state.frameworks.values():
        for pending in framework.pending:
            pending.told = True
        for executor in framework.executors.values():
            for task in _tasks(executor):
                task.told = True


def settle(turn: Turn, reconciliations: Iterable[messages.ReconcileTasksMessage]) -> None:
    """It is the second answer: end what neither an attempt told of nor the master asks for."""
    asked = {
        (FrameworkId(each.framework_id.value), TaskId(asked_status.task_id.value))
        for each in reconciliations
        for asked_status in each.statuses
    }
    for framework in list(turn.state.frameworks.values()):
        if framework.phase is not FrameworkPhase.TERMINATING:
            _settle(turn, framework, asked)
    for stream in list(turn.state.streams.values()):
        if (stream.framework_id, stream.task_id) not in asked and _refused(turn.state, stream):
            streams.close(turn, stream.framework_id, stream.task_id)


def _refused(state: AgentState, stream: UpdateStream) -> bool:
    """Whether a stream tells that the agent did not take a task."""
    framework = state.frameworks.get(stream.framework_id)
    known = framework is not None and framework.knows(stream.task_id)
    return not known and any(
        update.status.source == pb.TaskStatus.SOURCE_SLAVE for update in stream.queue
    )


def _settle(turn: Turn, framework: Framework, asked: _Ids) -> None:
    framework_id = framework.framework_id
    for executor in list(framework.executors.values()):
        unknown = [
            task
            for task in _tasks(executor)
            if not (task.told or task.disowned) and (framework_id, task.task_id) not in asked
        ]
        if unknown:
            _disown(turn, framework, executor, unknown)
    for pending in framework.pending:
        names = {(framework_id, task_id) for task_id in pending.request.task_ids}
        if not pending.told and not names & asked:
            turn.warn(f"Forgetting {pending.request.subject}: the master does not know it")
            authorizations.disown(turn, framework, pending)


def _tasks(executor: Executor) -> Iterator[Task]:
    for place in (executor.queued, executor.launched, executor.terminated):
        yield from place.values()


def _disown(turn: Turn, framework: Framework, executor: Executor, tasks: Sequence[Task]) -> None:
    for task in tasks:
        turn.warn(f"Ending task {task.task_id}: the master does not know it")
        task.disowned = True
        streams.close(turn, framework.framework_id, task.task_id)
    if executor.phase in (ExecutorPhase.REGISTERING, ExecutorPhase.RUNNING):
        if all(task.disowned for task in (*executor.queued.values(), *executor.launched.values())):
            executors.shut_down(turn, framework, executor)
        else:
            _kill(turn, framework, executor, tasks)
    for task in tasks:
        if task.task_id in executor.terminated:
            status.complete(turn, framework, executor, task)


def _kill(turn: Turn, framework: Framework, executor: Executor, tasks: Sequence[Task]) -> None:
    queued = [task for task in tasks if task.task_id in executor.queued]
    launched = [task for task in tasks if task.task_id in executor.launched]
    for task in launched:
        stopping.kill(turn, framework, executor, task.task_id, None)
    if queued:
        status.report(turn, framework, executor, queued, reasons.KILLED_BEFORE_DELIVERY)
