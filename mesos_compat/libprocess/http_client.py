# SPDX-License-Identifier: Apache-2.0
"""HTTP requests to masters and agents, by TLS as ``LIBPROCESS_SSL_*`` say.

No byte of a request leaves before the server's certificate was checked. With downgrade a server
that does not speak TLS is spoken to in plain, one whose certificate is wrong never.

Source: spec ``agent-master`` 2.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from mesos_compat.base.errors import WireError
from mesos_compat.base.tls import Tls
from mesos_compat.libprocess.secure import name_of


@dataclass(frozen=True, slots=True)
class HttpPeer:
    """A server: its address, and the name that was given instead of an IP (may be empty)."""

    ip: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name or self.ip}:{self.port}"


class HttpClient:
    """Requests to any number of servers; in plain without ``tls``."""

    def __init__(self, tls: Tls | None = None) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        #: The same context for the same server, so that connections are used again.
        self._contexts: dict[HttpPeer, ssl.SSLContext] = {}

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "http" if self._tls is None else "https"

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        peer: HttpPeer,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Hold the answer to a request; ``options`` are those of ``ClientSession.request``.

        Redirects are not followed. Raises aiohttp.ClientError, TimeoutError and OSError.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession()
        if peer.name:
            headers = {"Host": str(peer), **(headers or {})}
        place = f"{peer.ip}:{peer.port}{path}"
        options |= {"headers": headers, "allow_redirects": False}
        try:
            secure = await self._secure(peer)
            answer = await self._session.request(
                method, f"{self.scheme}://{place}", **secure, **options
            )
        except aiohttp.ClientConnectorCertificateError:
            raise
        except aiohttp.ClientConnectorError:
            if self._tls is None or not self._tls.options.support_downgrade:
                raise
            answer = await self._session.request(method, f"http://{place}", **options)
        async with answer:
            yield answer

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _secure(self, peer: HttpPeer) -> dict[str, Any]:
        """Return what makes a request to ``peer`` go by TLS."""
        tls = self._tls
        if tls is None:
            return {}
        try:
            name = tls.server_name(peer.ip, peer.name)
        except WireError as error:
            raise aiohttp.ClientConnectionError(str(error)) from error
        if peer not in self._contexts:
            called = await name_of(peer.ip) if tls.looks_up_servers else None
            # In a thread: it reads the certificates of all authorities.
            self._contexts[peer] = await asyncio.to_thread(tls.client_of, peer.ip, called)
        return {"ssl": self._contexts[peer], "server_hostname": name}


def why(error: BaseException) -> str:
    """Return what went wrong with a request, for people."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        shown = error.certificate_error
        return str(getattr(shown, "verify_message", "") or shown)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
