# SPDX-License-Identifier: Apache-2.0
"""What goes through an attached stream: records of ``mesos.agent.ProcessIO`` and of
``mesos.agent.Call`` around it, as JSON or protobuf. Pure.

The server of a container is forked by the hundred and reads input of strangers, so the few fields
it needs are coded here, without the protobuf runtime. v0 and v1 look alike in both forms.

Source: spec ``containerizer`` 14.5, ``operator-api`` 3.7; ``proto/mesos/agent/agent.proto``.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mesos_compat.base.errors import WireError

#: Content type of streams of records.
RECORDIO = "application/recordio"


class Encoding(enum.Enum):
    """How a message is written; the value is its media type."""

    JSON = "application/json"
    PROTOBUF = "application/x-protobuf"


class Stream(enum.Enum):
    """One of the three streams of a process; the value is its number in protobuf."""

    STDIN = 1
    STDOUT = 2
    STDERR = 3


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes of a stream. Empty ones for STDIN are its end."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class WindowSize:
    """The size of the client's terminal."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class StreamHeartbeat:
    """A sign of life; 0 if it does not say when the next one comes."""

    interval_ns: int = 0


@dataclass(frozen=True, slots=True)
class AttachTarget:
    """The container of an input stream, outermost first; always its first record."""

    path: tuple[str, ...]


#: A ``ProcessIO``.
ProcessRecord = StreamData | WindowSize | StreamHeartbeat


class RecordError(WireError):
    """A record is unusable; the text is the answer to the client (400)."""


_DATA, _CONTROL = 1, 2
_TTY_INFO, _HEARTBEAT = 1, 2
_CONTAINER_ID, _PROCESS_IO = 1, 2
_ATTACH_INPUT, _ATTACH_OUTPUT = 18, 19
_CALL_TYPES = {"ATTACH_CONTAINER_INPUT": _ATTACH_INPUT, "ATTACH_CONTAINER_OUTPUT": _ATTACH_OUTPUT}
_INPUT_TYPES = {"UNKNOWN": 0, "CONTAINER_ID": _CONTAINER_ID, "PROCESS_IO": _PROCESS_IO}
_IO_TYPES = {"UNKNOWN": 0, "DATA": _DATA, "CONTROL": _CONTROL}
_DATA_TYPES = {"UNKNOWN": 0, **{stream.name: stream.value for stream in Stream}}
_CONTROL_TYPES = {"UNKNOWN": 0, "TTY_INFO": _TTY_INFO, "HEARTBEAT": _HEARTBEAT}
#: Container ids can be nested; what is deeper was not made by us.
_MAX_DEPTH = 64


# Writing.


def encode(record: ProcessRecord, encoding: Encoding) -> bytes:
    """Return ``record`` as a ``ProcessIO``."""
    if encoding is Encoding.JSON:
        return _json_bytes(_io_json(record))
    return _io_protobuf(record)


