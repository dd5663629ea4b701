# SPDX-License-Identifier: Apache-2.0
"""What an earlier agent left in the runtime directory. Nothing here changes anything.

Source: spec ``containerizer`` 10.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass

from containerizer.linux import proc
from containerizer.rundir import RuntimeDirectory
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Seconds by which a process may seem to have started after its pid was written: clock ticks and
#: file times are rounded.
_ROUNDING_S = 1.0


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """One container of the runtime directory that has not ended in the eyes of its agent."""

    container_id: ContainerId
    config: slave.ContainerConfig | None
    #: Init, if it still runs.
    pid: int | None
    standalone: bool

    def state(self) -> slave.ContainerState | None:
        """Return what a launcher needs to take over the process; ``None`` without one."""
        if self.pid is None:
            return None
        made = slave.ContainerState(
            container_id=self.container_id.message(), pid=self.pid, directory=""
        )
        if self.config is not None:
            made.directory = self.config.directory
            made.ephemeral_volumes.extend(self.config.ephemeral_volumes)
        return made


def found_containers(rundir: RuntimeDirectory) -> list[FoundContainer]:
    """Read the runtime directory, parents before children.

    What cannot be read is left out with a warning: these containers are destroyed, for which the
    id is enough. Raises CheckpointError if the directory itself cannot be read.
    """
    found = []
    for container_id in rundir.ids():
        try:
            if rundir.read_termination(container_id) is not None:
                continue
            config = rundir.read_config(container_id)
            pid = _living_pid(rundir, container_id)
        except CheckpointError as error:
            log.warning("Container %s: its checkpoint is damaged: %s", container_id, error)
            config = pid = None
        found.append(FoundContainer(container_id, config, pid, rundir.is_standalone(container_id)))
    return found


def _living_pid(rundir: RuntimeDirectory, container_id: ContainerId) -> int | None:
    """Return init's pid unless it is gone or its number has gone to another process since."""
    pid = rundir.read_pid(container_id)
    written_at = rundir.pid_written_at(container_id)
    if pid is None or written_at is None:
        return None
    try:
        stat = proc.stat(pid)
    except ProcessLookupError:
        return None
    if stat.state in "ZX":
        return None
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_ticks / os.sysconf("SC_CLK_TCK")
    return pid if time.time() - age_s <= written_at + _ROUNDING_S else None
