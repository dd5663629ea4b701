# SPDX-License-Identifier: Apache-2.0
"""``appc/runtime``: command, environment and working directory of an AppC image.

With ``--appc_extensions`` also what upstream's agent ignores: users, variables that the
specification demands, mount points, and rights that the image gives up. Event handlers are only
mentioned in the log, limits of resources are those of the task.

Source: spec ``images`` 10.3, 12.2 … 12.5.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from containerizer.isolators import volumes
from containerizer.isolators.appc_rights import HONOURED, NO_NEW_PRIVILEGES, no_new_privileges
from containerizer.isolators.base import Isolator, is_debug
from containerizer.isolators.context import IsolatorContext, no_app
from containerizer.isolators.docker_runtime import become, names_user, runtime_info
from containerizer.isolators.image_user import appc_user
from containerizer.linux import users
from containerizer.linux.mount import MS_BIND, MS_RDONLY, MS_REC
from containerizer.provisioner.appc_details import AppcApp
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

#: Directory of a sandbox with what is mounted where the image wants a mount and no volume is.
MOUNTS = ".appc-mounts"


class AppcRuntimeIsolator(Isolator):
    """Reads the ``app`` section of the image's manifest; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    def __init__(
        self,
        extensions: frozenset[str] = frozenset(),
        appc_app: Callable[[ContainerId], AppcApp | None] = no_app,
        sandbox_directory: str = "/mnt/mesos/sandbox",
        *,
        capabilities: bool = False,
    ) -> None:
        """``capabilities`` says whether another isolator takes away what the image gives up."""
        self._extensions = extensions
        self._appc_app = appc_app
        self._sandbox_directory = sandbox_directory
        self._honoured = HONOURED if capabilities else frozenset({NO_NEW_PRIVILEGES})
        if "isolators" not in extensions:
            self._honoured = frozenset()

    @classmethod
    def create(cls, context: IsolatorContext) -> AppcRuntimeIsolator:
        """Make the isolator; there is nothing to refuse."""
        config = context.config
        return cls(
            config.appc_extensions,
            context.appc_app,
            config.sandbox_directory,
            capabilities="linux/capabilities" in context.isolation,
        )

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return what the image says; nothing without an AppC image or without ``app``."""
        if not config.HasField("container_info"):
            return None
        if config.container_info.type != pb.ContainerInfo.MESOS:
            raise IsolatorError("Can only prepare Appc runtime for a MESOS container")
        if not config.HasField("appc") or not config.appc.manifest.HasField("app"):
            return None
        app = config.appc.manifest.app
        environment = [
            pb.Environment.Variable(name=entry.name, value=entry.value) for entry in app.environment
        ]
        if "environment" in self._extensions:
            environment = [*_demanded(config.appc.manifest.name), *environment]
        info = runtime_info(config, environment, app.workingDirectory, (), app.exec)
        more = self._appc_app(container_id)
        if more is not None and not is_debug(config):
            await self._extend(info, container_id, config, more)
        return info

    async def _extend(
        self,
        info: slave.ContainerLaunchInfo,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        app: AppcApp,
    ) -> None:
        ignored = [name for name in app.isolators if name not in self._honoured]
        known = users.identity_of(config.user) if config.HasField("user") else None
        owner = None if known is None else (known.uid, known.gid)
        honoured = "user" in self._extensions and app.user != "" and bool(config.rootfs)
        if honoured and not names_user(config):
            found = await asyncio.to_thread(
                appc_user, config.rootfs, app.user, app.group, app.supplementary_gids
            )
            log.info("Container %s: user %d, as its image says", container_id, found.uid)
            if await become(info, container_id, config, found):
                owner = (found.uid, found.gid)
        elif not honoured and app.user not in ("", "0", "root"):
            ignored.append(f"user '{app.user}'")
        ignored += [f"event handler '{name}'" for name in app.event_handlers]
        if ignored:
            log.warning(
                "Container %s: not honoured of its image: %s", container_id, ", ".join(ignored)
            )
        if NO_NEW_PRIVILEGES in self._honoured and no_new_privileges(app.isolators):
            log.info("Container %s: no new privileges, as its image says", container_id)
            info.no_new_privileges = True
        if "mount_points" in self._extensions:
            self._mount(info, container_id, config, app, owner)

    def _mount(
        self,
        info: slave.ContainerLaunchInfo,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        app: AppcApp,
        owner: tuple[int, int] | None,
    ) -> None:
        """Mount an empty directory at each mount point that no volume is at, or below of."""
        taken = [_parts(volume.container_path) for volume in config.container_info.volumes]
        for number, point in enumerate(app.mount_points):
            parts = _parts(point.path)
            if any(each[: len(parts)] == parts for each in taken):
                continue
            taken.append(parts)
            log.info(
                "Container %s: an empty directory is at the mount point '%s' of its image",
                container_id,
                point.path,
            )
            path = os.path.join(MOUNTS, str(number))
            volumes.make_source(container_id, config.directory, path, owner)
            target = volumes.mount_target(
                container_id, config, point.path, self._sandbox_directory, directory=True
            )
            flags = MS_BIND | MS_REC | (MS_RDONLY if point.read_only else 0)
            source = os.path.join(config.directory, path)
            info.mounts.add(source=source, target=target, flags=flags)


def _demanded(image: str) -> list[pb.Environment.Variable]:
    """Return variables that an app can rely on; the image and the task may change them."""
    name = image.rpartition("/")[2]
    pairs = (("AC_APP_NAME", name), ("container", "mesos"))
    return [pb.Environment.Variable(name=name, value=value) for name, value in pairs]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
