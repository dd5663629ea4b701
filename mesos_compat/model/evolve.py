# SPDX-License-Identifier: Apache-2.0
"""The two dialects of the same messages: v0 (wire, disk) and v1 (HTTP APIs).

Field and enum numbers of the pairs agree, names differ (``slave`` ↔ ``agent``), so a message
changes its dialect by being written and read again. Fields that only one side has are dropped.
Pure.

Source: upstream ``internal/{evolve,devolve}.cpp``.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def evolve(message: Message, into: type[M]) -> M:
    """Return the v1 message of type ``into`` with the content of a v0 message."""
    return _again(message, into)


def devolve(message: Message, into: type[M]) -> M:
    """Return the v0 message of type ``into`` with the content of a v1 message."""
    return _again(message, into)


def _again(message: Message, into: type[M]) -> M:
    made = into()
    made.MergeFromString(message.SerializePartialToString())
    made.DiscardUnknownFields()
    return made
