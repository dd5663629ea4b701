# SPDX-License-Identifier: Apache-2.0
"""One container without an agent, from its order to its end."""

from __future__ import annotations

import asyncio
import math
import os
import stat
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from containerizer.api import Containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.base import Launcher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.launcher.systemd import SystemdConfig
from containerizer.linux import users
from containerizer.local.archives import archive_name
from containerizer.local.attached import AttachedLauncher, Attachment, DetachedHelpers
from containerizer.local.engine import create_launcher, open_engine
from containerizer.local.order import ContainerOrder, command_info, container_info
from containerizer.local.registry import Claim, LocalContainer, Record, Registry
from containerizer.loggers.rotation import MIN_BYTES
from containerizer.provisioner.config import ProvisionerConfig
from mesos_compat.base.errors import ContainerError, FlagError, ManifestError
from mesos_compat.base.metrics import Metrics
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_MB = 1 << 20
#: Images, limits, and a tree of processes of its own.
ISOLATION = "filesystem/linux,docker/runtime,appc/runtime,cgroups/cpu,cgroups/mem,namespaces/pid"
#: What is left of that without root.
UNPRIVILEGED_ISOLATION = "filesystem/posix,posix/cpu,posix/mem"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SANDBOX_MODE = 0o750
#: Cgroups of a container, one folder per container in each hierarchy.
_CGROUPS_ROOT = "mesos-compat-"
_LOGGER = "logrotate"
#: Begins no name of a variable: the environment of a container has no say in its logs.
_NO_VARIABLE = "="
DEFAULT_REGISTRY = "https://registry-1.docker.io"
DEFAULT_APPC_PREFIX = "http://"


class LocalRun:
    """A container that this process looks after. Use ``launch``; end it by ``end`` or ``leave``."""

    def __init__(
        self,
        registry: Registry,
        record: Record,
        claim: Claim,
        containerizer: Containerizer,
        stack: AsyncExitStack,
    ) -> None:
        self._registry = registry
        self.record = record
        self._claim = claim
        self._containerizer = containerizer
        self._stack = stack

    @classmethod
    async def launch(
        cls, registry: Registry, order: ContainerOrder, attachment: Attachment
    ) -> LocalRun:
        """Start a container; nothing is left of one that could not be started.

        Raises ContainerError.
        """
        root = os.geteuid() == 0
        _check(order, root)
        isolation = order.isolation or (ISOLATION if root else UNPRIVILEGED_ISOLATION)
        record, claim = registry.add(
            Record(
                id="",
                name=order.name,
                command=order.command,
                image=order.image,
                detached=order.detached,
                remove=order.remove,
                launcher="linux" if root else "posix",
                isolation=isolation,
                user=order.user,
                working_directory=order.working_directory,
            )
        )
        run: LocalRun | None = None
        try:
            run = await cls._opened(registry, record, claim, order, attachment)
            await run._containerizer.launch(
                record.container_id, _config(registry, record, order), {"PATH": _PATH}
            )
            return run
        except BaseException:
            if run is not None:
                await asyncio.shield(run.end())
            else:
                registry.remove(record.id)
                claim.release()
            raise

    @classmethod
    async def taken_over(cls, registry: Registry, container: LocalContainer) -> LocalRun:
        """Look after a container that nobody looks after any more. Raises ContainerError."""
        claim = registry.claim(container.record.id)
        order = ContainerOrder(container.record.command)
        try:
            return await cls._opened(registry, container.record, claim, order, Attachment())
        except BaseException:
            claim.release()
            raise

    @classmethod
    async def _opened(
        cls,
        registry: Registry,
        record: Record,
        claim: Claim,
        order: ContainerOrder,
        attachment: Attachment,
    ) -> LocalRun:
        """Open the container's engine."""
        stack = AsyncExitStack()
        try:
            for path in (registry.places.runtime(record.id), registry.places.work_dir(record.id)):
                os.makedirs(path, 0o755, exist_ok=True)
            spawner = Spawner(SpawnerConfig({}, quiet=True))
            stack.push_async_callback(spawner.close)
            config = engine_config(registry, record)
            if order.detached:
                config = replace(config, **_rotation(order))
            launcher: Launcher = create_launcher(config, spawner, SystemdConfig())
            stack.push_async_callback(launcher.close)
            containerizer = open_engine(
                config,
                _image_config(registry, record, order),
                AttachedLauncher(launcher, attachment),
                DetachedHelpers(spawner) if order.detached else spawner,
                Metrics(),
                stack,
            )
            await containerizer.recover([])
        except BaseException as error:
            await stack.aclose()
            if isinstance(error, FlagError | OSError):
                raise ContainerError(str(error)) from error
            raise
        return cls(registry, record, claim, containerizer, stack)

    async def wait(self) -> slave.ContainerTermination:
        """Return how the container ended; by then nothing of it runs any more."""
        ended = await self._containerizer.wait(self.record.container_id)
        return slave.ContainerTermination() if ended is None else ended

    async def kill(self, number: int) -> None:
        """Send a signal; ends the container if it does not run yet."""
        await self._containerizer.kill(self.record.container_id, number)

    async def usage(self) -> pb.ResourceStatistics:
        """Return what the container uses now."""
        return await self._containerizer.usage(self.record.container_id)

    async def leave(self) -> None:
        """Let the container go on without this process."""
        await self._stack.aclose()
        self._claim.release()

    async def end(self) -> None:
        """Destroy whatever is left of the container and forget it."""
        try:
            for container_id in self._containerizer.containers():
                if container_id.parent is None:
                    await self._containerizer.destroy(container_id)
            await self._stack.aclose()
            self._registry.remove(self.record.id)
        finally:
            await self._stack.aclose()
            self._claim.release()


