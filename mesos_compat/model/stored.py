# SPDX-License-Identifier: Apache-2.0
"""Messages that were checkpointed, and what the disk made of them."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.validate import text_error

M = TypeVar("M", bound=Message)


def parse_stored(path: str, content: bytes, kind: type[M]) -> M:
    """Read the message that ``path`` holds. Raises CheckpointError.

    Protobuf takes texts that are none and leaves out required fields; whoever reads the one or
    writes the other again would fail then.
    """
    made = kind()
    try:
        made.ParseFromString(content)
    except DecodeError as error:
        raise CheckpointError(path, f"is no {kind.DESCRIPTOR.name}: {error}") from error
    why = text_error(made) if made.IsInitialized() else "required fields are missing"
    if why is not None:
        raise CheckpointError(path, f"is no {kind.DESCRIPTOR.name}: {why}")
    return made
