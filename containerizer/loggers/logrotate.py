# SPDX-License-Identifier: Apache-2.0
"""The container logger that keeps ``stdout`` and ``stderr`` below a size by rotating them.

One process per container (``logrotate_program``) takes both streams and does the rotation itself:
the program logrotate is not needed, and there are no files with its configuration and state in the
sandbox. It ends with the container's output and survives the agent.

Deviation: of logrotate's options only those that ``rotation.py`` names have an effect; no script
runs. What a file holds at the start counts.

Source: spec ``containerizer`` 15.2.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace

from containerizer.init.helper import HelperRequest
from containerizer.linux import users
from containerizer.loggers import logrotate_program
from containerizer.loggers.base import LoggerContext
from containerizer.loggers.rotation import MIN_BYTES, RotationPolicy
from containerizer.sandbox import open_sandbox
from mesos_compat.base import units
from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)

_PROGRAM = "mesos-logrotate-logger"
_PREFIX = "environment_variable_prefix"
#: Parameters that name programs we do not need.
_UNUSED = ("launcher_dir", "logrotate_path", "libprocess_num_worker_threads")


@dataclass(frozen=True, slots=True)
class LogrotateSettings:
    """Sizes and options of both streams."""

    max_stdout_bytes: int = 10 << 20
    max_stderr_bytes: int = 10 << 20
    stdout_options: str = ""
    stderr_options: str = ""

    def changed(self, name: str, value: str) -> LogrotateSettings:
        """Return settings with one of the four values changed. Raises ValueError."""
        match name:
            case "max_stdout_size":
                return replace(self, max_stdout_bytes=_size(value))
            case "max_stderr_size":
                return replace(self, max_stderr_bytes=_size(value))
            case "logrotate_stdout_options":
                return replace(self, stdout_options=_options(value))
            case "logrotate_stderr_options":
                return replace(self, stderr_options=_options(value))
        raise ValueError(f"Failed to load unknown flag '{name}'")


class LogrotateLogger:
    """Starts a process per container."""

    def __init__(self, context: LoggerContext, settings: LogrotateSettings, prefix: str) -> None:
        self._context = context
        self._settings = settings
        self._prefix = prefix

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> tuple[int, int]:
        """Return the ends of two pipes to the container's logger."""
        settings = container_settings(self._settings, self._prefix, config.command_info)
        user = config.user if config.HasField("user") else None
        owner = None if user is None else users.uid_of(user)
        if user is not None and owner is None:
            raise ContainerError(f"Failed to get the uid of user '{user}': not found")
        if self._context.helpers is None:
            raise ContainerError("Failed to create logger process: no spawner")
        out_from, out = os.pipe2(os.O_CLOEXEC)
        try:
            err_from, err = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(out_from)
            os.close(out)
            raise
        try:
            if owner is not None:
                # so that the container can open /dev/stdout
                os.fchown(out, owner, -1)
                os.fchown(err, owner, -1)
            await self._start(container_id, config.directory, settings, user, (out_from, err_from))
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        finally:
            os.close(out_from)
            os.close(err_from)
        return out, err

    async def _start(
        self,
        container_id: ContainerId,
        directory: str,
        settings: LogrotateSettings,
        user: str | None,
        sources: tuple[int, int],
    ) -> None:
        assert self._context.helpers is not None
        paths = os.path.join(directory, "stdout"), os.path.join(directory, "stderr")
        arguments = logrotate_program.arguments(
            (
                (0, paths[0], settings.max_stdout_bytes, settings.stdout_options),
                (3, paths[1], settings.max_stderr_bytes, settings.stderr_options),
            ),
            user,
            folder=4,
        )
        try:
            sandbox = open_sandbox(container_id, directory)
        except OSError as error:
            raise ContainerError(
                f"Failed to open '{directory}': {error.strerror or error}"
            ) from error
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            started = await self._context.helpers.start_helper(
                HelperRequest(_PROGRAM, arguments, self._context.cgroups),
                (sources[0], null, 2, sources[1], sandbox.fd),
            )
        finally:
            os.close(null)
            sandbox.close()
        try:
            # it ends with the last writer of its pipes; nobody has to wait for it
            os.close(started.pidfd)
            started.release()
        finally:
            started.abort()


def create(context: LoggerContext) -> LogrotateLogger:
    """Make the logger with the parameters of its module. Raises FlagError."""
    settings = LogrotateSettings()
    prefix = "CONTAINER_LOGGER_"
    for name, value in context.parameters:
        if name == _PREFIX:
            prefix = value
        elif name not in _UNUSED:
            try:
                settings = settings.changed(name, value)
            except ValueError as error:
                raise FlagError(f"Failed to parse parameters: {error}") from error
    return LogrotateLogger(context, settings, prefix)


def container_settings(
    settings: LogrotateSettings, prefix: str, command: pb.CommandInfo
) -> LogrotateSettings:
    """Return the settings of one container, whose environment may change them.

    Raises ContainerError for a variable that has the prefix and means nothing.
    """
    made = settings
    for variable in command.environment.variables:
        if not variable.name.startswith(prefix):
            continue
        try:
            made = made.changed(variable.name.removeprefix(prefix).lower(), variable.value)
        except ValueError as error:
            raise ContainerError(f"Failed to load container logger settings: {error}") from error
    return made


def _size(text: str) -> int:
    size = units.parse_bytes(text)
    if size < MIN_BYTES:
        expected = "Expected --max_stdout_size and --max_stderr_size of at least"
        raise ValueError(f"{expected} {MIN_BYTES} bytes")
    return size


def _options(text: str) -> str:
    if "\0" in text or len(text) > 16384:
        raise ValueError("Unusable options of logrotate")
    _, ignored = RotationPolicy.parse(text)
    if ignored:
        log.warning("Options of logrotate without effect: %s", ", ".join(ignored))
    return text