def encode_input(record: ProcessRecord | AttachTarget, encoding: Encoding) -> bytes:
    """Return a ``Call`` of type ATTACH_CONTAINER_INPUT around ``record``."""
    if encoding is Encoding.JSON:
        if isinstance(record, AttachTarget):
            attach = {"type": "CONTAINER_ID", "container_id": _id_json(record.path)}
        else:
            attach = {"type": "PROCESS_IO", "process_io": _io_json(record)}
        return _json_bytes({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": attach})
    if isinstance(record, AttachTarget):
        inner = _number(1, _CONTAINER_ID) + _bytes(2, _id_protobuf(record.path))
    else:
        inner = _number(1, _PROCESS_IO) + _bytes(3, _io_protobuf(record))
    return _number(1, _ATTACH_INPUT) + _bytes(10, inner)


def encode_attach_output(path: Sequence[str], encoding: Encoding) -> bytes:
    """Return a ``Call`` of type ATTACH_CONTAINER_OUTPUT for a container."""
    if encoding is Encoding.JSON:
        attach = {"container_id": _id_json(path)}
        return _json_bytes({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": attach})
    return _number(1, _ATTACH_OUTPUT) + _bytes(11, _bytes(1, _id_protobuf(path)))


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _io_json(record: ProcessRecord) -> dict[str, Any]:
    match record:
        case StreamData(stream, data):
            text = base64.b64encode(data).decode("ascii")
            return {"type": "DATA", "data": {"type": stream.name, "data": text}}
        case WindowSize(rows, columns):
            size = {"rows": rows, "columns": columns}
            control: dict[str, Any] = {"type": "TTY_INFO", "tty_info": {"window_size": size}}
        case StreamHeartbeat(interval_ns):
            interval = {"interval": {"nanoseconds": interval_ns}} if interval_ns else {}
            control = {"type": "HEARTBEAT", "heartbeat": interval}
    return {"type": "CONTROL", "control": control}


def _io_protobuf(record: ProcessRecord) -> bytes:
    match record:
        case StreamData(stream, data):
            inner = _number(1, stream.value) + _bytes(2, data)
            return _number(1, _DATA) + _bytes(2, inner)
        case WindowSize(rows, columns):
            size = _number(1, rows) + _number(2, columns)
            control = _number(1, _TTY_INFO) + _bytes(2, _bytes(1, size))
        case StreamHeartbeat(interval_ns):
            interval = _bytes(1, _number(1, interval_ns)) if interval_ns else b""
            control = _number(1, _HEARTBEAT) + _bytes(3, interval)
    return _number(1, _CONTROL) + _bytes(3, control)


def _id_json(path: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for value in path:
        made = {"value": value, "parent": made} if made else {"value": value}
    return made


def _id_protobuf(path: Sequence[str]) -> bytes:
    made = b""
    for value in path:
        made = _bytes(1, value.encode()) + (_bytes(2, made) if made else b"")
    return made


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


# Reading.


def decode(payload: bytes, encoding: Encoding) -> ProcessRecord:
    """Read a ``ProcessIO``. Raises RecordError with the text for the client."""
    return _process_io(_message(payload, encoding), tuple(Stream))


def decode_input(payload: bytes, encoding: Encoding) -> ProcessRecord | AttachTarget:
    """Read a ``Call`` of an input stream. Raises RecordError with the text for the client."""
    call = _message(payload, encoding)
    if call.enum(1, "type", _CALL_TYPES) != _ATTACH_INPUT:
        raise RecordError("Expecting 'type' to be ATTACH_CONTAINER_INPUT")
    attach = call.child(10, "attach_container_input")
    if attach is None:
        raise RecordError("Expecting 'attach_container_input' to be present")
    kind = attach.enum(1, "type", _INPUT_TYPES)
    if kind is None:
        raise RecordError("Expecting 'attach_container_input.type' to be present")
    if kind == _CONTAINER_ID:
        return AttachTarget(_path(attach.child(2, "container_id")))
    if kind != _PROCESS_IO:
        raise RecordError(unexpected_input("UNKNOWN"))
    process_io = attach.child(3, "process_io")
    if process_io is None:
        raise RecordError("Expecting 'attach_container_input.process_io' to be present")
    return _process_io(process_io, (Stream.STDIN,))


def unexpected_input(kind: str) -> str:
    """Return the refusal of a record that is no PROCESS_IO."""
    return f"Expecting 'attach_container_input.type' to be 'PROCESS_IO' instead of: '{kind}'"


def is_attach_output(payload: bytes, encoding: Encoding) -> bool:
    """Whether a request's body asks for output. Raises RecordError for what is no message."""
    return _message(payload, encoding).enum(1, "type", _CALL_TYPES) == _ATTACH_OUTPUT


def _path(container_id: _Fields | None) -> tuple[str, ...]:
    values: list[str] = []
    while container_id is not None:
        value = container_id.text(1, "value")
        if value is None or len(values) == _MAX_DEPTH:
            raise RecordError("'attach_container_input.container_id' is invalid")
        values.append(value)
        container_id = container_id.child(2, "parent")
    if not values:
        raise RecordError("Expecting 'attach_container_input.container_id' to be present")
    return tuple(reversed(values))


def _process_io(message: _Fields, streams: Sequence[Stream]) -> ProcessRecord:
    kind = message.enum(1, "type", _IO_TYPES)
    if kind is None:
        raise RecordError("Expecting 'process_io.type' to be present")
    if kind == _DATA:
        return _data(message.child(2, "data"), streams)
    if kind == _CONTROL:
        return _control(message.child(3, "control"))
    raise RecordError("'process_io.type' is unknown")


def _data(message: _Fields | None, streams: Sequence[Stream]) -> StreamData:
    if message is None:
        raise RecordError("Expecting 'process_io.data' to be present")
    kind = message.enum(1, "type", _DATA_TYPES)
    if kind is None:
        raise RecordError("Expecting 'process_io.data.type' to be present")
    stream = next((stream for stream in streams if stream.value == kind), None)
    if stream is None:
        names = "' or '".join(stream.name for stream in streams)
        raise RecordError(f"Expecting 'process_io.data.type' to be '{names}'")
    data = message.raw(2, "data")
    if data is None:
        raise RecordError("Expecting 'process_io.data.data' to be present")
    return StreamData(stream, data)


def _control(message: _Fields | None) -> WindowSize | StreamHeartbeat:
    if message is None:
        raise RecordError("Expecting 'process_io.control' to be present")
    kind = message.enum(1, "type", _CONTROL_TYPES)
    if kind is None:
        raise RecordError("Expecting 'process_io.control.type' to be present")
    if kind == _TTY_INFO:
        tty_info = message.child(2, "tty_info")
        if tty_info is None:
            raise RecordError("Expecting 'process_io.control.tty_info' to be present")
        size = tty_info.child(1, "window_size")
        rows = None if size is None else size.number(1, "rows")
        columns = None if size is None else size.number(2, "columns")
        if rows is None or columns is None:
            raise RecordError("Expecting 'tty_info.window_size' to be present")
        return WindowSize(rows, columns)
    if kind == _HEARTBEAT:
        heartbeat = message.child(3, "heartbeat")
        if heartbeat is None:
            raise RecordError("Expecting 'process_io.control.heartbeat' to be present")
        interval = heartbeat.child(1, "interval")
        nanoseconds = None if interval is None else interval.number(1, "nanoseconds")
        return StreamHeartbeat(nanoseconds or 0)
    raise RecordError("'process_io.control.type' is unknown")


class _Fields(Protocol):
    """The fields of a message, by number in protobuf and by name in JSON."""

    def enum(self, number: int, name: str, known: dict[str, int]) -> int | None:
        """Return the number of an enum's value, -1 for an unknown one, ``None`` if absent."""

    def child(self, number: int, name: str) -> _Fields | None:
        """Return a message."""

    def raw(self, number: int, name: str) -> bytes | None:
        """Return bytes."""

    def text(self, number: int, name: str) -> str | None:
        """Return a string."""

    def number(self, number: int, name: str) -> int | None:
        """Return a number that is not negative."""


def _message(payload: bytes, encoding: Encoding) -> _Fields:
    if encoding is Encoding.PROTOBUF:
        return _Protobuf(payload)
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"Failed to parse body into JSON: {error}") from None
    return _Json(value, "the message")


class _Json(_Fields):
    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise RecordError(f"Failed to convert JSON into protobuf: {what} is no object")
        self._value = value

    def _get(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self._value.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise RecordError(f"Failed to convert JSON into protobuf: '{name}' is no {expected}")
        return value

    def enum(self, number: int, name: str, known: dict[str, int]) -> int | None:
        value = self._get(name, (str, int), "name of an enum's value")
        if value is None:
            return None
        return known.get(value, -1) if isinstance(value, str) else int(value)

    def child(self, number: int, name: str) -> _Fields | None:
        value = self._value.get(name)
        return None if value is None else _Json(value, f"'{name}'")

    def raw(self, number: int, name: str) -> bytes | None:
        value = self._get(name, str, "base64 string")
        if value is None:
            return None
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise RecordError(
                f"Failed to convert JSON into protobuf: '{name}' is no base64 string"
            ) from None

    def text(self, number: int, name: str) -> str | None:
        value: str | None = self._get(name, str, "string")
        return value

    def number(self, number: int, name: str) -> int | None:
        value = self._get(name, (int, float), "number")
        if value is None:
            return None
        if value != value or not 0 <= value < 1 << 63 or value != int(value):
            raise RecordError(f"Failed to convert JSON into protobuf: '{name}' is out of range")
        return int(value)


class _Protobuf(_Fields):
    def __init__(self, payload: bytes) -> None:
        self._numbers: dict[int, int] = {}
        #: All occurrences; those of a message merge by being joined.
        self._pieces: dict[int, list[bytes]] = {}
        reader = _WireReader(payload)
        while reader.more:
            tag = reader.varint()
            field, kind = tag >> 3, tag & 7
            if field == 0:
                raise RecordError(_NOT_PROTOBUF)
            if kind == 0:
                self._numbers[field] = reader.varint()
            elif kind == 2:
                self._pieces.setdefault(field, []).append(reader.take(reader.varint()))
            elif kind == 1 or kind == 5:
                reader.take(8 if kind == 1 else 4)
            else:
                raise RecordError(_NOT_PROTOBUF)

    def enum(self, number: int, name: str, known: dict[str, int]) -> int | None:
        return self._numbers.get(number)

    def child(self, number: int, name: str) -> _Fields | None:
        pieces = self._pieces.get(number)
        return None if pieces is None else _Protobuf(b"".join(pieces))

    def raw(self, number: int, name: str) -> bytes | None:
        pieces = self._pieces.get(number)
        return None if pieces is None else pieces[-1]

    def text(self, number: int, name: str) -> str | None:
        raw = self.raw(number, name)
        try:
            return None if raw is None else raw.decode()
        except UnicodeDecodeError:
            raise RecordError(_NOT_PROTOBUF) from None

    def number(self, number: int, name: str) -> int | None:
        value = self._numbers.get(number)
        # a negative number is a large one on the wire
        return None if value is None or value >= 1 << 63 else value


_NOT_PROTOBUF = "Failed to parse body into Call protobuf"


class _WireReader:
    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether something is left."""
        return self._at < len(self._payload)

    def varint(self) -> int:
        """Return the next number."""
        value = 0
        for shift in range(0, 70, 7):
            if self._at == len(self._payload):
                break
            byte = self._payload[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1
        raise RecordError(_NOT_PROTOBUF)

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes."""
        end = self._at + length
        if end > len(self._payload):
            raise RecordError(_NOT_PROTOBUF)
        piece = self._payload[self._at : end]
        self._at = end
        return piece