def _check(order: ContainerOrder, root: bool) -> None:
    if not order.command and order.image is None:
        raise ContainerError("There is nothing to run: give a command, an image or both")
    if not root:
        wanted = (
            ("An image", order.image is not None),
            ("A volume", bool(order.volumes)),
            ("A limit of cpus", order.cpus is not None),
            ("A limit of memory", order.memory_bytes is not None),
            ("Another user", order.user is not None),
        )
        for what, asked in wanted:
            if asked:
                raise ContainerError(f"{what} needs root")
    if order.user is not None and users.identity_of(order.user) is None:
        raise ContainerError(f"There is no user '{order.user}' on this host")
    if order.log_files < 1 or order.log_bytes < MIN_BYTES:
        raise ContainerError(f"Output needs a file of at least {MIN_BYTES} bytes")
    for volume in order.volumes:
        if not os.path.lexists(volume.source):
            raise ContainerError(f"There is no '{volume.source}' to be mounted")


def engine_config(registry: Registry, record: Record) -> ContainerizerConfig:
    """Return the settings of the container's engine."""
    return ContainerizerConfig(
        work_dir=registry.places.work_dir(record.id),
        runtime_dir=registry.places.runtime(record.id),
        launcher=record.launcher,
        isolation=record.isolation,
        image_providers=_providers(record),
        cgroups_root=cgroups_root(record),
    )


def _rotation(order: ContainerOrder) -> dict[str, Any]:
    """Return the settings of an engine that keep output below a size."""
    parameters = [("environment_variable_prefix", _NO_VARIABLE)]
    for stream in ("stdout", "stderr"):
        parameters.append((f"max_{stream}_size", f"{order.log_bytes}B"))
        parameters.append((f"logrotate_{stream}_options", f"rotate {order.log_files - 1}"))
    return {"container_logger": _LOGGER, "parameters": {_LOGGER: tuple(parameters)}}


def _providers(record: Record) -> tuple[str, ...]:
    """Return the kinds of images that fit the container's isolation."""
    names = record.isolation.split(",")
    if "filesystem/linux" not in names:
        return ()
    return ("docker", "appc") if "docker/runtime" in names else ("appc",)


def cgroups_root(record: Record) -> str:
    """Return the cgroup that holds all of a container, relative to each hierarchy."""
    return record.cgroups_root or f"{_CGROUPS_ROOT}{record.id}"


def _image_config(registry: Registry, record: Record, order: ContainerOrder) -> ProvisionerConfig:
    folder = _folder(order) or order.registry
    docker = order.image_type == "docker"
    return ProvisionerConfig(
        work_dir=registry.places.work_dir(record.id),
        image_providers=_providers(record),
        docker_store_dir=os.path.join(registry.places.store, "docker"),
        docker_registry=folder if docker and folder else DEFAULT_REGISTRY,
        appc_store_dir=os.path.join(registry.places.store, "appc"),
        appc_simple_discovery_uri_prefix=(
            f"{folder}/" if folder and not docker else DEFAULT_APPC_PREFIX
        ),
        temporary_dir=os.environ.get("TMPDIR") or "/tmp",
        shared_stores=True,
    )


def _config(registry: Registry, record: Record, order: ContainerOrder) -> slave.ContainerConfig:
    config = slave.ContainerConfig(directory=_sandbox(registry, record, order))
    config.command_info.CopyFrom(command_info(order.command, order.environment))
    if order.user is not None:
        config.user = order.user
    image = None if order.image is None else _image_name(order)
    config.container_info.CopyFrom(container_info(replace(order, image=image)))
    memory = order.memory_bytes or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name, amount in (("cpus", order.cpus or 1.0), ("mem", memory / _MB)):
        config.resources.add(name=name, type=pb.Value.SCALAR).scalar.value = amount
    config.limits["cpus"].value = order.cpus or math.inf
    config.limits["mem"].value = memory / _MB if order.memory_bytes else math.inf
    return config


def _image_name(order: ContainerOrder) -> str:
    """Return the image as its store knows it."""
    assert order.image is not None
    folder = _folder(order)
    if folder is None or order.image_type != "docker":
        return order.image
    try:
        return archive_name(folder, order.image)
    except ManifestError as error:
        raise ContainerError(str(error)) from error


def _folder(order: ContainerOrder) -> str | None:
    """Return the folder of archives, if images come from one."""
    if order.registry is None or "://" in order.registry:
        return None
    return os.path.abspath(order.registry)


def _sandbox(registry: Registry, record: Record, order: ContainerOrder) -> str:
    path = registry.places.sandbox(record.id)
    try:
        os.makedirs(path, _SANDBOX_MODE)
        os.chmod(path, _SANDBOX_MODE & ~stat.S_IRWXO)
        identity = None if order.user is None else users.identity_of(order.user)
        if identity is not None:
            os.chown(path, identity.uid, identity.gid)
    except OSError as error:
        raise ContainerError(f"Failed to make the sandbox '{path}': {error.strerror}") from error
    return path
