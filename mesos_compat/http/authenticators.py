# SPDX-License-Identifier: Apache-2.0
"""The built-in authenticators: ``basic``, by names and secrets, and ``jwt``, by signed tokens.

Deviation: a secret may contain colons; with upstream its principal can never log in.

Source: spec ``operator-api`` 7.3, 7.4; RFC 7617, 6750.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from typing import Final

from aiohttp import web

from mesos_compat.base.errors import FlagError
from mesos_compat.http.authentication import AuthenticationRefusal, AuthenticatorContext
from mesos_compat.http.principal import Principal
from mesos_compat.model import jwt

_AUTHORIZATION: Final = "Authorization"


class BasicAuthenticator:
    """Knows principals by their secrets."""

    scheme = "Basic"

    def __init__(self, context: AuthenticatorContext) -> None:
        if not context.credentials:
            raise FlagError(
                "No credentials provided for the default 'basic' HTTP authenticator for realm"
                f" '{context.realm}'"
            )
        # Digests are all of one length, so comparing them tells nothing of the secret's.
        self._digests = {
            principal.encode(): _digest(secret.encode())
            for principal, secret in context.credentials.items()
        }
        #: What is compared for principals that nobody knows.
        self._nobody = os.urandom(hashlib.sha256().digest_size)
        self._refusal = AuthenticationRefusal(challenge=f'Basic realm="{context.realm}"')

    async def authenticate(self, request: web.BaseRequest) -> Principal | AuthenticationRefusal:
        """Return the principal whose secret was sent."""
        sent = _basic(request.headers.get(_AUTHORIZATION, ""))
        if sent is None:
            return self._refusal
        name, secret = sent
        known = self._digests.get(name)
        same = hmac.compare_digest(_digest(secret), self._nobody if known is None else known)
        if known is None or not same:
            return self._refusal
        return Principal(name.decode())


class JwtAuthenticator:
    """Takes whoever has a token signed with the agent's key for what the token says."""

    scheme = "Bearer"

    def __init__(self, context: AuthenticatorContext) -> None:
        if context.key is None:
            raise FlagError(
                "No secret key provided for the default 'jwt' HTTP authenticator for realm"
                f" '{context.realm}'"
            )
        self._key = context.key
        self._time = context.time
        self._challenge = f'Bearer realm="{context.realm}"'

    async def authenticate(self, request: web.BaseRequest) -> Principal | AuthenticationRefusal:
        """Return the claims of the token that was sent."""
        header = request.headers.get(_AUTHORIZATION)
        if header is None:
            return AuthenticationRefusal(challenge=self._challenge)
        words = header.split(" ")
        if len(words) != 2:
            return self._invalid("Malformed 'Authorization' header")
        scheme, token = words
        if scheme != self.scheme:
            return self._invalid(f"Scheme '{jwt.printable(scheme)}' unsupported")
        try:
            claims = jwt.decode(token, self._key, self._time())
        except jwt.JwtError as error:
            return self._invalid(f"Invalid JWT: {error}")
        if not claims:
            return self._invalid("JWT claims missing")
        return Principal(None, claims)

    def _invalid(self, why: str) -> AuthenticationRefusal:
        return AuthenticationRefusal(
            challenge=f'{self._challenge}, error="invalid_token", error_description="{why}"'
        )


def _basic(header: str) -> tuple[bytes, bytes] | None:
    """Return name and secret, if a header holds both."""
    scheme, _, encoded = header.partition(" ")
    if scheme != BasicAuthenticator.scheme:
        return None
    try:
        decoded = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    name, colon, secret = decoded.partition(b":")
    return (name, secret) if colon else None


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
