# SPDX-License-Identifier: Apache-2.0
"""What must always be true of the agent's state. Pure.

Tests ask after each event, the agent after a step that failed.
"""

from __future__ import annotations

from collections.abc import Mapping

from mesos_compat.agent.machine.state import (
    AgentPhase,
    AgentState,
    Executor,
    ExecutorPhase,
    Framework,
    FrameworkPhase,
    TaskPlace,
)
from mesos_compat.base.errors import InvariantError
from mesos_compat.model.ids import ContainerId, ExecutorId, TaskId


def check(state: AgentState) -> None:
    """Raise InvariantError if anything contradicts itself."""
    numbers: set[int] = set()
    containers: set[ContainerId] = set()
    for framework_id, framework in state.frameworks.items():
        _require(framework.framework_id == framework_id, f"framework under id {framework_id}")
        owners: dict[TaskId, ExecutorId] = {}
        for executor_id, executor in framework.executors.items():
            where = f"executor {executor_id} of {framework_id}"
            _require(executor.executor_id == executor_id, f"{where}: filed under its id")
            _require(executor.framework_id == framework_id, f"{where}: in its framework")
            _require(executor.container_id not in containers, f"{where}: container id is its own")
            containers.add(executor.container_id)
            _check_executor(executor, where)
            for task_id in executor.incomplete_tasks():
                _require(task_id not in owners, f"task {task_id} of {framework_id} is in one list")
                owners[task_id] = executor_id
        _check_pending(framework, numbers, owners)
        homes = {task_id: home.executor_id for task_id, home in framework.homes.items()}
        _require(homes == owners, f"each task of {framework_id} is known to be where it is")
    for (framework_id, task_id), stream in state.streams.items():
        where = f"stream of {task_id} of {framework_id}"
        waiting = {update.uuid for update in stream.queue}
        _require(waiting <= stream.received, f"{where}: queued updates were received")
        _require(
            not waiting & stream.acknowledged.keys(), f"{where}: queued ones are unacknowledged"
        )
        held = sum(update.ByteSize() for update in stream.queue)
        _require(held == stream.queued_bytes, f"{where}: its size is known")
    for uuid, operation in state.operations.items():
        _require(operation.uuid.value == uuid, f"operation {uuid.hex()} under its UUID")
    if state.storing is None:
        _require(not state.store_again, "nothing waits for a change that there is not")
        _require(not state.finished_operations, "what is over is being stored")
    else:
        _require(state.storing.finished.keys() <= state.operations.keys(), "ends have a beginning")
    for uuid, updates in state.operation_streams.items():
        _require(updates.uuid == uuid, f"stream of operation {uuid.hex()} under its UUID")
        _require(uuid in state.operations, f"stream of operation {uuid.hex()} has one")
        _require(bool(updates.queue), f"stream of operation {uuid.hex()} has something to tell")
    _require(not numbers or max(numbers) <= state.authorizations, "authorizations are counted")
    if state.phase is AgentPhase.RUNNING:
        _require(state.agent_id is not None, "a running agent has an id")
        _require(bool(state.master), "a running agent has a master")
        _require(not state.streams_paused, "a running agent forwards updates")
        _require(state.authentication is None, "a running agent is authenticated")
    else:
        running_down = state.phase is AgentPhase.TERMINATING
        _require(state.streams_paused or running_down, "no updates without a master")
    if state.phase is AgentPhase.TERMINATING:
        for framework in state.frameworks.values():
            _require(framework.phase is FrameworkPhase.TERMINATING, "all frameworks end with us")


def _check_pending(
    framework: Framework, numbers: set[int], owners: Mapping[TaskId, ExecutorId]
) -> None:
    where = f"pending tasks of {framework.framework_id}"
    seen: set[TaskId] = set()
    last: dict[ExecutorId, int] = {}
    for pending in framework.pending:
        number, request = pending.number, pending.request
        _require(number not in numbers, f"{where}: each question is asked once")
        numbers.add(number)
        _require(request.framework is framework, f"{where}: in their framework")
        _require(request.executor is None, f"{where}: have no executor")
        known = framework.pending.asked(request.executor_id, number)
        _require(known is pending, f"{where}: under executor and number")
        first = request.executor_id not in last
        _require(not first or pending.verdict is None, f"{where}: what is first is not decided")
        _require(last.get(request.executor_id, 0) < number, f"{where}: in order of arrival")
        last[request.executor_id] = number
        for task_id in request.task_ids:
            _require(task_id not in owners and task_id not in seen, f"{where}: in one place")
            _require(framework.pending.find(task_id) is pending, f"{where}: can be found")
            seen.add(task_id)
    if framework.phase is FrameworkPhase.TERMINATING:
        _require(not framework.pending, f"{where}: none of a framework that ends")


def _check_executor(executor: Executor, where: str) -> None:
    places = (
        (executor.queued, TaskPlace.QUEUED),
        (executor.launched, TaskPlace.LAUNCHED),
        (executor.terminated, TaskPlace.TERMINATED),
    )
    for tasks, place in places:
        for task_id, task in tasks.items():
            _require(task.task_id == task_id, f"{where}: task {task_id} under its id")
            _require(task.place is place, f"{where}: task {task_id} knows that it is {place.value}")
            terminal = place is TaskPlace.TERMINATED
            _require(task.terminal == terminal, f"{where}: task {task_id} is {place.value}")
    if executor.phase is ExecutorPhase.TERMINATED:
        _require(
            not (executor.queued or executor.launched) or bool(executor.incoming),
            f"{where}: no task outlives its executor",
        )
    if executor.phase is ExecutorPhase.RUNNING:
        _require(executor.connected, f"{where}: a running executor spoke to us")
    _require(executor.stream_id is None or not executor.pid, f"{where}: it speaks in one way")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise InvariantError(f"broken: {rule}")
