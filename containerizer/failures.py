# SPDX-License-Identifier: Apache-2.0
"""Errors of parts of the containerizer become errors that say what was attempted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mesos_compat.base.errors import CheckpointError, ContainerError


@contextmanager
def checkpointing(what: str) -> Iterator[None]:
    """Make a ContainerError of a CheckpointError, with what was attempted."""
    try:
        yield
    except CheckpointError as error:
        raise ContainerError(f"{what}: {error}") from error


@contextmanager
def prefixed(what: str) -> Iterator[None]:
    """Put what was attempted before the text of a ContainerError."""
    try:
        yield
    except ContainerError as error:
        raise ContainerError(f"{what}: {error}") from error
