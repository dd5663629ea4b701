# SPDX-License-Identifier: Apache-2.0
"""Media types of the v1 HTTP APIs: which ones a request carries and wants, bytes ↔ messages.

Pure. Values of headers are compared as they are, parameters are not tolerated, as upstream does.

Source: spec ``operator-api`` 3.1 and 4, ``executors`` 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from mesos_compat.base.errors import ApiError
from mesos_compat.model import jsonpb
from mesos_compat.model.validate import text_error, wire_error

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
RECORDIO: Final = "application/recordio"

#: Longest length line of a record: the digits of 2**64 - 1.
_LENGTH_DIGITS: Final = 20
#: Largest first record of a streaming request that is read.
MAX_RECORD_BYTES: Final = 64 * 1024 * 1024

M = TypeVar("M", bound=Message)


def accepts(header: str | None, media_type: str) -> bool:
    """Say whether an ``Accept`` (or ``Message-Accept``) header admits ``media_type``.

    No header admits everything. Source: libprocess ``http::Request::acceptsMediaType``.
    """
    if header is None:
        return True
    kind = media_type.partition("/")[0]
    candidates = (media_type, f"{kind}/*", "*/*")
    for entry in "".join(header.split()).lower().split(","):
        name, *parameters = entry.split(";")
        if name in candidates and not (len(parameters) == 1 and _rejected(parameters[0])):
            return True
    return False


def _rejected(parameter: str) -> bool:
    key, _, value = parameter.partition("=")
    return key == "q" and not quality(value) > 0


def quality(text: str) -> float:
    """Return the number of a ``q`` parameter; what is no number counts as 0."""
    try:
        return float(text)
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class MediaTypes:
    """What a request of the operator API carries and what its answer has to be."""

    #: JSON, PROTOBUF or RECORDIO.
    content: str
    #: JSON or PROTOBUF: the type of the message, or of each record.
    message: str
    #: JSON, PROTOBUF or RECORDIO.
    accept: str
    #: JSON or PROTOBUF: the type of the answer, or of each of its records.
    message_accept: str


def negotiate(headers: Mapping[str, str]) -> MediaTypes:
    """Check the headers of an operator API request in upstream's order (rows 3 to 10).

    Raises ApiError 400, 406 or 415.
    """
    content, message = _content_types(headers)
    accept, message_accept = _accept_types(headers)
    return MediaTypes(content, message, accept, message_accept)


def _content_types(headers: Mapping[str, str]) -> tuple[str, str]:
    content = headers.get("Content-Type")
    message = headers.get("Message-Content-Type")
    if content is None:
        raise ApiError(400, "Expecting 'Content-Type' to be present")
    if content not in (JSON, PROTOBUF, RECORDIO):
        raise ApiError(415, f"Expecting 'Content-Type' of {JSON} or {PROTOBUF} or {RECORDIO}")
    if content != RECORDIO:
        if message is not None:
            raise ApiError(
                415, "Expecting 'Message-Content-Type' to be not set for non-streaming requests"
            )
        return content, content
    if message is None:
        raise ApiError(400, "Expecting 'Message-Content-Type' to be set for streaming requests")
    if message not in (JSON, PROTOBUF):
        raise ApiError(415, f"Expecting 'Message-Content-Type' of {JSON} or {PROTOBUF}")
    return content, message


def _accept_types(headers: Mapping[str, str]) -> tuple[str, str]:
    header = headers.get("Accept")
    message_header = headers.get("Message-Accept")
    accept = next((kind for kind in (JSON, PROTOBUF, RECORDIO) if accepts(header, kind)), None)
    if accept is None:
        raise ApiError(406, f"Expecting 'Accept' to allow {JSON} or {PROTOBUF} or {RECORDIO}")
    if accept != RECORDIO:
        if message_header is not None:
            raise ApiError(
                406, "Expecting 'Message-Accept' to be not set for non-streaming responses"
            )
        return accept, accept
    for kind in (JSON, PROTOBUF):
        if accepts(message_header, kind):
            return accept, kind
    raise ApiError(406, f"Expecting 'Message-Accept' to allow {JSON} or {PROTOBUF}")


def parse(message_type: type[M], body: bytes, media_type: str) -> M:
    """Read a message of the operator API. Raises ApiError 400 with upstream's text."""
    if media_type == PROTOBUF:
        message = from_bytes(message_type, body)
        if message is None:
            raise ApiError(400, "Failed to parse body into a protobuf object")
        return message
    try:
        value = jsonpb.loads(body)
    except jsonpb.JsonError as error:
        raise ApiError(400, f"Failed to parse body into JSON: {error}") from None
    try:
        return jsonpb.from_value(message_type, value)
    except jsonpb.JsonError as error:
        raise ApiError(400, str(error)) from None


def from_bytes(message_type: type[M], body: bytes) -> M | None:
    """Read the wire form; ``None`` if it is broken, lacks a required field, has text that is no
    UTF-8 or too many fields.
    """
    if wire_error(message_type, body) is not None:
        return None
    message = message_type()
    try:
        message.MergeFromString(body)
    except DecodeError:
        return None
    return message if message.IsInitialized() and text_error(message) is None else None


def serialize(message: Message, media_type: str, lists: frozenset[str] = frozenset()) -> bytes:
    """Write a message; ``lists`` as in ``jsonpb.to_value``."""
    if media_type == PROTOBUF:
        return message.SerializeToString()
    return jsonpb.dumps(jsonpb.to_value(message, lists))


def first_record(data: bytes | bytearray) -> bytes | None:
    """Return the first record of a streaming request, ``None`` if it is not complete yet.

    Raises ApiError 500 if the framing is broken.
    """
    line, newline, _ = data[: _LENGTH_DIGITS + 1].partition(b"\n")
    if not newline:
        if len(data) > _LENGTH_DIGITS:
            raise _broken(line)
        return None
    if not line.isdigit() or int(line) > MAX_RECORD_BYTES:
        raise _broken(line)
    start, length = len(line) + 1, int(line)
    return bytes(data[start : start + length]) if len(data) - start >= length else None


def _broken(line: bytes | bytearray) -> ApiError:
    shown = line.decode("latin-1")
    return ApiError(
        500,
        f"Decoder failure: Failed to decode length '{shown}': "
        f"Failed to convert '{shown}' to number",
    )
