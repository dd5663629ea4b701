# SPDX-License-Identifier: Apache-2.0
"""What an earlier agent left: its containers, and what is to become of each.

All is read before anything is decided, and nothing here changes anything. A container goes on if
its agent knows it, or if it has no executor, or if it is nested in one that goes on; all others
are orphans. One that ended meanwhile goes on too, to its end: its exit is told as any other.

Source: spec ``containerizer`` 10, ``state-and-recovery`` 10.2, 10.5.
Deviation: a damaged file never stops the agent. Without its configuration or launch info a
container goes on as one that never had them; without its pid it is an orphan.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from containerizer import sandbox
from containerizer.linux import fds, proc
from containerizer.linux.proc import ProcessStat
from containerizer.rundir import RuntimeDirectory
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Seconds by which a process may seem to have started after its pid was written: clock ticks and
#: file times are rounded.
_ROUNDING_S = 1.0
#: Where a standalone container has its sandbox, below the work directory.
_STANDALONE_SANDBOXES = "containers"


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """One container that has not ended in the eyes of its agent."""

    container_id: ContainerId
    config: slave.ContainerConfig | None = None
    launch_info: slave.ContainerLaunchInfo | None = None
    #: What launcher and isolators are told; ``None`` if it never had a process that we know.
    state: slave.ContainerState | None = None
    #: Whether init is gone.
    exited: bool = True
    standalone: bool = False
    #: Whether it has to be destroyed.
    orphan: bool = True


def found_containers(
    rundir: RuntimeDirectory, known: Sequence[slave.ContainerState], work_dir: str
) -> list[FoundContainer]:
    """Read what is left, parents before children; ``known`` are the agent's containers.

    Raises CheckpointError if the runtime directory itself cannot be read.
    """
    given = {ContainerId.of(state.container_id): state for state in known if state.pid}
    found: dict[ContainerId, FoundContainer] = {}
    for container_id, state in given.items():
        found[container_id] = _executor(rundir, container_id, state)
    for container_id in rundir.ids():
        if container_id in found or _has_ended(rundir, container_id):
            continue
        if container_id.parent is not None and container_id.parent not in found:
            log.warning("Container %s has lost its parent", container_id)
            found[container_id.parent] = FoundContainer(container_id.parent)
        found[container_id] = _other(rundir, container_id, found, work_dir)
    return list(found.values())


def _executor(
    rundir: RuntimeDirectory, container_id: ContainerId, given: slave.ContainerState
) -> FoundContainer:
    """Return a container that the agent vouches for."""
    config = _config(rundir, container_id)
    state = slave.ContainerState()
    state.CopyFrom(given)
    if config is not None and not state.ephemeral_volumes:
        state.ephemeral_volumes.extend(config.ephemeral_volumes)
    return FoundContainer(
        container_id,
        config,
        _launch_info(rundir, container_id),
        state,
        exited=not _is_init(rundir, container_id, state.pid),
        orphan=rundir.is_force_destroy(container_id),
    )


def _other(
    rundir: RuntimeDirectory,
    container_id: ContainerId,
    found: Mapping[ContainerId, FoundContainer],
    work_dir: str,
) -> FoundContainer:
    """Return a container of which only the runtime directory tells."""
    config = _config(rundir, container_id)
    pid = _pid(rundir, container_id)
    standalone = container_id.parent is None and rundir.is_standalone(container_id)
    parent = found[container_id.parent] if container_id.parent is not None else None
    state = None
    if pid is not None:
        state = slave.ContainerState(
            container_id=container_id.message(),
            pid=pid,
            directory=_directory(container_id, config, found, work_dir if standalone else None),
        )
        if config is not None:
            state.ephemeral_volumes.extend(config.ephemeral_volumes)
            if config.HasField("container_info"):
                state.container_info.CopyFrom(config.container_info)
    goes_on = standalone if parent is None else not parent.orphan
    return FoundContainer(
        container_id,
        config,
        _launch_info(rundir, container_id),
        state,
        exited=pid is None or not _is_init(rundir, container_id, pid),
        standalone=standalone,
        orphan=not goes_on or pid is None or rundir.is_force_destroy(container_id),
    )


def _directory(
    container_id: ContainerId,
    config: slave.ContainerConfig | None,
    found: Mapping[ContainerId, FoundContainer],
    work_dir: str | None,
) -> str:
    """Return the sandbox; "" if nobody knows. ``work_dir`` is for standalone containers."""
    if config is not None and config.directory:
        return config.directory
    if container_id.parent is None:
        if work_dir is None:
            return ""
        return os.path.join(work_dir, _STANDALONE_SANDBOXES, container_id.value)
    root = found.get(container_id.root)
    if root is None or root.state is None or not root.state.directory:
        return ""
    return os.path.join(root.state.directory, sandbox.nested_path(container_id))


# Files, damaged or not.


def _has_ended(rundir: RuntimeDirectory, container_id: ContainerId) -> bool:
    """Whether a nested container was destroyed to the end."""
    try:
        return rundir.read_termination(container_id) is not None
    except CheckpointError as error:
        log.warning("Container %s: how it ended is lost: %s", container_id, error)
        return False


def _config(rundir: RuntimeDirectory, container_id: ContainerId) -> slave.ContainerConfig | None:
    try:
        return rundir.read_config(container_id)
    except CheckpointError as error:
        log.warning("Container %s: its configuration is lost: %s", container_id, error)
        return None


def _launch_info(
    rundir: RuntimeDirectory, container_id: ContainerId
) -> slave.ContainerLaunchInfo | None:
    try:
        return rundir.read_launch_info(container_id)
    except CheckpointError as error:
        log.warning("Container %s: its launch information is lost: %s", container_id, error)
        return None


def _pid(rundir: RuntimeDirectory, container_id: ContainerId) -> int | None:
    try:
        return rundir.read_pid(container_id)
    except CheckpointError as error:
        log.warning("Container %s: its pid is lost: %s", container_id, error)
        return None


# Processes.


def _is_init(rundir: RuntimeDirectory, container_id: ContainerId, pid: int) -> bool:
    """Whether the process is the container's init and not one that got its number later.

    Init keeps its status file open to the end, and nobody else has it.
    """
    try:
        stat = proc.stat(pid)
        if stat.state in "ZX":
            return False
        if not rundir.exists(container_id):
            return True  # nothing to go by; the launcher looks where the process is
        return fds.has_open(pid, rundir.status_path(container_id))
    except ProcessLookupError:
        return False
    except PermissionError:
        return _started_in_time(stat, rundir.pid_written_at(container_id))


def _started_in_time(stat: ProcessStat, written_at: float | None) -> bool:
    """Whether a process, of which no more can be seen, is old enough to be the one.

    An init leads a session, and it is neither us nor the host's.
    """
    if written_at is None or stat.session != stat.pid or stat.pid in (1, os.getpid()):
        return False
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s <= written_at + _ROUNDING_S
