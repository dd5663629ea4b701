# SPDX-License-Identifier: Apache-2.0
"""An isolator that gives each container a limit of open files and a directory of its own.

Parameters, from ``--modules``:

* ``max_open_files``: the limit, 1024 by default. A container may ask for a lower one with the
  label ``example.open_files`` of its executor (for command tasks: of the task).
* ``scratch_dir``: an absolute path. Each container without an image gets an empty directory below
  it, which is removed when the container is gone; its path is in the variable ``SCRATCH``. With the
  isolator ``filesystem/linux``, top-level containers see it as ``scratch`` in their sandbox.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Collection, Sequence

from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

LABEL = "example.open_files"
DEFAULT_MAX_OPEN_FILES = 1024

# Flags of mount(2) for a bind.
MS_BIND = 4096


class RlimitsIsolator(Isolator):
    """Limits open files; keeps nothing in memory but its settings."""

    # Show us nested containers and those that were launched by an operator, too.
    supports_nesting = True
    supports_standalone = True

    def __init__(self, max_open_files: int, scratch_dir: str | None, binds: bool) -> None:
        self._max_open_files = max_open_files
        self._scratch_dir = scratch_dir
        self._binds = binds

    @classmethod
    def create(cls, context: IsolatorContext) -> RlimitsIsolator:
        """Check everything that can be checked now: the agent ends with the text if it is wrong."""
        parameters = dict(context.parameters)
        text = parameters.pop("max_open_files", str(DEFAULT_MAX_OPEN_FILES))
        scratch_dir = parameters.pop("scratch_dir", None)
        if parameters:
            raise IsolatorError(f"unknown parameters: {', '.join(sorted(parameters))}")
        if not (text.isascii() and text.isdecimal() and int(text) > 0):
            raise IsolatorError(f"'max_open_files' must be a positive number, not '{text}'")
        if scratch_dir is not None:
            if not os.path.isabs(scratch_dir):
                raise IsolatorError(f"'scratch_dir' must be an absolute path, not '{scratch_dir}'")
            os.makedirs(scratch_dir, mode=0o711, exist_ok=True)
        return cls(int(text), scratch_dir, "filesystem/linux" in context.isolation)

    async def recover(
        self, states: Sequence[slave.ContainerState], orphans: Collection[ContainerId]
    ) -> None:
        """Remove directories of containers that nobody knows any more.

        Those in ``states`` live, those in ``orphans`` get their ``cleanup`` in a moment.
        """
        if self._scratch_dir is None:
            return
        known = {str(ContainerId.of(state.container_id)) for state in states}
        known.update(str(orphan) for orphan in orphans)
        for name in set(os.listdir(self._scratch_dir)) - known:
            log.info("Removing the scratch directory of unknown container %s", name)
            await self._remove(os.path.join(self._scratch_dir, name))

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Say what init shall do. Nothing of it is done here, except for making the directory."""
        if is_debug(config):
            # A session shares everything with the container that it is in.
            return None
        info = slave.ContainerLaunchInfo()
        limit = self._limit(config)
        info.rlimits.rlimits.add(type=pb.RLimitInfo.RLimit.RLMT_NOFILE, hard=limit, soft=limit)
        if self._scratch_dir is not None and not config.HasField("rootfs"):
            self._add_scratch(info, container_id, config)
        return info

    async def cleanup(self, container_id: ContainerId) -> None:
        """Remove what ``prepare`` made. May come for containers that we never saw."""
        if self._scratch_dir is not None:
            await self._remove(self._scratch(container_id))

    def _limit(self, config: slave.ContainerConfig) -> int:
        for label in config.executor_info.labels.labels:
            if label.key != LABEL:
                continue
            # A framework wrote this: check it, and never take more than the operator allows.
            if not (label.value.isascii() and label.value.isdecimal() and int(label.value) > 0):
                raise IsolatorError(f"Label '{LABEL}' must be a positive number")
            return min(int(label.value), self._max_open_files)
        return self._max_open_files

    def _add_scratch(
        self,
        info: slave.ContainerLaunchInfo,
        container_id: ContainerId,
        config: slave.ContainerConfig,
    ) -> None:
        path = self._scratch(container_id)
        try:
            os.mkdir(path, 0o700)
            if config.HasField("user"):
                shutil.chown(path, config.user)
        except (OSError, LookupError) as error:
            raise IsolatorError(f"Failed to make the scratch directory: {error}") from error
        seen = path
        if self._binds and container_id.parent is None:
            # The sandbox is new and nobody's yet. That of a nested container is not: the container
            # around it runs, and could put a link where we want a mount point.
            seen = os.path.join(config.directory, "scratch")
            try:
                os.mkdir(seen)
            except OSError as error:
                raise IsolatorError(f"Failed to make the mount point: {error}") from error
            info.mounts.add(source=path, target=seen, flags=MS_BIND)
        info.environment.variables.add(name="SCRATCH", value=seen)

    def _scratch(self, container_id: ContainerId) -> str:
        assert self._scratch_dir is not None
        # The text of a nested id is "parent.child": one name, and never one with a slash.
        return os.path.join(self._scratch_dir, str(container_id))

    async def _remove(self, path: str) -> None:
        # Slow things belong in a thread: the event loop is that of the whole agent.
        try:
            await asyncio.to_thread(shutil.rmtree, path)
        except FileNotFoundError:
            pass
