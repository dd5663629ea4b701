# SPDX-License-Identifier: Apache-2.0
"""Who sends a request: realms, and the authenticators that are asked.

An authenticator is found by an entry point of the group ``mesos_compat.http_authenticators``: a
function of an ``AuthenticatorContext`` that returns an ``HttpAuthenticator``. It is asked before
the body of a request is read, so the body is not its to read.

Deviation: each request is authenticated on its own, without waiting for those that came before it
by other connections.

Source: spec ``operator-api`` 1.5, 7.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiohttp import web

from mesos_compat.base.errors import InvariantError, MesosCompatError
from mesos_compat.base.log import Complaints
from mesos_compat.base.plugins import Parameters
from mesos_compat.http import reply
from mesos_compat.http.principal import Principal, set_principal
from mesos_compat.http.reply import Reply

log = logging.getLogger(__name__)

#: Requests that only read, those that act, and those of executors.
READ_ONLY: Final = "mesos-agent-readonly"
READ_WRITE: Final = "mesos-agent-readwrite"
EXECUTOR: Final = "mesos-agent-executor"

#: Seconds that an authenticator may take.
LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class AuthenticatorContext:
    """What an authenticator is made of. No text of this object shows secrets."""

    #: The realm whose requests it is asked about.
    realm: str
    #: The secret of each principal, from ``--http_credentials``.
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The key of tokens, from ``--jwt_secret_key``.
    key: bytes | None = field(default=None, repr=False)
    #: Those that ``--modules`` gives it.
    parameters: Parameters = ()
    #: Returns the seconds since the epoch.
    time: Callable[[], float] = field(default=lambda: 0.0, repr=False)


@dataclass(frozen=True, slots=True)
class AuthenticationRefusal:
    """Why a request has no principal. The client sees all of it."""

    #: 401 or 403.
    status: int = 401
    body: str = reply.default_body(401)
    #: The value of ``WWW-Authenticate``, for 401.
    challenge: str = ""


class HttpAuthenticator(Protocol):
    """Finds out who sends requests of one realm."""

    @property
    def scheme(self) -> str:
        """What ``Authorization`` begins with."""

    async def authenticate(self, request: web.BaseRequest) -> Principal | AuthenticationRefusal:
        """Say who sent a request, by all of it but its body.

        The text of a MesosCompatError that it raises is shown to the client.
        """


@dataclass(frozen=True, slots=True)
class _Failure:
    """An authenticator could not tell."""

    text: str


class Realms:
    """The authenticators of each realm that has any, in the order in which they are asked."""

    def __init__(self, authenticators: Mapping[str, Sequence[HttpAuthenticator]]) -> None:
        self._authenticators = authenticators
        self._complaints = Complaints(log)

    async def refusal(self, realm: str, request: web.BaseRequest) -> Reply | None:
        """Find out who sent a request, or return the answer to somebody unknown.

        Who it is, is told to the request. A realm without authenticators takes everybody.
        """
        asked = self._authenticators.get(realm, ())
        failed: list[tuple[str, AuthenticationRefusal | _Failure]] = []
        for authenticator in asked:
            found = await _ask(authenticator, request)
            if isinstance(found, Principal):
                set_principal(request, found)
                return None
            failed.append((authenticator.scheme, found))
        set_principal(request, None)
        if not failed:
            return None
        answer = _answer(failed)
        self._complaints.warn(
            "Refused %s %r of %s: %d by realm %s",
            request.method,
            request.path,
            request.remote or "a local client",
            answer.status,
            realm,
        )
        return answer


async def _ask(
    authenticator: HttpAuthenticator, request: web.BaseRequest
) -> Principal | AuthenticationRefusal | _Failure:
    """Ask code that may be foreign."""
    try:
        async with asyncio.timeout(LIMIT_S):
            found: object = await authenticator.authenticate(request)
    except InvariantError:
        raise
    except MesosCompatError as error:
        return _Failure(str(error))
    except Exception as error:
        # Its text may hold what the client sent, or what that is compared with.
        where = "".join(traceback.format_tb(error.__traceback__))
        why = type(error).__name__
        log.error("The authenticator of %s broke: %s\n%s", authenticator.scheme, why, where)
        return _Failure(f"The authenticator of {authenticator.scheme} failed")
    if isinstance(found, Principal) and (found.value is not None or found.claims):
        return found
    if isinstance(found, AuthenticationRefusal):
        return found
    log.error("The authenticator of %s returned no principal", authenticator.scheme)
    return _Failure(f"The authenticator of {authenticator.scheme} failed")


def _answer(failed: Sequence[tuple[str, AuthenticationRefusal | _Failure]]) -> Reply:
    """Join what the authenticators of a realm answer."""
    refused = [
        (scheme, found) for scheme, found in failed if isinstance(found, AuthenticationRefusal)
    ]
    for status in (401, 403):
        of_status = [(scheme, found) for scheme, found in refused if found.status == status]
        if not of_status:
            continue
        if len(failed) == 1:
            body = of_status[0][1].body
        else:
            body = "\n\n".join(
                f'"{scheme}" authenticator returned:\n{found.body}' for scheme, found in of_status
            )
        challenges = [found.challenge for _, found in of_status if found.challenge]
        headers = (("WWW-Authenticate", ",".join(challenges)),) if challenges else ()
        return Reply(status, body.encode("utf-8", "surrogateescape"), reply.TEXT, headers)
    texts = [found.text for _, found in failed if isinstance(found, _Failure)]
    return reply.text("\n\n".join(texts), 500)
