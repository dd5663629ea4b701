# SPDX-License-Identifier: Apache-2.0
"""What a container is asked for: its configuration at launch, its resources from then on, and
the delivery of tasks, which waits until the container may use what they need.

Source: spec ``executors`` 3.1, 4.4, 4.5, 4.6.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from mesos_compat.agent.machine import command, status, tell
from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.agent.machine.effects import DestroyContainer, UpdateContainer
from mesos_compat.agent.machine.events import ContainerUpdated
from mesos_compat.agent.machine.state import (
    AgentState,
    Executor,
    ExecutorPhase,
    Framework,
    Task,
    TaskPlace,
    Waiting,
)
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.base.tls_options import AGENT_TLS
from mesos_compat.base.variables import DOMAIN_SOCKET, EXECUTOR_TOKEN
from mesos_compat.model import reasons
from mesos_compat.model.quantity import SECOND_NS, format_duration
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

#: Resources that tasks can have limits for.
_LIMITED = ("cpus", "mem")


def launch_config(state: AgentState, executor: Executor) -> slave.ContainerConfig:
    """Return the configuration of an executor's container; remembers what it is given."""
    config = state.config
    requests, limits = _demands(config, executor)
    executor.container_requests = requests
    executor.container_limits = limits
    made = slave.ContainerConfig(directory=executor.directory)
    made.executor_info.CopyFrom(executor.info)
    del made.executor_info.resources[:]
    made.executor_info.resources.extend(requests.messages())
    if not made.executor_info.HasField("container") and config.default_container_info is not None:
        made.executor_info.container.CopyFrom(config.default_container_info)
    if made.executor_info.type == pb.ExecutorInfo.DEFAULT:
        command.fill_default_executor(made.executor_info.command, config, executor.user)
    made.command_info.CopyFrom(made.executor_info.command)
    if made.executor_info.HasField("container"):
        made.container_info.CopyFrom(made.executor_info.container)
    made.resources.extend(made.executor_info.resources)
    for name, limit in limits.items():
        made.limits[name].value = limit
    if executor.user is not None:
        made.user = executor.user
    if executor.generated:
        for task in executor.queued.values():
            made.task_info.CopyFrom(task.info)
    return made


