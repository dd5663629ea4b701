# SPDX-License-Identifier: Apache-2.0
"""From ``--container_logger`` to an object."""

from __future__ import annotations

from collections.abc import Callable

from containerizer.loggers.base import GROUP, ContainerLogger, LoggerContext
from containerizer.loggers.sandbox import SandboxLogger
from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Group


def create_logger(name: str | None, context: LoggerContext) -> ContainerLogger:
    """Make the logger of this name, the sandbox logger without one. Raises FlagError."""
    if name is None:
        return SandboxLogger()

    def build(factory: Callable[[LoggerContext], ContainerLogger]) -> ContainerLogger:
        return factory(context)

    try:
        return Group(GROUP).make(name, build, ("prepare",))
    except FlagError as error:
        raise FlagError(f"Failed to create container logger '{name}': {error}") from error
