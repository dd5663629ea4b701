# SPDX-License-Identifier: Apache-2.0
"""Whether this agent is the one that an earlier process was, and which containers it vouches for.

Pure but for ``read`` and ``strays``.

Source: spec ``state-and-recovery`` 8, 9, 10.1, 10.5.
Deviation: sandboxes that no checkpoint tells of are garbage collected; upstream keeps them as long
as the agent keeps its id.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mesos_compat.agent import paths
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.load import load
from mesos_compat.agent.meta.recovered import AgentFound, Found
from mesos_compat.agent.meta.resources import completion
from mesos_compat.agent.meta.writes import RemovedFile, carry_out
from mesos_compat.base.beneath import Stop, never
from mesos_compat.base.errors import CheckpointError, MesosCompatError, WireError
from mesos_compat.model import values
from mesos_compat.model.attributes import format_attributes
from mesos_compat.model.ids import id_error
from mesos_compat.model.resources import Resources
from mesos_compat.model.volumes import homes
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
ADDITIVE = "additive"


class RecoveryError(MesosCompatError):
    """An agent cannot go on where an earlier process stopped; the text says what can be done."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What this process goes on with."""

    found: Found
    #: Ids under which earlier processes made sandboxes.
    agent_ids: tuple[str, ...]
    boot_id: str | None
    #: What the containerizer is told of containers that may go on.
    containers: tuple[slave.ContainerState, ...]
    #: Whether the agent goes on, but is another one than it was.
    changed: bool = False
    #: Directories of runs, executors and frameworks that no checkpoint tells of.
    strays: tuple[str, ...] = ()
    #: Paths of all persistent volumes.
    volumes: tuple[str, ...] = ()


def read(
    work_dir: str, info: pb.SlaveInfo, *, policy: str, strict: bool, stop: Stop = never
) -> Recovery:
    """Read what an earlier process left and see whether an agent of ``info`` can go on with it.

    ``policy`` is ``equal`` or ``additive``. Changes of resources that were interrupted are
    completed, unless ``stop`` ends the removal of a volume, which raises RemovalStopped. Blocks.
    Raises RecoveryError, and then has changed nothing else but torn ends of files.
    """
    boot_id = _boot_id()
    try:
        found = load(work_dir, boot_id, strict=strict)
        for write in completion(work_dir, found.resources):
            carry_out(write, stop)
        _check_resources(found, info)
        if found.agent is not None:
            found = _same_agent(work_dir, found, found.agent, info, policy)
    except (CheckpointError, RecoveryError) as error:
        raise RecoveryError(_advice(work_dir, str(error))) from error
    changed = found.agent is not None and not _equal(found.agent.info, info)
    if changed:
        log.warning("The agent has changed; its master must be able to take that")
    return Recovery(
        found,
        _agent_ids(work_dir),
        boot_id,
        tuple(containers(found, work_dir)),
        changed=changed,
        strays=() if found.agent is None else tuple(strays(work_dir, found.agent)),
        volumes=tuple(
            each.path for each in sorted(homes(work_dir, found.resources.effective.resources))
        ),
    )


def strays(work_dir: str, agent: AgentFound) -> Iterator[str]:
    """Return directories of runs, executors and frameworks that no checkpoint tells of.

    They are those of frameworks that do not checkpoint, and of launches that had just begun when
    the agent ended. Blocks.
    """
    known = set()
    for framework in agent.frameworks:
        known.add(paths.framework(work_dir, agent.agent_id, framework.framework_id))
        for executor in framework.executors:
            home = paths.executor(
                work_dir, agent.agent_id, framework.framework_id, executor.executor_id
            )
            known.add(home)
            known |= {f"{paths.runs(home)}/{name}" for name in executor.old_runs}
            if executor.latest is not None:
                known.add(paths.sandbox(home, executor.latest.container_id))
    for framework_dir in _directories(paths.frameworks(work_dir, agent.agent_id)):
        for executor_dir in _directories(paths.executors(framework_dir)):
            yield from (run for run in _directories(paths.runs(executor_dir)) if run not in known)
            if executor_dir not in known:
                yield executor_dir
        if framework_dir not in known:
            yield framework_dir


