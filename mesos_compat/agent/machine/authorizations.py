# SPDX-License-Identifier: Apache-2.0
"""Tasks that wait for their authorization: the answer, and ends before it comes.

Source: spec ``agent-master`` 8.2, 9.1, 10 (rows L3 and K1).

Deviation: the text about a task that is not authorized shows no secrets, and is cut if it is long;
who is not authorized hears that in the order of the messages.
"""

from __future__ import annotations

from google.protobuf import text_format

from mesos_compat.agent.machine import accept, frameworks, status, streams
from mesos_compat.agent.machine.events import TasksAuthorized
from mesos_compat.agent.machine.pending import PendingTasks, RunRequest, TaskVerdict
from mesos_compat.agent.machine.state import AgentPhase, Framework
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.model import reasons
from mesos_compat.model.ids import ExecutorId
from mesos_compat.model.reasons import Cause
from mesos_compat.model.redact import redact
from mesos_compat.pb.mesos import mesos_pb2 as pb

#: Characters of a task that a status shows at most.
_MAX_SHOWN = 10_000


def answered(turn: Turn, event: TasksAuthorized) -> None:
    """It is known whether some tasks may be run; whoever was killed meanwhile does not wait."""
    framework = turn.state.frameworks.get(event.framework_id)
    if framework is None:
        return
    pending = framework.pending.asked(event.executor_id, event.number)
    if pending is None or pending.verdict is not None:
        return
    pending.verdict = event.verdict
    _go_on(turn, framework, event.executor_id)
    frameworks.remove_if_idle(turn, framework)


def kill(turn: Turn, framework: Framework, pending: PendingTasks) -> None:
    """Kill tasks that wait, all of a group.

    Their updates outlive the framework, if it has nothing else.
    """
    request = pending.request
    cause = reasons.KILLED_BEFORE_DELIVERY
    if request.grouped:
        cause = reasons.GROUP_KILLED_BEFORE_DELIVERY
    updates = [
        status.own(turn, framework, request.executor_id, task_id, cause)
        for task_id in request.task_ids
    ]
    _drop(turn, framework, pending)
    _go_on(turn, framework, request.executor_id)
    frameworks.remove_if_idle(turn, framework)
    for update in updates:
        streams.enqueue(turn, update)


def disown(turn: Turn, framework: Framework, pending: PendingTasks) -> None:
    """Forget tasks that wait: no master knows them."""
    _drop(turn, framework, pending)
    _go_on(turn, framework, pending.request.executor_id)
    frameworks.remove_if_idle(turn, framework)


def forget(turn: Turn, framework: Framework) -> None:
    """Forget all tasks that wait: their framework ends, and hears no more of them."""
    for pending in framework.pending:
        _drop(turn, framework, pending)


def _drop(turn: Turn, framework: Framework, pending: PendingTasks) -> None:
    framework.pending.drop(pending)
    if turn.state.phase is not AgentPhase.TERMINATING:
        accept.forget(turn, pending.request)


def _go_on(turn: Turn, framework: Framework, executor_id: ExecutorId) -> None:
    """Run, or refuse, what is decided and has nothing before it."""
    while (pending := framework.pending.first(executor_id)) and pending.verdict is not None:
        framework.pending.drop(pending)
        request = pending.request.at(framework.executors.get(executor_id))
        cause = _cause(request, pending.verdict)
        if cause is None:
            accept.run(turn, request)
        else:
            accept.refuse(turn, request, accept.Refusal(cause))


def _cause(request: RunRequest, verdict: TaskVerdict) -> Cause | None:
    cause = reasons.UNAUTHORIZED_GROUP if request.grouped else reasons.UNAUTHORIZED
    if verdict.error is not None:
        names = ", ".join(request.task_ids)
        what = f"task '{names}'"
        if request.grouped:
            what = f"task group containing tasks [ {names} ]"
        return cause.saying(f"Failed to authorize {what}: {verdict.error}")
    for task in request.tasks:
        if task.task_id.value == verdict.denied:
            who = request.framework.framework_id
            return cause.saying(f"Framework {who} is not authorized to launch task {_text(task)}")
    return None


def _text(task: pb.TaskInfo) -> str:
    made = pb.TaskInfo()
    made.CopyFrom(task)
    redact(made)
    text = text_format.MessageToString(made, as_utf8=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