def environment(state: AgentState, framework: Framework, executor: Executor) -> dict[str, str]:
    """Return the variables that the agent gives an executor."""
    config = state.config
    checkpoint = framework.info.checkpoint
    made = dict(config.executor_environment)
    made["LIBPROCESS_PORT"] = "0"
    made["MESOS_FRAMEWORK_ID"] = framework.framework_id
    made["MESOS_EXECUTOR_ID"] = executor.executor_id
    made["MESOS_DIRECTORY"] = executor.directory
    made["MESOS_SLAVE_ID"] = state.agent_id or ""
    made["MESOS_SLAVE_PID"] = config.pid
    made["MESOS_AGENT_ENDPOINT"] = f"{config.ip}:{config.port}"
    made["MESOS_CHECKPOINT"] = "1" if checkpoint else "0"
    made["MESOS_HTTP_COMMAND_EXECUTOR"] = "1" if config.http_command_executor else "0"
    if config.domain_socket is not None and not _in_image(config, executor):
        made[DOMAIN_SOCKET] = config.domain_socket
    made["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"] = _duration(shutdown_grace_s(config, executor))
    if checkpoint:
        made["MESOS_RECOVERY_TIMEOUT"] = _duration(config.recovery_timeout_s)
        made["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = _duration(config.executor_reregistration_timeout_s)
    built_in = executor.generated or executor.info.type == pb.ExecutorInfo.DEFAULT
    if config.tls and built_in:
        # Others are configured by --executor_environment_variables, as with upstream.
        made[AGENT_TLS] = "1"
    if config.executor_tokens is not None:
        made[EXECUTOR_TOKEN] = config.executor_tokens.token(
            framework.framework_id, executor.executor_id, executor.container_id
        )
    if config.decorators is not None:
        made.update(config.decorators.executor_environment(executor.info))
    return made


def _in_image(config: AgentConfig, executor: Executor) -> bool:
    """Whether an executor itself, not only its task, sees the files of an image."""
    container = config.default_container_info
    if executor.info.HasField("container"):
        container = executor.info.container
    return not executor.generated and container is not None and container.mesos.HasField("image")


def shutdown_grace_s(config: AgentConfig, executor: Executor) -> float:
    """Return how long an executor may take to shut down."""
    if executor.info.HasField("shutdown_grace_period"):
        return max(executor.info.shutdown_grace_period.nanoseconds, 0) / SECOND_NS
    return config.executor_shutdown_grace_period_s


def adjust(turn: Turn, executor: Executor, waiting: Waiting) -> bool:
    """Give the container what its executor and tasks need now; ``False`` if it has that, or is
    not there to be given anything.
    """
    if not executor.connected or executor.phase is ExecutorPhase.TERMINATED:
        return False
    requests, limits = _demands(turn.state.config, executor)
    if requests == executor.container_requests and limits == executor.container_limits:
        return False
    executor.container_requests = requests
    executor.container_limits = limits
    executor.waiting = waiting
    turn.do(
        UpdateContainer(
            executor.framework_id,
            executor.executor_id,
            executor.container_id,
            tuple(requests.messages()),
            limits,
        )
    )
    return True


def deliver(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Send the queued tasks to a running executor, once its container is ready for them.

    Deviation: groups for an executor that speaks libprocess, which has no message for them, are
    refused; upstream leaves them in TASK_STAGING.
    """
    if executor.pid:
        groups = [task for task in executor.queued.values() if task.group is not None]
        if groups:
            status.report(turn, framework, executor, groups, reasons.GROUP_UNDELIVERABLE)
            return
    if adjust(turn, executor, Waiting.DELIVERY):
        return
    for task in [task for task in executor.queued.values() if task.group is None]:
        _deliver(turn, executor, [task])
        tell.launch(turn, framework, executor, task)
    while executor.queued:
        group = executor.group_of(next(iter(executor.queued.values())))
        _deliver(turn, executor, group)
        tell.launch_group(turn, executor, group)


def _deliver(turn: Turn, executor: Executor, tasks: list[Task]) -> None:
    for task in tasks:
        del executor.queued[task.task_id]
        executor.launched[task.task_id] = task
        task.place = TaskPlace.LAUNCHED
    names = ", ".join(f"'{task.task_id}'" for task in tasks)
    turn.info(
        f"Sending queued tasks {names} to executor '{executor.executor_id}' of framework"
        f" {executor.framework_id}"
    )


def updated(turn: Turn, framework: Framework, executor: Executor, event: ContainerUpdated) -> None:
    """The container got what it needs, or its executor has to go."""
    waiting = executor.waiting
    if waiting not in (Waiting.TERMINAL_UPDATE, Waiting.DELIVERY):
        return
    if event.error:
        cause = reasons.UPDATE_FAILED
        turn.warn(f"{cause.message} {executor.container_id}: {event.error}")
        if executor.phase is not ExecutorPhase.TERMINATED:
            executor.phase = ExecutorPhase.TERMINATING
            if executor.pending_termination is None:
                executor.pending_termination = cause.saying(f"{cause.message}: {event.error}")
            turn.do(DestroyContainer(executor.container_id))
    if waiting is Waiting.TERMINAL_UPDATE:
        status.update_applied(turn, framework, executor)
        return
    executor.waiting = None
    status.advance(turn, framework, executor)


def _demands(config: AgentConfig, executor: Executor) -> tuple[Resources, dict[str, float]]:
    requests = Resources.of_valid(executor.allocated())
    tasks = [*executor.queued.values(), *executor.launched.values()]
    limits: dict[str, float] = {}
    for name in _LIMITED:
        limit = _limit(name, executor, tasks)
        if limit is None:
            continue
        unlimited = [task for task in tasks if name not in task.info.limits]
        if name == "cpus" and not config.cgroups_enable_cfs and unlimited:
            continue
        limits[name] = limit
    return requests, limits


def _limit(name: str, executor: Executor, tasks: list[Task]) -> float | None:
    """Sum of the limits, of the requests of tasks without one, and of the executor's own."""
    if not any(name in task.info.limits for task in tasks):
        return None
    total = 0.0
    plain: list[pb.Resource] = list(executor.info.resources)
    for task in tasks:
        if name in task.info.limits:
            total += task.info.limits[name].value
        else:
            plain.extend(task.info.resources)
    if math.isinf(total):
        return total
    return round(total + _scalar(name, plain), 3)


def _scalar(name: str, resources: Iterable[pb.Resource]) -> float:
    return Resources.of_valid(resources).scalar(name) or 0.0


def _duration(seconds: float) -> str:
    return format_duration(round(seconds * SECOND_NS))