def _directories(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(each.path for each in entries if each.is_dir(follow_symlinks=False))
    except OSError:
        return []


def containers(found: Found, work_dir: str) -> Iterator[slave.ContainerState]:
    """Return the executors whose containers may still run."""
    if found.agent is None:
        return
    for framework in found.agent.frameworks:
        for executor in framework.executors:
            run = executor.latest
            if executor.info is None or run is None or run.completed or run.forked_pid is None:
                continue
            home = paths.executor(
                work_dir, found.agent.agent_id, framework.framework_id, executor.executor_id
            )
            state = slave.ContainerState(
                executor_info=executor.info,
                container_id=run.container_id.message(),
                pid=run.forked_pid,
                directory=paths.sandbox(home, run.container_id),
            )
            if executor.info.HasField("container"):
                state.container_info.CopyFrom(executor.info.container)
            yield state


def difference(previous: pb.SlaveInfo, current: pb.SlaveInfo, policy: str) -> str:
    """Say why ``current`` cannot go on as ``previous``; the empty text if it can."""
    if policy == ADDITIVE:
        return _not_additive(previous, current)
    if _equal(previous, current):
        return ""
    return (
        "Incompatible agent info detected. \n"
        "------------------------------------------------------------\n"
        f"Old agent info:\n{_shown(previous)}\n"
        "------------------------------------------------------------\n"
        f"New agent info:\n{_shown(current)}\n"
        "------------------------------------------------------------"
    )


def _check_resources(found: Found, info: pb.SlaveInfo) -> None:
    """Reservations and volumes outlive the id of an agent, but not what they are made of."""
    checkpointed = found.resources.effective.resources
    try:
        Resources.of(info.resources).with_checkpointed(Resources.of(checkpointed))
        homes("", checkpointed)
    except WireError as error:
        raise RecoveryError(
            f"Checkpointed resources {_listed(checkpointed)} are incompatible with agent resources"
            f" {_listed(info.resources)}: {error}"
        ) from error


def _listed(resources: Iterable[pb.Resource]) -> str:
    return str(Resources.of(resources)) if resources else "{}"


def _same_agent(
    work_dir: str, found: Found, agent: AgentFound, info: pb.SlaveInfo, policy: str
) -> Found:
    why = difference(agent.info, info, policy)
    if not why:
        return found
    if not found.rebooted:
        raise RecoveryError(why)
    log.warning("Falling back to recover as a new agent due to error: %s", why)
    carry_out(RemovedFile(layout.latest_agent(paths.meta(work_dir))))
    return replace(found, agent=None)


def _equal(previous: pb.SlaveInfo, current: pb.SlaveInfo) -> bool:
    return (
        previous.hostname == current.hostname
        and previous.port == current.port
        and previous.checkpoint == current.checkpoint
        and previous.domain == current.domain
        and Resources.of(previous.resources) == Resources.of(current.resources)
        and _attributes(previous) == _attributes(current)
    )


def _attributes(info: pb.SlaveInfo) -> Counter[bytes]:
    return Counter(each.SerializeToString(deterministic=True) for each in info.attributes)


def _not_additive(previous: pb.SlaveInfo, current: pb.SlaveInfo) -> str:
    prefix = "Configuration change not permitted under `additive` policy: "
    if previous.hostname != current.hostname:
        return f"{prefix}Hostname changed from {previous.hostname} to {current.hostname}"
    if previous.port != current.port:
        return f"{prefix}Port changed from {previous.port} to {current.port}"
    if previous.HasField("domain") and previous.domain != current.domain:
        return f"{prefix}Domain changed"
    resources = Resources.of(current.resources)
    for resource in Resources.of(previous.resources):
        if not resources.contains(Resources.of([resource])):
            return f"{prefix}Resource {Resources.of([resource])} is not part of {resources}"
    return _missing_attribute(previous.attributes, current.attributes, prefix)


def _missing_attribute(
    previous: Iterable[pb.Attribute], current: Sequence[pb.Attribute], prefix: str
) -> str:
    for before in previous:
        now = next((each for each in current if each.name == before.name), None)
        if now is None or now.type != before.type:
            return (
                "Configuration change not permitted under 'additive' policy. "
                f"Couldn't find attribute {format_attributes([before])}"
            )
        old, new = values.amount_of(before), values.amount_of(now)
        if not (values.covers(new, old) if before.type == pb.Value.RANGES else new == old):
            return (
                f"{prefix}Attribute {format_attributes([before])} changed to"
                f" {format_attributes([now])}"
            )
    return ""


def _shown(info: pb.SlaveInfo) -> str:
    parts = [f"hostname: {info.hostname}", f"port: {info.port}"]
    parts.append(f"resources: {Resources.of(info.resources)}")
    if info.attributes:
        parts.append(f"attributes: {format_attributes(info.attributes)}")
    if info.HasField("domain"):
        zone = info.domain.fault_domain
        parts.append(f"domain: {zone.region.name}/{zone.zone.name}")
    return "\n".join(parts)


def _advice(work_dir: str, why: str) -> str:
    latest = layout.latest_agent(paths.meta(work_dir))
    return (
        f"Failed to perform recovery: {why}\n"
        "If recovery failed due to a change in configuration and you want to keep the current agent"
        " id, you might want to change the `--reconfiguration_policy` flag to a more permissive"
        " value.\n"
        "To restart this agent with a new agent id instead, do as follows:\n"
        f"rm -f {latest}\n"
        "This ensures that the agent does not recover old live executors."
    )


def _boot_id() -> str | None:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        log.error("Failed to get the boot id: %s", error.strerror)
        return None


def _agent_ids(work_dir: str) -> tuple[str, ...]:
    try:
        names = sorted(os.listdir(paths.agents(work_dir)))
    except OSError:
        return ()
    return tuple(name for name in names if id_error(name) is None)
