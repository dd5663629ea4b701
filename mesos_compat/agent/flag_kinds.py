# SPDX-License-Identifier: Apache-2.0
"""Kinds of flags that only the agent has."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from google.protobuf import text_format
from google.protobuf.message import Message

from mesos_compat.base.errors import WireError
from mesos_compat.base.flags import JSON_OBJECT, FlagKind
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos.authorizer import acls_pb2
from mesos_compat.pb.mesos.internal.messages.flags_pb2 import Firewall


def _message(of: type[Message]) -> FlagKind[dict[str, Any]]:
    """Return the kind of JSON that means a message, and is displayed as that in text format."""

    def parse(text: str) -> dict[str, Any]:
        value = JSON_OBJECT.parse(text)
        try:
            jsonpb.from_value(of, value)
        except WireError as error:
            raise ValueError(str(error)) from error
        return value

    def show(value: dict[str, Any]) -> str:
        return text_format.MessageToString(jsonpb.from_value(of, value), as_utf8=True)

    return dataclasses.replace(JSON_OBJECT, parse=parse, show=show)


ACLS: Final = _message(acls_pb2.ACLs)
FIREWALL: Final = _message(Firewall)
