# SPDX-License-Identifier: Apache-2.0
"""The launcher without cgroups and namespaces: processes are found by following the tree.

Source: spec ``containerizer`` 6.2.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
from collections.abc import Collection, Iterable, Sequence
from time import monotonic

from containerizer.init.spawner import SpawnRequest
from containerizer.launcher.base import ForkRequest
from containerizer.launcher.spawn import SpawnedInit, Spawner
from containerizer.launcher.systemd import Systemd
from containerizer.launcher.tracked import TrackedInit
from containerizer.linux import proc
from containerizer.linux.proc import ProcessStat
from mesos_compat.base.errors import LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Seconds in which killed processes have to be gone.
_KILL_S = 60.0
#: A tree that keeps growing is stopped this many times before the kill.
_ROUNDS = 100


class PosixLauncher:
    """Starts inits in sessions of their own; kills trees. Implements Launcher.

    What leaves its session and its parents behind survives: only ``LinuxLauncher`` finds it.
    """

    def __init__(self, spawner: Spawner, systemd: Systemd | None = None) -> None:
        """With ``systemd`` containers outlive the agent's service."""
        self._spawner = spawner
        #: Cgroups of inits and of helper programs.
        self.helper_cgroups: tuple[str, ...] = () if systemd is None else systemd.helper_cgroups
        self._inits: dict[ContainerId, TrackedInit] = {}

    async def recover(
        self, states: Sequence[slave.ContainerState], exited: Collection[ContainerId] = ()
    ) -> frozenset[ContainerId]:
        """Adopt the containers of ``states``; there are never orphans."""
        pids: set[int] = set()
        for state in states:
            container_id = ContainerId.of(state.container_id)
            if container_id in exited:
                self._inits[container_id] = TrackedInit.gone(state.pid)
                continue
            if state.pid in pids:
                raise LaunchError(
                    f"Detected duplicate pid {state.pid} for container {container_id}"
                )
            pids.add(state.pid)
            self._inits[container_id] = TrackedInit.recovered(state.pid)
        return frozenset()

    async def fork(self, container_id: ContainerId, request: ForkRequest) -> SpawnedInit:
        """Start the init of a new container."""
        if container_id in self._inits:
            raise LaunchError(f"Process has already been forked for container {container_id}")
        if request.enter_namespaces or request.namespace_mnt_target is not None:
            raise LaunchError("Subprocess launcher does not support entering namespaces")
        if request.clone_namespaces:
            raise LaunchError("Subprocess launcher does not support cloning namespaces")
        init = await self._spawner.fork(
            SpawnRequest(
                request.runtime_directory,
                cgroups=self.helper_cgroups,
                terminal=request.launch_info.HasField("tty_slave_path"),
                program=self._spawner.program(request.launch_info),
                sandbox=request.sandbox,
            ),
            request.document(),
            request.stdio,
        )
        self._inits[container_id] = TrackedInit(init.pid, init.pidfd, init)
        return init

    async def wait(self, container_id: ContainerId) -> None:
        """Return when the container's init has exited."""
        init = self._inits.get(container_id)
        if init is None:
            raise LaunchError(f"Unknown container {container_id}")
        await init.wait()

    async def destroy(self, container_id: ContainerId) -> None:
        """Kill the tree of the container's init."""
        init = self._inits.get(container_id)
        if init is None:
            log.warning("Ignored destroy for unknown container %s", container_id)
            return
        deadline = monotonic() + _KILL_S
        killed = kill_tree(init.pid, gone=init.exited)
        await init.wait_gone(killed, deadline - monotonic())
        self._inits.pop(container_id).close()

    def pid(self, container_id: ContainerId) -> int | None:
        """Return the pid of the container's init; ``None`` if it is unknown."""
        init = self._inits.get(container_id)
        return None if init is None else init.pid

    def signal(self, container_id: ContainerId, number: int) -> None:
        """Send a signal to the container's init. Raises OSError."""
        init = self._inits.get(container_id)
        if init is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        init.signal(number)

    async def close(self) -> None:
        """Let go of the spawner; containers go on running."""
        for init in self._inits.values():
            init.close()
        await self._spawner.close()


def kill_tree(root: int, *, gone: bool) -> list[ProcessStat]:
    """Stop, kill and continue all that hangs on ``root`` by parent, group or session.

    If ``root`` has exited (``gone``), its group and session are the start, as far as they are
    left. Returns what was killed.
    """
    stopped: dict[int, ProcessStat] = {}
    for _ in range(_ROUNDS):
        found = _tree(root, gone, list(proc.all_stats()))
        fresh = [entry for entry in found if entry.pid not in stopped]
        if not fresh:
            break
        for entry in fresh:
            stopped[entry.pid] = entry
            _signal(entry.pid, signal.SIGSTOP)
    for number in (signal.SIGKILL, signal.SIGCONT):
        for pid in stopped:
            _signal(pid, number)
    return list(stopped.values())


def _tree(root: int, gone: bool, stats: Sequence[ProcessStat]) -> list[ProcessStat]:
    """Find the processes of a tree in a snapshot."""
    alive = [entry for entry in stats if entry.state not in "ZX" and entry.pid != os.getpid()]
    by_pid = {entry.pid: entry for entry in alive}
    if gone and root in by_pid:
        # Another process has got the number, so no group or session of that name was left.
        return []
    if root not in by_pid:
        start = [e for e in alive if e.pid != root and root in (e.group, e.session)]
        excluded: tuple[int, int] = (0, 0)
    else:
        start = [by_pid[root]]
        parent = next((e for e in stats if e.pid == by_pid[root].parent), None)
        excluded = (parent.group, parent.session) if parent else (0, 0)
    return _closure(start, alive, excluded)


def _closure(
    start: Iterable[ProcessStat], alive: Sequence[ProcessStat], excluded: tuple[int, int]
) -> list[ProcessStat]:
    found = {entry.pid: entry for entry in start}
    while True:
        groups = {entry.group for entry in found.values()} - {excluded[0], 0}
        sessions = {entry.session for entry in found.values()} - {excluded[1], 0}
        more = [
            entry
            for entry in alive
            if entry.pid not in found
            and (entry.parent in found or entry.group in groups or entry.session in sessions)
        ]
        if not more:
            return list(found.values())
        found.update((entry.pid, entry) for entry in more)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
