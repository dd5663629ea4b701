# SPDX-License-Identifier: Apache-2.0
"""What masters write about themselves into ZooKeeper. Pure.

Source: spec ``agent-master`` 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from mesos_compat.base.errors import WireError
from mesos_compat.model import jsonpb
from mesos_compat.model.validate import text_error, wire_error
from mesos_compat.pb.mesos import mesos_pb2 as pb

_SEQUENCE = re.compile(r"[0-9]{1,10}", re.ASCII)
_MAX_SEQUENCE = 2**31 - 1
#: Labels of found_all whose data is a MasterInfo; without label it is the text of a UPID.
_BINARY, _JSON = "info", "json.info"


@dataclass(frozen=True, slots=True)
class Contender:
    """A contender: the name of its node, the label in it (may be empty) and its sequence."""

    name: str
    label: str
    sequence: int


def contender(name: str) -> Contender | None:
    """Read the name of a node; ``None`` if it is none of a contender."""
    tokens = name.split("_")
    if not _SEQUENCE.fullmatch(tokens[-1]) or int(tokens[-1]) > _MAX_SEQUENCE:
        return None
    label = tokens[0] if len(tokens) > 1 else ""
    return Contender(name, label, int(tokens[-1]))


def leader(names: Iterable[str]) -> Contender | None:
    """Return the contender with the smallest sequence, whatever its label."""
    contenders = [found for name in names if (found := contender(name)) is not None]
    return min(contenders, key=lambda one: (one.sequence, one.name), default=None)


def decode(label: str, data: bytes) -> pb.MasterInfo:
    """Read the data of a leading contender; of one without label only ``pid`` is set.

    Raises WireError.
    """
    if label == _BINARY:
        return _binary(data)
    if label == _JSON:
        return _json(data)
    if label:
        raise WireError(f"Failed to parse data of unknown label '{label}'")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise WireError("Failed to parse data into UPID: it is not UTF-8") from error
    # Its required fields stay empty: nobody knows them.
    return pb.MasterInfo(pid=text.strip())


def _binary(data: bytes) -> pb.MasterInfo:
    failed = "Failed to parse data into MasterInfo"
    why = wire_error(pb.MasterInfo, data)
    if why is not None:
        raise WireError(f"{failed}: {why}")
    try:
        made = pb.MasterInfo.FromString(data)
    except DecodeError as error:
        raise WireError(failed) from error
    if not made.IsInitialized():
        raise WireError(f"{failed}: required fields are missing")
    return _checked(made, failed)


def _json(data: bytes) -> pb.MasterInfo:
    try:
        value = jsonpb.loads(data)
    except WireError as error:
        raise WireError(f"Failed to parse data into valid JSON: {error}") from error
    failed = "Failed to parse JSON into MasterInfo"
    try:
        return _checked(jsonpb.from_value(pb.MasterInfo, value), failed)
    except jsonpb.JsonError as error:
        raise WireError(f"{failed}: {error}") from error


def _checked(made: pb.MasterInfo, failed: str) -> pb.MasterInfo:
    why = text_error(made)
    if why is not None:
        raise WireError(f"{failed}: {why}")
    if not made.pid:
        raise WireError(f"{failed}: it has no pid")
    return made
