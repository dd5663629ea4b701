# SPDX-License-Identifier: Apache-2.0
"""``linux/seccomp``: which system calls a container may make.

A profile is translated once for each set of capabilities that a container with it has, and the
filters are left in the runtime directory, where the containerizer takes them from when it forks.

Source: spec ``isolators-resources`` 13.
Deviation: a session without a profile of its own has that of the container it is in; a profile has
to be below ``--seccomp_config_dir``; capability filters of a command task with an image see the
task's capabilities, not those of its executor.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import stat
from collections.abc import Callable
from typing import TypeVar

from containerizer.init import seccomp as filters
from containerizer.init.seccomp import Filters
from containerizer.isolators import seccomp_profile
from containerizer.isolators.base import Isolator, is_command_task, is_debug
from containerizer.isolators.context import IsolatorContext
from containerizer.isolators.linux_capabilities import CapabilitiesIsolator
from containerizer.linux import caps, seccomp
from containerizer.linux.seccomp import Profile, SeccompError
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_K = TypeVar("_K")
_V = TypeVar("_V")

_FILTERS = "seccomp_filters"
#: Profiles are tens of kilobytes long.
_MAX_BYTES = 1 << 20
#: Kept profiles and translations.
_MAX_KEPT = 64


class _Profiles:
    """The profiles of a directory, parsed and translated once as long as they stay the same."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._parsed: dict[bytes, Profile] = {}
        self._translated: dict[tuple[Profile, int], Filters] = {}

    def read(self, name: str) -> Profile:
        """Return the profile of that name. Raises IsolatorError."""
        path = os.path.join(self._directory, name)
        what = f"Failed to read Seccomp profile file '{path}'"
        if name.startswith("/") or "\0" in name or ".." in name.split("/"):
            raise IsolatorError(f"{what}: It is not in '{self._directory}'")
        try:
            text = _content(path)
        except OSError as error:
            raise IsolatorError(f"{what}: {error.strerror}") from error
        profile = self._parsed.get(text)
        if profile is None:
            try:
                profile = seccomp_profile.parse(text)
            except SeccompError as error:
                raise IsolatorError(f"Failed to parse Seccomp profile '{path}': {error}") from error
            _keep(self._parsed, text, profile)
        return profile

    async def filters(self, profile: Profile, bounding: int) -> Filters:
        """Return its translation. Raises IsolatorError."""
        key = profile, bounding
        made = self._translated.get(key)
        if made is None:
            try:
                made = await asyncio.to_thread(filters.translate, profile, bounding)
            except SeccompError as error:
                raise IsolatorError(f"Failed to create Seccomp filter: {error}") from error
            _keep(self._translated, key, made)
        return made


class SeccompIsolator(Isolator):
    """Reads profiles and translates them."""

    supports_nesting = True
    supports_standalone = True

    def __init__(
        self,
        directory: str,
        default: str | None,
        capabilities: CapabilitiesIsolator | None,
        container_directory: Callable[[ContainerId], str],
        container_config: Callable[[ContainerId], slave.ContainerConfig | None],
    ) -> None:
        """Take the profile ``default`` of ``directory`` for who names none."""
        self._profiles = _Profiles(directory)
        self._capabilities = capabilities
        self._container_directory = container_directory
        self._container_config = container_config
        self._default = None if default is None else self._profiles.read(default)

    @classmethod
    def create(cls, context: IsolatorContext) -> SeccompIsolator:
        """Make the isolator; needs root, the kernel's support, libseccomp and a directory."""
        if os.geteuid() != 0:
            raise IsolatorError("Linux Seccomp isolator requires root permissions")
        if not seccomp.supported():
            raise IsolatorError("Seccomp is not supported by the kernel")
        if not context.config.seccomp_config_dir:
            raise IsolatorError("Missing required `--seccomp_config_dir` flag")
        try:
            seccomp.native_architecture()
        except SeccompError as error:
            raise IsolatorError(str(error)) from error
        restricts = "linux/capabilities" in context.isolation
        return cls(
            context.config.seccomp_config_dir,
            context.config.seccomp_profile_name or None,
            CapabilitiesIsolator.create(context) if restricts else None,
            context.container_directory,
            context.container_config,
        )

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return the profile, and leave its translation in the runtime directory."""
        profile = await self._profile(container_id, config)
        if profile is None:
            return None
        bounding = self._bounding(config.container_info.linux_info)
        made = await self._profiles.filters(profile, bounding)
        # The task enters the image after its executor has begun, and the filter could forbid it.
        by_program = is_command_task(config) and config.HasField("rootfs")
        _leave(
            self._container_directory(container_id),
            dataclasses.replace(made, by_program=by_program),
        )
        return slave.ContainerLaunchInfo(seccomp_profile=seccomp_profile.message(profile))

    async def _profile(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> Profile | None:
        asked = config.container_info.linux_info
        parent = container_id.parent
        if not asked.HasField("seccomp") and is_debug(config) and parent is not None:
            outer = self._container_config(parent)
            if outer is not None:
                return await self._profile(parent, outer)
        if not asked.HasField("seccomp"):
            return self._default
        info = asked.seccomp
        if info.unconfined and info.HasField("profile_name"):
            raise IsolatorError(
                "Invalid Seccomp configuration: 'profile_name' given even though 'unconfined'"
                " Seccomp setting is enabled"
            )
        if info.unconfined:
            return None
        if not info.HasField("profile_name"):
            raise IsolatorError("Missing Seccomp profile name")
        return await asyncio.to_thread(self._profiles.read, info.profile_name)

    def _bounding(self, asked: pb.LinuxInfo) -> int:
        """Return the bounding set that the container's command will have."""
        own = caps.get(caps.last()).bounding
        if self._capabilities is None:
            return own
        _, bounding = self._capabilities.sets(asked)
        if bounding is None:
            return own
        return caps.mask(map(pb.CapabilityInfo.Capability.Name, bounding.capabilities))


def _keep(kept: dict[_K, _V], key: _K, value: _V) -> None:
    while len(kept) >= _MAX_KEPT:
        kept.pop(next(iter(kept)), None)
    kept[key] = value


def filters_of(directory: str) -> Filters | None:
    """Return what was left in a container's runtime directory; ``None`` if nothing was.

    Raises CheckpointError.
    """
    text = checkpoint.read_text(os.path.join(directory, _FILTERS))
    return None if text is None else Filters.of(json.loads(text))


def _leave(directory: str, made: Filters) -> None:
    checkpoint.write_text(os.path.join(directory, _FILTERS), json.dumps(made.document()))


def _content(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "Not a regular file")
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise OSError(0, "File too large")
    return text
