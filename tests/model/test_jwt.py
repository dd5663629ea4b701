# SPDX-License-Identifier: Apache-2.0
"""Tokens: made byte for byte as upstream makes them, refused in its words."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.model import jwt
from mesos_compat.model.jwt import JwtError

KEY = b"\x00key of an agent \xff\n"
NOW = 1_000_000_000.5
HEADER = {"alg": "HS256", "typ": "JWT"}
CLAIMS = {"fid": "F", "eid": "E", "cid": "C"}

#: The example of RFC 7515, appendix A.1, with blanks and line feeds in its JSON.
RFC_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
RFC_TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(header: Any, payload: Any, key: bytes = KEY) -> str:
    """Make a token of anything; bytes go in as they are, the rest as JSON."""
    parts = [
        encoded(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in (header, payload)
    ]
    digest = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join((*parts, encoded(digest)))


def refused(token: str) -> str:
    with pytest.raises(JwtError) as caught:
        jwt.decode(token, KEY, NOW)
    return str(caught.value)


def test_the_bytes_of_a_token() -> None:
    header, payload, signature = jwt.encode(CLAIMS, KEY).split(".")
    assert header == "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    assert payload == encoded(b'{"cid":"C","eid":"E","fid":"F"}')
    expected = hmac.new(KEY, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert signature == encoded(expected)
    assert jwt.encode(dict(reversed(CLAIMS.items())), KEY) == f"{header}.{payload}.{signature}"


def test_the_whole_key_counts() -> None:
    assert jwt.encode(CLAIMS, b"k") != jwt.encode(CLAIMS, b"k\n")


@given(st.dictionaries(st.text(), st.text()), st.binary(min_size=1, max_size=80))
def test_what_was_said_is_read(claims: dict[str, str], key: bytes) -> None:
    assert jwt.decode(jwt.encode(claims, key), key, NOW) == claims


def test_the_example_of_the_standard() -> None:
    key = base64.urlsafe_b64decode(RFC_KEY + "==")
    assert jwt.decode(RFC_TOKEN, key, 1300819380.0) == {
        "iss": "joe",
        "exp": "1300819380",
        "http://example.com/is_root": "true",
    }
    with pytest.raises(JwtError, match=r"Token has expired: exp\(1300819380\) < now\(1300819381\)"):
        jwt.decode(RFC_TOKEN, key, 1300819381.0)
    with pytest.raises(JwtError, match="Token signature does not match"):
        jwt.decode(RFC_TOKEN, key + b"\n", 1300819380.0)


def test_claims_that_are_no_text() -> None:
    payload = {"a": 1, "b": 0.5, "c": None, "d": ["x", {"y": True}], "exp": 1_000_000_000}
    assert jwt.decode(signed(HEADER, payload), KEY, NOW) == {
        "a": "1",
        "b": "0.5",
        "c": "null",
        "d": '["x",{"y":true}]',
        "exp": "1000000000",
    }


def test_a_header_need_not_have_a_type() -> None:
    assert jwt.decode(signed({"alg": "HS256", "kid": 1}, CLAIMS), KEY, NOW) == CLAIMS


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("", "Expected 3 components in token, got 1"),
        ("a.b", "Expected 3 components in token, got 2"),
        ("a.b.c.d", "Expected 3 components in token, got 4"),
        (signed({"alg": "none"}, CLAIMS), "Token 'alg' value \"none\" does not match"),
        (signed({"alg": "RS256"}, CLAIMS), "Token 'alg' value \"RS256\" does not match"),
        (signed({"alg": 'x"\r\ny'}, CLAIMS), "Unsupported token algorithm: x???y"),
        (signed({"alg": "hs256"}, CLAIMS), "Unsupported token algorithm: hs256"),
        (signed({}, CLAIMS), "Token 'alg' field is missing or not a string"),
        (signed({"alg": ["HS256"]}, CLAIMS), "Token 'alg' field is missing or not a string"),
        (signed(HEADER | {"typ": 1}, CLAIMS), "Token 'typ' field is not a string"),
        (signed(HEADER | {"crit": ["exp"]}, CLAIMS), "Token 'crit' field is unsupported"),
        (signed([], CLAIMS), "Failed to decode token header: Expecting a JSON object"),
        (signed(b"{", CLAIMS), "Failed to decode token header: "),
        ("e30=.e30.x", "Failed to decode token header: Failed to base64url-decode: "),
        ("e3\n0.e30.x", "Failed to decode token header: Failed to base64url-decode: "),
        (signed(HEADER, b"x"), "Failed to decode token payload: "),
        (signed(HEADER, []), "Failed to decode token payload: Expecting a JSON object"),
        (signed(HEADER, {"exp": "1"}), "JSON payload 'exp' field is not a number"),
        (signed(HEADER, {"exp": True}), "JSON payload 'exp' field is not a number"),
        (signed(HEADER, {"exp": None}), "JSON payload 'exp' field is not a number"),
        (signed(HEADER, {"exp": 1}), "Token has expired: exp(1) < now(1000000000)"),
        (signed(HEADER, CLAIMS, b"other"), "Token signature does not match"),
        (signed(HEADER, CLAIMS)[:-1], "Token signature does not match"),
        (signed(HEADER, CLAIMS)[:-2] + "+/", "Failed to base64url-decode token signature: "),
        (signed(HEADER, CLAIMS) + "A" * 70000, "Expected at most 65536 bytes in token"),
        (signed(HEADER, b"[" * 5000), "Failed to decode token payload: "),
        (signed(HEADER, b'{"exp":' + b"9" * 5000 + b"}"), "Failed to decode token payload: "),
        (signed(HEADER, b'{"exp":1e999}'), "Failed to decode token payload: "),
    ],
)
def test_unusable_tokens(token: str, error: str) -> None:
    assert refused(token).startswith(error)


def test_what_is_wrong_first_counts() -> None:
    """An algorithm that is refused hides that the rest is wrong, and so on."""
    assert "alg" in refused(signed({"alg": "none"}, b"x", b"other"))
    assert "expired" in refused(signed(HEADER, {"exp": 1}, b"other"))


@given(st.text(max_size=60) | st.builds(signed, st.binary(max_size=40), st.binary(max_size=40)))
def test_anything_is_refused_in_words_fit_for_a_header(token: str) -> None:
    why = refused(token)
    assert why.isascii()
    assert why.isprintable()
