# SPDX-License-Identifier: Apache-2.0
"""Attributes of an agent: ``rack:r1;zone:z1`` to messages and back.

Source: spec ``agent-master`` 12.3.
"""

from __future__ import annotations

from collections.abc import Iterable

from mesos_compat.base.errors import WireError
from mesos_compat.model import values
from mesos_compat.pb.mesos import mesos_pb2 as pb


def parse_attributes(text: str) -> list[pb.Attribute]:
    """Read the value of ``--attributes``. Raises WireError if an item is unusable."""
    return [_attribute(item) for item in text.replace("\n", ";").split(";") if item.strip()]


def format_attributes(attributes: Iterable[pb.Attribute]) -> str:
    """Return the text of ``attributes``, as in logs."""
    return ";".join(f"{a.name}:{values.format_value(values.amount_of(a))}" for a in attributes)


def _attribute(item: str) -> pb.Attribute:
    name, colon, text = item.partition(":")
    name = name.strip()
    if not colon or not name or not text.strip():
        raise WireError(f"Invalid attribute key:value pair '{item}'")
    amount = values.parse_value(text)
    attribute = pb.Attribute(name=name, type=values.type_of(amount))
    if attribute.type == pb.Value.SET:
        raise WireError(f"Unsupported type of attribute '{item}': sets are not allowed")
    values.store(attribute, amount)
    return attribute
