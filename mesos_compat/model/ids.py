# SPDX-License-Identifier: Apache-2.0
"""Ids as types.

Ids arrive from masters, frameworks and HTTP clients and become names of folders and cgroups, so
each is checked when it is made.

Source: spec ``operator-api`` 3.2, upstream ``common/validation.cpp``.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import NewType

from mesos_compat.base.errors import WireError
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1

AgentId = NewType("AgentId", str)
FrameworkId = NewType("FrameworkId", str)
ExecutorId = NewType("ExecutorId", str)
TaskId = NewType("TaskId", str)

#: Longest id in characters that upstream accepts (the name of a directory).
MAX_ID_LENGTH = 255
_UNUSABLE = re.compile(r"[/\x00-\x1f\x7f]")


def id_error(value: str) -> str | None:
    """Say why ``value`` is no usable id, in upstream's words; ``None`` if it is one."""
    if not value:
        return "ID must not be empty"
    if len(value.encode("utf-8", "surrogatepass")) > MAX_ID_LENGTH:
        return f"ID must not be greater than {MAX_ID_LENGTH} characters"
    if value in (".", ".."):
        return f"'{value}' is disallowed"
    if _UNUSABLE.search(value):
        return f"'{value}' contains invalid characters"
    return None


@dataclass(frozen=True, slots=True)
class ContainerId:
    """A container id: ``value`` and, for a nested container, the id of its parent."""

    value: str
    parent: ContainerId | None = None

    @classmethod
    def new(cls) -> ContainerId:
        """Make a top-level id: the text of a random UUID, as the agent names executor runs."""
        return cls(str(uuid.uuid4()))

    @classmethod
    def of(cls, message: pb.ContainerID | v1.ContainerID) -> ContainerId:
        """Read an id from a message.

        Raises WireError if any part of it is not usable as the name of a directory.
        """
        values = [message.value]
        while message.HasField("parent"):
            message = message.parent
            values.append(message.value)
        made: ContainerId | None = None
        for value in reversed(values):
            why = id_error(value)
            if why is None and ("." in value or value.split() != [value]):
                why = f"'{value}' contains invalid characters"
            if why is not None:
                raise WireError(why)
            made = cls(value, made)
        assert made is not None
        return made

    def message(self) -> pb.ContainerID:
        """Return the v0 message of this id."""
        made = pb.ContainerID(value=self.value)
        if self.parent is not None:
            made.parent.CopyFrom(self.parent.message())
        return made

    @property
    def root(self) -> ContainerId:
        """The outermost container."""
        return self if self.parent is None else self.parent.root

    @property
    def path(self) -> tuple[str, ...]:
        """The values from the outermost container to this one."""
        return (self.value,) if self.parent is None else (*self.parent.path, self.value)

    def __str__(self) -> str:
        return ".".join(self.path)
