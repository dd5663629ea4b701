# SPDX-License-Identifier: Apache-2.0
"""The document that ``/state`` shows, made of the agent's state. Pure.

Web UI and scripts index it without checks: every list and summary that is always there upstream
is always there here.

Source: spec ``operator-api`` 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import Message

from mesos_compat.agent.machine.state import AgentPhase, AgentState, Executor, Framework, Task
from mesos_compat.http.view import EVERYTHING, View
from mesos_compat.model import values
from mesos_compat.model.ids import FrameworkId
from mesos_compat.model.jsonpb import JsonObject, JsonValue, text_of, to_value
from mesos_compat.model.quantity import floating
from mesos_compat.model.redact import redacted
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

#: Shows a completed executor of a framework.
Completed: TypeAlias = Callable[[Framework, Executor, View], JsonValue]


@dataclass(frozen=True, slots=True)
class Build:
    """What a program says about where it comes from."""

    version: str
    #: ``YYYY-MM-DD HH:MM:SS``
    date: str
    time: float
    user: str

    def value(self) -> JsonObject:
        """Return what ``/version`` shows."""
        return {
            "build_date": self.date,
            "build_time": self.time,
            "build_user": self.user,
            "version": self.version,
        }


def agent(
    state: AgentState,
    build: Build,
    flags: Mapping[str, str],
    view: View = EVERYTHING,
    completed: Completed | None = None,
) -> JsonObject:
    """Return the whole document, or what ``view`` shows of it; ``completed`` takes the place of
    ``executor`` for completed ones. Those never change.
    """
    done = completed if completed is not None else executor
    config = state.config
    made: JsonObject = {
        "version": build.version,
        "build_date": build.date,
        "build_time": build.time,
        "build_user": build.user,
        "start_time": float(state.start_time),
        "id": state.agent_id or "",
        "pid": config.pid,
        "hostname": text_of(config.info.hostname),
        "capabilities": capabilities(config.capabilities),
    }
    if config.info.HasField("domain"):
        made["domain"] = to_value(config.info.domain)
    if state.drain is not None:
        made["drain_config"] = to_value(state.drain.config)
        made["estimated_drain_start_time_seconds"] = int(state.drain.started_at)
    made |= _resources(state, view)
    made["resource_providers"] = []
    made["attributes"] = attributes(config.info.attributes)
    if state.phase is AgentPhase.RUNNING and state.master_hostname:
        made["master_hostname"] = state.master_hostname
    if view.flags:
        for name in ("log_dir", "external_log_file"):
            if name in flags:
                made[name] = flags[name]
        made["flags"] = {name: flags[name] for name in sorted(flags)}
    for key, frameworks in (
        ("frameworks", state.frameworks.values()),
        ("completed_frameworks", state.completed_frameworks),
    ):
        made[key] = [framework(each, view, done) for each in frameworks if view.framework(each)]
    return made


def capabilities(numbers: Iterable[int]) -> list[JsonValue]:
    """Return the names of agent capabilities."""
    known = pb.SlaveInfo.Capability.Type.DESCRIPTOR.values_by_number
    return [known[number].name for number in numbers if number in known]


def attributes(messages: Iterable[pb.Attribute]) -> JsonObject:
    """Return name → number or text; of repeated names the last one is seen by any reader."""
    made: JsonObject = {}
    for attribute in messages:
        amount = values.amount_of(attribute)
        shown = floating(amount) if isinstance(amount, int) else values.format_value(amount)
        made[text_of(attribute.name)] = shown
    return made


# Resources.


def _resources(state: AgentState, view: View) -> JsonObject:
    total = Resources.of(state.total_resources()).with_checkpointed(
        Resources.of(state.checkpointed_resources)
    )
    unreserved, reserved = _by_role(total, view)
    unreserved_used, reserved_used = _by_role(state.allocated_resources(), view)
    return {
        "resources": summary(total),
        "reserved_resources": _summaries(reserved),
        "unreserved_resources": summary(unreserved),
        "reserved_resources_full": {
            role: [endpoint_resource(item) for item in items] for role, items in reserved.items()
        },
        "unreserved_resources_full": [endpoint_resource(item) for item in unreserved],
        "reserved_resources_allocated": _summaries(reserved_used),
        "unreserved_resources_allocated": summary(unreserved_used),
    }


def _by_role(
    resources: Iterable[pb.Resource], view: View
) -> tuple[list[pb.Resource], dict[str, list[pb.Resource]]]:
    """Return those that no role has reserved, and by role those that are to be seen."""
    unreserved: list[pb.Resource] = []
    reserved: dict[str, list[pb.Resource]] = {}
    for item in resources:
        if item.reservations:
            reserved.setdefault(text_of(item.reservations[-1].role), []).append(item)
        else:
            unreserved.append(item)
    return unreserved, {role: reserved[role] for role in sorted(reserved) if view.role(role)}


def _summaries(by_role: Mapping[str, Iterable[pb.Resource]]) -> JsonObject:
    return {role: summary(resources) for role, resources in by_role.items()}


def summary(resources: Iterable[pb.Resource]) -> JsonObject:
    """Sum resources by name, over all reservations and disks; revocable ones by themselves."""
    sums: dict[str, values.Amount] = {}
    for resource in resources:
        name = text_of(resource.name)
        if resource.HasField("revocable"):
            name += "_revocable"
        amount = values.amount_of(resource)
        if values.is_zero(amount):
            continue
        sums[name] = values.add(sums[name], amount) if name in sums else amount
    made: JsonObject = {"disk": 0.0, "mem": 0.0, "gpus": 0.0, "cpus": 0.0}
    for name, amount in sums.items():
        made[name] = floating(amount) if isinstance(amount, int) else values.format_value(amount)
    return made


def endpoint_resource(resource: pb.Resource) -> JsonObject:
    """Print a resource in both formats: the stack, and role and reservation if it is that simple.

    Source: upstream ``convertResourceFormat``, format ENDPOINT.
    """
    shown = pb.Resource()
    shown.CopyFrom(resource)
    if not shown.reservations:
        shown.role = "*"
    elif len(shown.reservations) == 1:
        only = shown.reservations[0]
        shown.role = only.role
        if only.type == pb.Resource.ReservationInfo.DYNAMIC:
            shown.reservation.CopyFrom(only)
            shown.reservation.ClearField("type")
            shown.reservation.ClearField("role")
    return to_value(shown)


# Frameworks, executors, tasks.


def framework(item: Framework, view: View, completed: Completed) -> JsonObject:
    """Return a framework, active or completed."""
    info = item.info
    made: JsonObject = {
        "id": item.framework_id,
        "name": text_of(info.name),
        "user": text_of(info.user),
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "hostname": text_of(info.hostname),
    }
    if info.HasField("principal"):
        made["principal"] = text_of(info.principal)
    if item.has_capability(pb.FrameworkInfo.Capability.MULTI_ROLE):
        made["roles"] = [text_of(role) for role in info.roles]
    else:
        made["role"] = text_of(info.role)
    for key, executors, shown in (
        ("executors", item.executors.values(), executor),
        ("completed_executors", item.completed_executors, completed),
    ):
        made[key] = [shown(item, each, view) for each in executors if view.executor(item, each)]
    return made


def executor(of: Framework, item: Executor, view: View) -> JsonObject:
    """Return a run of an executor."""
    info = item.info
    made: JsonObject = {
        "id": item.executor_id,
        "name": text_of(info.name),
        "source": text_of(info.source),
        "container": str(item.container_id),
        "directory": item.directory,
        "resources": summary(item.allocated()),
    }
    made |= _role(info.resources)
    if info.HasField("labels"):
        made["labels"] = labels(info.labels)
    if info.HasField("type"):
        made["type"] = pb.ExecutorInfo.Type.Name(info.type)

    def shown(tasks: Iterable[Task]) -> list[Task]:
        return [each for each in tasks if view.task(of, each.info)]

    made["tasks"] = [task(one, item.framework_id) for one in shown(item.launched.values())]
    made["queued_tasks"] = [queued_task(one) for one in shown(item.queued.values())]
    done = (*item.completed, *item.terminated.values())
    made["completed_tasks"] = [task(one, item.framework_id) for one in shown(done)]
    return made


def task(item: Task, framework_id: FrameworkId) -> JsonObject:
    """Return a task that was sent to its executor."""
    info = item.info
    made: JsonObject = {
        "id": item.task_id,
        "name": text_of(info.name),
        "framework_id": framework_id,
        "executor_id": text_of(info.executor.executor_id.value),
        "slave_id": text_of(info.slave_id.value),
        "state": pb.TaskState.Name(item.state),
        "resources": summary(info.resources),
    }
    if info.limits:
        made["limits"] = {name: info.limits[name].value for name in sorted(info.limits)}
    made |= _role(info.resources)
    made["statuses"] = [status(one) for one in item.statuses]
    if item.user is not None:
        made["user"] = text_of(item.user)
    if info.HasField("labels"):
        made["labels"] = labels(info.labels)
    for name in ("discovery", "container", "health_check"):
        if info.HasField(name):
            made[name] = to_value(redacted(getattr(info, name)))
    return made


def queued_task(item: Task) -> JsonObject:
    """Return a task that waits for its executor."""
    info = item.info
    made: JsonObject = {
        "id": item.task_id,
        "name": text_of(info.name),
        "slave_id": text_of(info.slave_id.value),
        "resources": summary(info.resources),
    }
    made |= _role(info.resources)
    if info.HasField("command"):
        made["command"] = _command(info.command)
    if info.HasField("executor"):
        made["executor_id"] = text_of(info.executor.executor_id.value)
    if info.HasField("discovery"):
        made["discovery"] = to_value(info.discovery)
    return made


def _role(resources: Iterable[pb.Resource]) -> JsonObject:
    first = next(iter(resources), None)
    return {} if first is None else {"role": text_of(first.allocation_info.role)}


def _command(command: pb.CommandInfo) -> JsonObject:
    made: JsonObject = {}
    if command.HasField("shell"):
        made["shell"] = command.shell
    if command.HasField("value"):
        made["value"] = text_of(command.value)
    made["argv"] = [text_of(argument) for argument in command.arguments]
    if command.HasField("environment"):
        made["environment"] = to_value(redacted(command.environment))
    made["uris"] = [
        {"value": text_of(uri.value), "executable": uri.executable} for uri in command.uris
    ]
    return made


def status(item: pb.TaskStatus) -> JsonObject:
    """Return the part of a status that operators see."""
    made: JsonObject = {"state": pb.TaskState.Name(item.state), "timestamp": item.timestamp}
    if item.HasField("labels"):
        made["labels"] = labels(item.labels)
    if item.HasField("container_status"):
        made["container_status"] = _container_status(item.container_status)
    if item.HasField("healthy"):
        made["healthy"] = item.healthy
    return made


def _container_status(item: pb.ContainerStatus) -> JsonObject:
    made: JsonObject = {}
    if item.HasField("container_id"):
        made["container_id"] = to_value(item.container_id)
    if item.network_infos:
        made["network_infos"] = [_network_info(info) for info in item.network_infos]
    if item.HasField("cgroup_info"):
        made["cgroup_info"] = to_value(item.cgroup_info)
    return made


def _network_info(item: pb.NetworkInfo) -> JsonObject:
    made: JsonObject = {}
    if item.groups:
        made["groups"] = [text_of(group) for group in item.groups]
    if item.HasField("labels"):
        made["labels"] = labels(item.labels)
    if item.ip_addresses:
        made["ip_addresses"] = _values(item.ip_addresses)
    if item.HasField("name"):
        made["name"] = text_of(item.name)
    if item.port_mappings:
        made["port_mappings"] = _values(item.port_mappings)
    return made


def _values(messages: Iterable[Message]) -> list[JsonValue]:
    return [to_value(message) for message in messages]


def labels(item: pb.Labels) -> list[JsonValue]:
    """Return labels as a bare list."""
    return _values(item.labels)
