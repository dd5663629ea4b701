# SPDX-License-Identifier: Apache-2.0
"""Files with secrets: principals that we are or know, and the key of executors' tokens.

No error shows what is in a file, and files that others can read or change are warned about.

Deviation: principals may still stand in lines of text, as before Mesos 1.11; an empty key of
tokens, and principals without a secret, are refused.

Source: spec ``agent-master`` 4.1; ``operator-api`` 7.1, 7.2; ``executors`` 1.9.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

_MAX_CREDENTIAL_BYTES: Final = 1 << 16
_MAX_CREDENTIALS_BYTES: Final = 1 << 24
_MAX_KEY_BYTES: Final = 1 << 20
#: A shorter key makes signatures weaker than their algorithm.
_GOOD_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class AgentCredential:
    """A principal and its secret, which no text of this object shows."""

    principal: str
    secret: str = field(repr=False)


def load_credential(path: str) -> AgentCredential:
    """Read a JSON object or one line with principal and secret. Raises FlagError."""
    data = _read(path, "credential file", _MAX_CREDENTIAL_BYTES)
    if not data:
        raise FlagError(f"Empty credential file '{path}' (see --credential flag)")
    text = _text(data, path)
    if _is_json(text):
        made = _message(pb.Credential, _object(text, path), "credential")
        if not made.secret:
            raise FlagError(
                f"The credential in '{path}' has no secret: whoever is asked for it would have"
                " refused authentication"
            )
        return AgentCredential(made.principal, made.secret)
    lines = _lines(text, path)
    if len(lines) != 1:
        raise FlagError(f"Expecting only one credential in '{path}'")
    return lines[0]


def load_credentials(path: str) -> dict[str, str]:
    """Read who may send requests: the secret of each principal.

    They are a JSON object with a list ``credentials``, or lines; the last of a principal counts.
    Raises FlagError.
    """
    text = _text(_read(path, "credentials file", _MAX_CREDENTIALS_BYTES), path)
    if _is_json(text):
        listed = _message(pb.Credentials, _object(text, path), "credentials").credentials
        found = [AgentCredential(each.principal, each.secret) for each in listed]
    else:
        found = _lines(text, path)
    if not found:
        raise FlagError(
            "Credentials file must contain at least one credential (see --http_credentials flag)"
        )
    for each in found:
        if not each.secret:
            raise FlagError(f"The principal '{each.principal}' in '{path}' has no secret")
    return {each.principal: each.secret for each in found}


def load_key(path: str | None) -> bytes | None:
    """Read the key of executors' tokens: all bytes of a file, if there is one. Raises FlagError."""
    if path is None:
        return None
    key = _read(path, "secret key file", _MAX_KEY_BYTES)
    if not key:
        raise FlagError(f"The secret key file '{path}' is empty: anybody could sign tokens")
    if len(key) < _GOOD_KEY_BYTES:
        log.warning(
            "The key in '%s' has %d bytes: at least %d are advised", path, len(key), _GOOD_KEY_BYTES
        )
    return key


def _read(path: str, what: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(limit + 1)
    except OSError as error:
        raise FlagError(f"Failed to read {what} '{path}': {error.strerror}") from error
    if len(data) > limit:
        raise FlagError(f"The {what} '{path}' is unusable: it is too long")
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        log.warning("Others can read or change the %s '%s': that is too open", what, path)
    return data


def _text(data: bytes, path: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FlagError(f"Invalid credential format in '{path}': it is not UTF-8") from error


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "[", '"'))


def _object(text: str, path: str) -> jsonpb.JsonValue:
    try:
        return jsonpb.loads(text)
    except WireError as error:
        # Not what stands near the error: that may be the secret.
        reason = str(error).partition(" near")[0]
        raise FlagError(f"Invalid json format: {reason} of '{path}'") from None


def _message(kind: type[M], value: Any, what: str) -> M:
    if not isinstance(value, dict):
        raise FlagError(f"Failed to parse {what}: it is no object")
    try:
        return jsonpb.from_value(kind, value)
    except WireError as error:
        raise FlagError(f"Failed to parse {what}: {error}") from error


def _lines(text: str, path: str) -> list[AgentCredential]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if any(len(line) != 2 for line in lines):
        raise FlagError(f"Invalid credential format in '{path}'")
    return [AgentCredential(*line) for line in lines]
