# SPDX-License-Identifier: Apache-2.0
"""JSON web tokens signed with HMAC-SHA256: made for executors, checked when they call. Pure.

No library: tokens have to equal upstream's byte for byte, and refusals to say what upstream says,
in its order. No other algorithm exists here, so a token can choose none.

Source: spec ``operator-api`` 7.4; ``executors`` 1.9; RFC 7515, 7519.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from mesos_compat.base.errors import WireError
from mesos_compat.model import jsonpb
from mesos_compat.model.jsonpb import JsonObject, JsonValue

#: Longest token that is looked at.
MAX_TOKEN_BYTES: Final = 64 * 1024

_ALGORITHM: Final = "HS256"
#: Algorithms that upstream knows by name, and refuses.
_OTHERS: Final = ("none", "RS256")
_HEADER: Final = '{"alg":"HS256","typ":"JWT"}'
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")


class JwtError(WireError):
    """A token is unusable. The text shows nothing of its signature."""


def encode(claims: Mapping[str, str], key: bytes) -> str:
    """Return the token that says ``claims``, the same for the same claims and key."""
    payload = jsonpb.dumps(dict(claims), sort_keys=True)
    signed = f"{_to_base64(_HEADER.encode())}.{_to_base64(payload)}"
    return f"{signed}.{_to_base64(_signature(signed, key))}"


def decode(token: str, key: bytes, now_s: float) -> dict[str, str]:
    """Return the claims of a token, as text; those that are no strings as JSON text.

    ``now_s`` is seconds since the epoch. Raises JwtError unless the token is signed with ``key``
    and has not expired.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise JwtError(f"Expected 3 components in token, got {len(parts)}")
    if len(token) > MAX_TOKEN_BYTES:
        raise JwtError(f"Expected at most {MAX_TOKEN_BYTES} bytes in token")
    _check_header(_object(parts[0], "header"))
    payload = _object(parts[1], "payload")
    _check_expiry(payload, now_s)
    signature = _from_base64(parts[2], "Failed to base64url-decode token signature")
    if not hmac.compare_digest(signature, _signature(f"{parts[0]}.{parts[1]}", key)):
        raise JwtError("Token signature does not match")
    return {name: _text(value) for name, value in payload.items()}


def _check_header(header: JsonObject) -> None:
    if not isinstance(header.get("typ", ""), str):
        raise JwtError("Token 'typ' field is not a string")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise JwtError("Token 'alg' field is missing or not a string")
    if algorithm not in (_ALGORITHM, *_OTHERS):
        raise JwtError(f"Unsupported token algorithm: {printable(algorithm)}")
    if "crit" in header:
        raise JwtError("Token 'crit' field is unsupported")
    if algorithm != _ALGORITHM:
        wrong = f'value "{algorithm}" does not match, expected "{_ALGORITHM}"'
        raise JwtError(f"Token 'alg' {wrong}")


def _check_expiry(payload: JsonObject, now_s: float) -> None:
    if "exp" not in payload:
        return
    expiry = payload["exp"]
    if isinstance(expiry, bool) or not isinstance(expiry, int | float):
        raise JwtError("JSON payload 'exp' field is not a number")
    if int(expiry) < int(now_s):
        raise JwtError(f"Token has expired: exp({int(expiry)}) < now({int(now_s)})")


def _object(part: str, name: str) -> JsonObject:
    wrong = f"Failed to decode token {name}"
    try:
        value = jsonpb.loads(_from_base64(part, f"{wrong}: Failed to base64url-decode"))
    except jsonpb.JsonError as error:
        # What stands there may be anything, and goes into a header.
        raise JwtError(f"{wrong}: {printable(str(error))}") from None
    if not isinstance(value, dict):
        raise JwtError(f"{wrong}: Expecting a JSON object")
    return value


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    return jsonpb.dumps(value).decode("utf-8", "surrogateescape")


def _signature(signed: str, key: bytes) -> bytes:
    return hmac.digest(key, signed.encode(), hashlib.sha256)


def _to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str, wrong: str) -> bytes:
    if not _URL_SAFE.fullmatch(text):
        raise JwtError(f"{wrong}: invalid character")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise JwtError(f"{wrong}: invalid length") from None


def printable(text: str) -> str:
    """Make text that came from a client fit for a quoted string in a header."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text[:200])
