# SPDX-License-Identifier: Apache-2.0
"""From flags to realms: which requests are authenticated, and by what.

Source: spec ``operator-api`` 7.1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from mesos_compat.agent.credentials import load_credentials
from mesos_compat.agent.flags import AgentFlags
from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Group, Parameters
from mesos_compat.http.authentication import (
    EXECUTOR,
    READ_ONLY,
    READ_WRITE,
    AuthenticatorContext,
    HttpAuthenticator,
    Realms,
)

log = logging.getLogger(__name__)

GROUP = "mesos_compat.http_authenticators"

_BASIC: Final = "basic"
_JWT: Final = "jwt"


def realms(
    flags: AgentFlags,
    key: bytes | None,
    parameters: Mapping[str, Parameters],
    time: Callable[[], float],
) -> Realms:
    """Make the authenticators of each realm that is to have any.

    ``key`` is that of tokens, ``time`` returns the seconds since the epoch. Raises FlagError.
    """
    if flags.authenticate_http_executors and key is None:
        raise FlagError(
            "--jwt_secret_key must be specified when --authenticate_http_executors is set to true"
        )
    credentials = {} if flags.http_credentials is None else load_credentials(flags.http_credentials)
    enabled = {
        READ_ONLY: flags.authenticate_http_readonly,
        READ_WRITE: flags.authenticate_http_readwrite,
        EXECUTOR: bool(flags.authenticate_http_executors),
    }
    names = _names(flags)
    if flags.authenticate_http_readwrite and (key is None or set(names) == {_BASIC}):
        log.warning(
            "Executors of task groups will be refused by realm %s, where they launch containers:"
            " they need --jwt_secret_key, and '%s' in --http_authenticators",
            READ_WRITE,
            _JWT,
        )

    def make(name: str, realm: str) -> HttpAuthenticator:
        given = parameters.get(name, ())
        context = AuthenticatorContext(realm, credentials, key, given, time)
        return _make(name, context)

    return Realms(
        {
            realm: tuple(make(name, realm) for name in names)
            for realm, wanted in enabled.items()
            if wanted
        }
    )


def _names(flags: AgentFlags) -> list[str]:
    if flags.http_authenticators is None:
        return [_BASIC, _JWT] if flags.authenticate_http_executors else [_BASIC]
    names = [name for name in flags.http_authenticators.split(",") if name]
    if not names:
        raise FlagError("No HTTP authenticator specified in --http_authenticators")
    return names


def _make(name: str, context: AuthenticatorContext) -> HttpAuthenticator:
    group = Group(GROUP)
    if name not in group:
        known = ", ".join(group.names())
        raise FlagError(
            f"HTTP authenticator '{name}' not found. Check the spelling (compare to '{_BASIC}') or"
            f" verify that it is installed (known: {known})"
        )
    try:
        made: HttpAuthenticator = group.make(
            name, lambda create: create(context), ("authenticate",)
        )
    except FlagError as error:
        raise FlagError(f"Failed to create HTTP authenticator module '{name}': {error}") from error
    if not isinstance(getattr(made, "scheme", None), str):
        raise FlagError(f"Failed to create HTTP authenticator module '{name}': it has no scheme")
    return made
