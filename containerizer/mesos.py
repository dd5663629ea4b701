# SPDX-License-Identifier: Apache-2.0
"""The Mesos containerizer: a launch and a destroy are one straight coroutine each.

The launch runs in its caller's task, the destroy in a task of ours, so nobody's cancellation stops
it half-way. A destroy first makes the container DESTROYING; the launch notices after its current
step and gives up, and when it has let go of the container the destroy begins its duties.

Source: spec ``containerizer`` 3, 4, 10.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterable, Callable, Iterator, Mapping, Sequence

from containerizer import sandbox, usage
from containerizer.api import InputAnswer, LaunchOutcome, OutputStream
from containerizer.failures import checkpointing, prefixed
from containerizer.forking import InitForker
from containerizer.handle import ContainerHandle
from containerizer.isolators.caller import IsolatorCaller, NamedIsolator
from containerizer.isolators.context import ContainerizerConfig, no_images
from containerizer.launcher.base import Launcher
from containerizer.machine import DUTIES, Container, ContainerTable, Duties, State
from containerizer.merge import Parent, complete, merged
from containerizer.nested_sandboxes import NestedSandboxes
from containerizer.provisioner.base import Provisioner
from containerizer.recover import FoundContainer, found_containers
from containerizer.rundir import RuntimeDirectory
from containerizer.sandbox import SandboxCollector
from containerizer.switchboard.client import attach_input, attach_output
from containerizer.switchboard.isolator import NAME as SWITCHBOARD
from containerizer.switchboard.isolator import IOSwitchboard
from containerizer.switchboard.records import Encoding
from containerizer.volume_gids import VolumeGids
from containerizer.watch import Watcher
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError, ContainerError, FetchError, ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope, ScopeClosed
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


class MesosContainerizer:
    """All containers of one agent; implements ``api.Containerizer``.

    ``isolators`` are in order; the switchboard comes after them. Made by ``create.py``.
    ``fetched`` is called with the sandbox of each container when all its files are there, and
    raises nothing. ``sandboxes`` removes those of nested containers some time after their end.
    ``gids`` are those of volumes; what is in a sandbox has them no longer than the container.
    """

    def __init__(
        self,
        config: ContainerizerConfig,
        launcher: Launcher,
        provisioner: Provisioner | None,
        switchboard: IOSwitchboard,
        isolators: Sequence[NamedIsolator],
        metrics: Metrics,
        fetched: Callable[[ContainerId, str], None] | None = None,
        sandboxes: SandboxCollector | None = None,
        gids: VolumeGids | None = None,
    ) -> None:
        self._config = config
        self._fetched = fetched
        self._gids = gids
        self._launcher = launcher
        self._provisioner = provisioner
        self._switchboard = switchboard
        self._rundir = RuntimeDirectory(config.runtime_dir)
        self._table = ContainerTable()
        self._sandboxes = NestedSandboxes(self._table, sandboxes)
        self._forker = InitForker(launcher, switchboard, self._rundir, self._table)
        self._handles: dict[ContainerId, ContainerHandle] = {}
        #: Nested containers that have ended and whose sandbox is being removed.
        self._removing: set[ContainerId] = set()
        self._scope = Scope("containerizer")
        asked = (*isolators, NamedIsolator(SWITCHBOARD, switchboard))
        self._isolators = IsolatorCaller(asked, self._scope, self._table.is_standalone)
        self._watcher = Watcher(
            self._scope, launcher, self._isolators, self._ended, switchboard.settled
        )
        self._host = _host_size()
        self._destroy_errors = metrics.counter("containerizer/mesos/container_destroy_errors")
        self._fetches_failed = metrics.counter("containerizer/fetcher/task_fetches_failed")
        self._fetches_succeeded = metrics.counter("containerizer/fetcher/task_fetches_succeeded")

    @property
    def isolators(self) -> tuple[str, ...]:
        """Names of the isolators, in order."""
        return self._isolators.names[:-1]

    def check(self) -> None:
        """Raise InvariantError if the bookkeeping contradicts itself."""
        self._table.check()
        assert self._handles.keys() == self._table.ids()
        for handle in self._handles.values():
            going = handle.container.state is State.DESTROYING or self._scope.closed
            assert going or not handle.termination.done(), handle.container.id

    def pending(self) -> list[tuple[str, ContainerId | None]]:
        """Return the isolator calls that run now, as ``<isolator>::<verb>`` and container."""
        hidden = f"{SWITCHBOARD}::"
        return [call for call in self._isolators.pending() if not call[0].startswith(hidden)]

    # Recovery.

    async def recover(self, known: Sequence[slave.ContainerState]) -> None:
        """Take over what goes on, destroy the rest in the background; see ``api.Containerizer``.

        ``known`` are the containers of the agent's executors.
        """
        known = [state for state in known if not _is_docker(state)]
        try:
            self._rundir.sweep()
            found = found_containers(self._rundir, known, self._config.work_dir)
        except CheckpointError as error:
            raise ContainerError(f"Failed to recover containers: {error}") from error
        for entry in found:
            self._adopt(entry)
        states = [entry.state for entry in found if entry.state is not None]
        exited = frozenset(entry.container_id for entry in found if entry.exited)
        for container_id in sorted(await self._launcher.recover(states, exited), key=_by_depth):
            self._adopt_with_parents(container_id)
        going_on = {entry.container_id for entry in found if not entry.orphan}
        orphans = self._table.ids() - going_on
        await self._isolators.recover(
            [state for state in states if ContainerId.of(state.container_id) in going_on], orphans
        )
        if self._provisioner is not None:
            await self._provisioner.recover(self._table.ids())
        for container_id in self._rundir.ids():
            if container_id not in self._table:
                self._sandboxes.let_go(container_id)
        for handle in list(self._handles.values()):
            container = handle.container
            if container.id in going_on:
                log.info("Container %s recovered with pid %s", container.id, container.pid)
                handle.watch = self._watcher.start(container.id)
            elif container.id.parent not in orphans:
                log.info("Container %s is an orphan: destroying it", container.id)
                self._begin_destroy(handle, None)

    def _adopt(self, entry: FoundContainer) -> None:
        """Register a found container, whose parent is known."""
        handle = self._register(entry.container_id, entry.config, State.RUNNING)
        container = handle.container
        container.standalone = entry.standalone
        container.launch_info = entry.launch_info
        container.forked = True
        container.pid = entry.state.pid if entry.state is not None else None
        # An executor's are told by the agent once it is back.
        if entry.config is not None and (entry.standalone or container.id.parent is not None):
            container.requests = tuple(entry.config.resources)
            container.limits = {n: limit.value for n, limit in entry.config.limits.items()}
        handle.settled.set_result(None)

    def _adopt_with_parents(self, container_id: ContainerId) -> None:
        """Register an orphan of which only cgroups are left."""
        if container_id not in self._table:
            if container_id.parent is not None:
                self._adopt_with_parents(container_id.parent)
            self._adopt(FoundContainer(container_id))

    # Launch.

    async def launch(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None = None,
    ) -> LaunchOutcome:
        """Launch a container; see ``api.Containerizer``."""
        # Before all checks, which hold until the container is registered.
        await self._sandboxes.settled(container_id)
        if container_id in self._table:
            return LaunchOutcome.ALREADY_LAUNCHED
        if config.HasField("container_info") and (
            config.container_info.type != pb.ContainerInfo.MESOS
        ):
            return LaunchOutcome.NOT_SUPPORTED
        completed = slave.ContainerConfig()
        completed.CopyFrom(config)
        parent = self._table.parent_of_new(container_id)
        if parent is not None:
            self._complete_nested(container_id, completed, parent, pid_checkpoint_path)
        handle = self._register(container_id, completed, State.PROVISIONING)
        try:
            await self._launch(handle, completed, environment, pid_checkpoint_path)
        finally:
            self._switchboard.drop_io(container_id)
            handle.settled.set_result(None)
        return LaunchOutcome.SUCCESS

    def _complete_nested(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        parent: Container,
        pid_checkpoint_path: str | None,
    ) -> None:
        """Fill in what a nested container has from those around it; make its sandbox."""
        if config.HasField("task_info") or config.HasField("executor_info"):
            raise ContainerError("Nested containers may not supply a TaskInfo/ExecutorInfo")
        if pid_checkpoint_path is not None:
            raise ContainerError("Nested containers may not be checkpointed")
        if container_id in self._removing:
            raise ContainerError(f"Container {container_id} is being removed")
        root = self._table.get(container_id.root)
        if root is None or root.config is None or not root.config.directory:
            raise ContainerError(
                f"Unexpected empty sandbox directory for root container {container_id.root}"
            )
        inherited = parent.config
        if not config.HasField("user") and inherited is not None and inherited.HasField("user"):
            config.user = inherited.user
        user = config.user if config.HasField("user") else None
        self._sandboxes.keep(container_id)
        config.directory = sandbox.make_nested(root.config.directory, container_id, user)
        if root.config.HasField("executor_info"):
            config.executor_info.CopyFrom(root.config.executor_info)

    async def _launch(
        self,
        handle: ContainerHandle,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None,
    ) -> None:
        container = handle.container
        self._make_runtime_directory(container, config)
        if config.command_info.uris:
            self._fetches_failed.increment()
            raise FetchError(
                f"Failed to fetch all URIs for container '{container.id}':"
                " this agent cannot fetch yet"
            )
        if config.container_info.mesos.HasField("image"):
            await self._provision(handle, config)
        with checkpointing("Could not checkpoint container's configuration"):
            self._rundir.write_config(container.id, config)

        self._enter(container, State.PREPARING)
        infos = await self._isolators.prepare(container.id, config)
        handle.go_on("preparing")
        container.launch_info = self._complete(container, config, infos, environment)
        with checkpointing("Could not checkpoint container's launch information"):
            self._rundir.write_launch_info(container.id, container.launch_info)
        forked = await self._forker.fork(container)
        try:
            handle.go_on("preparing")
            self._checkpoint_pid(container, forked.pid, pid_checkpoint_path)
            handle.watch = self._watcher.start(container.id)

            self._enter(container, State.ISOLATING)
            await asyncio.sleep(0)  # every watch has begun
            await self._isolators.isolate(container.id, forked.pid)
            handle.go_on("isolating")

            self._enter(container, State.FETCHING)
            if self._fetched is not None:
                self._fetched(container.id, config.directory)
            forked.release()
        finally:
            forked.abort()  # without effect once it is released
        self._enter(container, State.RUNNING)
        log.info("Container %s launched with pid %d", container.id, forked.pid)

    def _make_runtime_directory(self, container: Container, config: slave.ContainerConfig) -> None:
        directory = self._rundir.path(container.id)
        with checkpointing(f"Failed to make the containerizer runtime directory '{directory}'"):
            self._rundir.make(container.id)
            if container.debug:
                self._rundir.mark_force_destroy(container.id)
            if container.id.parent is None and not (
                config.HasField("task_info") or config.HasField("executor_info")
            ):
                container.standalone = True
                self._rundir.mark_standalone(container.id)

    async def _provision(self, handle: ContainerHandle, config: slave.ContainerConfig) -> None:
        image = config.container_info.mesos.image
        container_id = handle.container.id
        provision = no_images if self._provisioner is None else self._provisioner.provision
        log.info("Container %s: provisioning image '%s'", container_id, _image_name(image))
        info = await handle.interruptible(provision(container_id, image))
        handle.go_on("provisioning")
        if info.docker_manifest is not None and info.appc_manifest is not None:
            raise ProvisionError("Container cannot have both Docker and Appc manifests")
        config.rootfs = info.rootfs
        config.ephemeral_volumes.extend(info.ephemeral_volumes)
        if info.docker_manifest is not None:
            config.docker.manifest.CopyFrom(info.docker_manifest)
        if info.appc_manifest is not None:
            config.appc.manifest.CopyFrom(info.appc_manifest)

    def _complete(
        self,
        container: Container,
        config: slave.ContainerConfig,
        infos: Sequence[slave.ContainerLaunchInfo],
        environment: Mapping[str, str],
    ) -> slave.ContainerLaunchInfo:
        parent = None
        if container.debug and container.id.parent is not None:
            outer = self._table.get(container.id.parent)
            if outer is not None and outer.config is not None and outer.launch_info is not None:
                parent = Parent(outer.config, outer.launch_info)
        asked = merged(infos)
        info = complete(asked, config, environment, self._config.sandbox_directory, parent)
        if asked.HasField("working_directory") and not config.HasField("rootfs"):
            log.warning(
                "Container %s: ignoring the working directory '%s', there is no image",
                container.id,
                asked.working_directory,
            )
        return info

    def _checkpoint_pid(
        self, container: Container, pid: int, pid_checkpoint_path: str | None
    ) -> None:
        """Write init's pid: first where the agent's recovery looks, then in our directory.

        A pid that only we have tells a later agent that its own directory was wiped.
        """
        if pid_checkpoint_path is not None:
            with checkpointing("Could not checkpoint container's pid"):
                checkpoint.write_text(pid_checkpoint_path, str(pid))
        path = os.path.join(self._rundir.path(container.id), "pid")
        with checkpointing(f"Failed to checkpoint the container pid to '{path}'"):
            self._rundir.write_pid(container.id, pid)
        container.pid = pid

    # Destroy.

    async def destroy(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None = None
    ) -> slave.ContainerTermination | None:
        """Destroy a container and all nested in it; see ``api.Containerizer``."""
        handle = self._handles.get(container_id)
        if handle is None:
            return await self.wait(container_id)
        self._begin_destroy(handle, termination)
        return await asyncio.shield(handle.termination)

    def _ended(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None
    ) -> None:
        handle = self._handles.get(container_id)
        if handle is not None:
            self._begin_destroy(handle, termination, asked=False)

    def _begin_destroy(
        self,
        handle: ContainerHandle,
        termination: slave.ContainerTermination | None,
        *,
        asked: bool = True,
    ) -> None:
        """Start the destroy unless one runs; the container is DESTROYING when this returns.

        A closed containerizer touches nothing any more; whoever waits was told. One that was
        ``asked`` for is not held up for readers who have not come yet.
        """
        container = handle.container
        if asked and not self._scope.closed:
            self._switchboard.expect_nobody(container.id)
        if container.state is State.DESTROYING or self._scope.closed:
            return
        duties = DUTIES[container.state]
        self._enter(container, State.DESTROYING)
        if duties.interrupt:
            handle.interrupt()
        self._scope.spawn(self._destroy(handle, duties, termination), f"destroy {container.id}")

    async def _destroy(
        self,
        handle: ContainerHandle,
        duties: Duties,
        given: slave.ContainerTermination | None,
    ) -> None:
        container = handle.container
        try:
            await self._destroy_parts(handle, duties, given)
            termination = self._termination(container, given)
            self._forget_on_disk(container, termination)
        except ContainerError as error:
            self._destroy_errors.increment()
            log.error("Container %s: %s", container.id, error)
            handle.termination.set_exception(error)
            return
        except BaseException:
            unfinished = ContainerError(f"The destroy of container {container.id} did not end")
            handle.termination.set_exception(unfinished)
            raise
        self._table.remove(container)
        del self._handles[container.id]
        log.info("Container %s destroyed", container.id)
        handle.termination.set_result(termination)

    async def _destroy_parts(
        self,
        handle: ContainerHandle,
        duties: Duties,
        given: slave.ContainerTermination | None,
    ) -> None:
        container = handle.container
        await self._destroy_children(container, given)
        await handle.settled
        if handle.watch is not None:
            await handle.watch.stop()
        if container.pid is not None and self._rundir.exists(container.id):
            # Whoever finds it from now on goes on destroying it: it may be frozen, or half dead.
            with contextlib.suppress(CheckpointError):
                self._rundir.mark_force_destroy(container.id)
        if duties.kill and container.forked:
            with prefixed("Failed to kill all processes in the container"):
                await self._launcher.destroy(container.id)
        if self._gids is not None and container.config is not None and container.config.directory:
            with prefixed("Failed to deallocate gid when destroying container"):
                await self._gids.deallocate(container.config.directory)
        if duties.isolators:
            failures = await self._isolators.cleanup(container.id)
            if failures:
                raise ContainerError(
                    "Failed to clean up an isolator when destroying container: "
                    + "; ".join(failures)
                )
        if self._provisioner is not None:
            with prefixed("Failed to destroy the provisioned rootfs when destroying container"):
                await self._provisioner.destroy(container.id)

    async def _destroy_children(
        self, container: Container, given: slave.ContainerTermination | None
    ) -> None:
        children = [self._handles[child] for child in sorted(container.children, key=str)]
        if not children:
            return
        for child in children:
            self._begin_destroy(child, given)
        await asyncio.wait([child.termination for child in children])
        failures = [str(e) for child in children if (e := child.termination.exception())]
        if failures:
            raise ContainerError(f"Failed to destroy nested containers: {'; '.join(failures)}")

    def _termination(
        self, container: Container, given: slave.ContainerTermination | None
    ) -> slave.ContainerTermination:
        made = slave.ContainerTermination()
        if given is not None:
            made.CopyFrom(given)
            made.ClearField("status")
        if container.pid is not None:
            try:
                status = self._rundir.read_wait_status(container.id)
                if status is not None:
                    made.status = status
            except CheckpointError as error:
                log.warning("Container %s: unknown exit status: %s", container.id, error)
        return made

    def _forget_on_disk(
        self, container: Container, termination: slave.ContainerTermination
    ) -> None:
        try:
            if container.id.parent is None:
                self._rundir.remove(container.id)
            elif self._rundir.exists(container.id):
                self._rundir.write_termination(container.id, termination)
        except CheckpointError as error:
            log.error("Container %s: %s", container.id, error)
        self._sandboxes.let_go(container.id)

    # The rest.

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        """Set the resources of a top-level container; see ``api.Containerizer``."""
        if container_id.parent is not None:
            raise ContainerError("Not supported for nested containers")
        container = self._table.get(container_id)
        if container is None or container.state is State.DESTROYING:
            log.warning("Ignoring the update of container %s: it is going or gone", container_id)
            return
        container.requests = tuple(requests)
        container.limits = dict(limits)
        await self._isolators.update(container_id, container.requests, container.limits)

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics:
        """Return what the container uses now."""
        container = self._table.get(container_id)
        if container is None:
            raise ContainerError(f"Unknown container {container_id}")
        measured = await self._isolators.usage(container_id)
        return usage.statistics(
            measured,
            time.time(),
            container.requests,
            container.limits,
            self._host,
            self._config.cgroups_enable_cfs,
        )

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus:
        """Return id, init's pid, networks and cgroups of the container."""
        if container_id not in self._table:
            raise ContainerError(f"Unknown container: {container_id}")
        parts = await self._isolators.status(container_id)
        return usage.status(container_id, parts, self._launcher.pid(container_id))

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        """Return how the container ended once it is gone; ``None`` if it is unknown."""
        handle = self._handles.get(container_id)
        if handle is not None:
            return await asyncio.shield(handle.termination)
        if container_id.parent is None:
            return None
        try:
            return self._rundir.read_termination(container_id)
        except CheckpointError as error:
            raise ContainerError(str(error)) from error

    async def kill(self, container_id: ContainerId, signal: int) -> bool:
        """Send ``signal`` to init, which forwards it; ``False`` if the container is unknown.

        A container without a process yet is destroyed instead.
        """
        handle = self._handles.get(container_id)
        if handle is None:
            return False
        if handle.container.pid is None:
            self._begin_destroy(handle, None)
        elif handle.container.state is not State.DESTROYING:
            try:
                self._launcher.signal(container_id, signal)
            except OSError as error:
                raise ContainerError(
                    f"Unable to send signal to container: {error.strerror}"
                ) from error
        return True

    def containers(self) -> frozenset[ContainerId]:
        """Return the ids of all containers, nested and dying ones included."""
        return self._table.ids()

    def is_standalone(self, container_id: ContainerId) -> bool:
        """Whether a known container, or the one it is nested in, has no executor."""
        return self._table.is_standalone(container_id)

    async def attach_output(self, container_id: ContainerId, media_type: str) -> OutputStream:
        """Attach to the output of a container; see ``api.Containerizer``."""
        address = await self._switchboard_address(container_id)
        return await attach_output(address, container_id, Encoding(media_type))

    async def attach_input(
        self, container_id: ContainerId, media_type: str, calls: AsyncIterable[bytes]
    ) -> InputAnswer:
        """Send input to a container; see ``api.Containerizer``."""
        address = await self._switchboard_address(container_id)
        encoding = Encoding(media_type)
        return await attach_input(address, container_id, calls, encoding)

    async def _switchboard_address(self, container_id: ContainerId) -> str:
        if container_id not in self._table:
            raise ContainerError(f"Unknown container {container_id}")
        return await self._switchboard.address(container_id)

    async def remove(self, container_id: ContainerId) -> None:
        """Remove sandbox and runtime directory of a nested container that has ended."""
        if container_id.parent is None:
            raise ContainerError("Only nested containers can be removed")
        if container_id in self._table:
            raise ContainerError("Nested container has not terminated yet")
        root = self._table.get(container_id.root)
        if root is None or root.config is None:
            raise ContainerError("Unknown root container")
        if container_id in self._removing:
            raise ContainerError(f"Container {container_id} is being removed")
        self._removing.add(container_id)
        self._sandboxes.keep(container_id)
        removing = self._remove(container_id, root.config.directory)
        try:
            failure = await asyncio.shield(self._scope.spawn(removing, f"remove {container_id}"))
        except ScopeClosed as error:
            raise ContainerError("The containerizer is closed") from error
        if failure is not None:
            raise failure

    async def _remove(self, container_id: ContainerId, root_sandbox: str) -> ContainerError | None:
        """Remove what is left of a nested container; return what went wrong.

        Its sandbox may be large.
        """
        try:
            self._rundir.remove(container_id)
            await self._sandboxes.settled(container_id)
            await asyncio.to_thread(sandbox.remove_nested, root_sandbox, container_id)
        except CheckpointError as error:
            return ContainerError(f"Failed to remove the runtime directory: {error}")
        except ContainerError as error:
            return error
        finally:
            self._removing.discard(container_id)
        return None

    async def prune_images(self, excluded: Sequence[pb.Image]) -> None:
        """Remove cached images that no container uses and that nobody wants kept."""
        if self._provisioner is None:
            return
        images = [*excluded, *self._config.kept_images]
        for container in self._table:
            if container.config is None:
                raise ContainerError(
                    f"Container {container.id} does not have ContainerConfig checkpointed."
                    " Image pruning is disabled"
                )
            images += _images(container.config)
        await self._provisioner.prune(images)

    async def close(self) -> None:
        """Stop watching and destroying, and let go of the launcher. Containers go on running; if
        there are none, the host is as it was before.

        Who still waits for one gets a ContainerError.
        """
        await self._scope.close()
        for handle in self._handles.values():
            if not handle.termination.done():
                handle.termination.set_exception(ContainerError("The containerizer is closed"))
        if not self._handles:
            self._isolators.close()
        await self._launcher.close()

    # Bookkeeping.

    def _register(
        self, container_id: ContainerId, config: slave.ContainerConfig | None, state: State
    ) -> ContainerHandle:
        container = Container(container_id, state, time.monotonic(), config)
        if config is not None and state is State.PROVISIONING:
            container.requests = tuple(config.resources)
            container.limits = {name: limit.value for name, limit in config.limits.items()}
            self._log(container, "Container %s: %s", container_id, state.name.lower())
        handle = ContainerHandle(container)
        self._table.add(container)
        self._handles[container_id] = handle
        return handle

    def _enter(self, container: Container, state: State) -> None:
        before = container.state
        spent_s = self._table.enter(container, state, time.monotonic())
        names = before.name.lower(), state.name.lower()
        self._log(container, "Container %s: %s → %s (%.3fs)", container.id, *names, spent_s)

    def _log(self, container: Container, text: str, *args: object) -> None:
        """Log a life-cycle step; sessions and checks come too often for INFO."""
        log.log(logging.DEBUG if container.debug else logging.INFO, text, *args)


def _is_docker(state: slave.ContainerState) -> bool:
    """Whether the container is one of another containerizer."""
    executor = state.executor_info
    return executor.HasField("container") and executor.container.type != pb.ContainerInfo.MESOS


def _by_depth(container_id: ContainerId) -> tuple[int, str]:
    return len(container_id.path), str(container_id)


def _images(config: slave.ContainerConfig) -> Iterator[pb.Image]:
    if config.container_info.mesos.HasField("image"):
        yield config.container_info.mesos.image
    for volume in config.container_info.volumes:
        if volume.HasField("image"):
            yield volume.image


def _image_name(image: pb.Image) -> str:
    return image.appc.name if image.type == pb.Image.APPC else image.docker.name


def _host_size() -> usage.HostSize:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return usage.HostSize(os.cpu_count() or 1, memory)
