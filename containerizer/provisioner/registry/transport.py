# SPDX-License-Identifier: Apache-2.0
"""Requests to registries and to where they send us: one hop each, nothing followed, all bounded.

What a registry says decides where we connect to, so a hop that is not to the registry itself may
not lead to this host or to link-local addresses, where clouds keep their secrets.

Deviation: upstream follows to any address.

Source: spec ``images`` 8.5; upstream runs curl, whose variables for proxies and authorities hold.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp import hdrs
from yarl import URL

from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.registry.proxies import proxy_for
from containerizer.provisioner.registry.sources import TlsConfig
from mesos_compat.base.errors import RegistryError

#: Bytes that are read at once.
READ_BYTES = 1 << 20

#: Fewest bytes per second, over the stall timeout, of what is not stalled.
MIN_RATE = 1024

_HEADERS: dict[str, str] = {hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: "mesos-compat"}


class TransientError(RegistryError):
    """A failure that another attempt may not meet."""

    #: How long the registry wants us to wait, in seconds.
    retry_after_s: float | None = None


class Transport:
    """Connections to registries, for one pull and what it shares with others.

    Used inside of ``async with``, by several at a time; the last one to leave closes it.
    """

    def __init__(self, environment: Mapping[str, str], stall_timeout_s: float) -> None:
        """``stall_timeout_s`` of 0 is none."""
        self._environment = environment
        self._stall_s = stall_timeout_s or None
        self._contexts: dict[TlsConfig, ssl.SSLContext] = {}
        self._making = asyncio.Lock()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._users = 0

    async def __aenter__(self) -> Transport:
        self._users += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._users -= 1
        while not self._users and self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    @asynccontextmanager
    async def request(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        tls: TlsConfig,
        guarded: bool,
        form: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for ``url``, with POST if there is a ``form``; the block gets the reply.

        ``guarded`` refuses addresses of this host. Raises RegistryError or TransientError, also
        for what goes wrong in the block with reading the reply.
        """
        try:
            target = URL(url, encoded=True)
        except ValueError as error:
            raise RegistryError(f"'{shown(url)}' is no URL") from error
        host, port = target.host, target.port
        if target.scheme not in ("http", "https") or not host or port is None:
            raise RegistryError(f"'{shown(url)}' is not the URL of a web server")
        proxy = proxy_for(self._environment, target.scheme, host, port)
        if guarded:
            _check_literal(host, url)
        via = None if proxy is None else _proxy_url(proxy)
        own = _proxy_headers(via)
        # aiohttp sends headers of a proxy only where it makes a tunnel
        plain = own if target.scheme == "http" else {}
        session = self._session(guarded and via is None)
        try:
            async with asyncio.timeout(self._stall_s) as limit:
                reply = await session.request(
                    "GET" if form is None else "POST",
                    target,
                    headers=_HEADERS | dict(headers) | plain,
                    data=form,
                    allow_redirects=False,
                    ssl=await self._context(tls) if target.scheme == "https" else True,
                    proxy=None if via is None else via.with_user(None),
                    proxy_headers=None if target.scheme == "http" else own,
                )
                limit.reschedule(None)
            async with reply:
                yield reply
        except TimeoutError as error:
            raise TransientError(_failed(url, f"no data for {self._stall_s:g} seconds")) from error
        except (aiohttp.ClientSSLError, aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            raise RegistryError(_failed(url, _why(error))) from error
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or str(error.os_error) or "unreachable"
            text = f"Failed to connect to {error.host} port {error.port}: {why[:200]}"
            raise TransientError(_failed(url, text)) from error
        except aiohttp.ClientResponseError as error:
            why = _clean(error.message.partition("\n")[0])
            raise RegistryError(_failed(url, f"unusable reply: {why}")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransientError(_failed(url, _why(error))) from error
        except ValueError as error:
            raise RegistryError(_failed(url, str(error)[:200])) from error

    async def chunks(self, reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield the body of a reply as it comes.

        Raises TransientError if too little comes; what the receiver takes to handle it does not
        count. The block of ``request`` turns other failures into its own.
        """
        waited, received = 0.0, 0
        while True:
            started = time.monotonic()
            async with asyncio.timeout(self._stall_s):
                data = await reply.content.readany()
            if not data:
                return
            waited += time.monotonic() - started
            received += len(data)
            if self._stall_s is not None and waited >= self._stall_s:
                if received < MIN_RATE * waited:
                    raise TimeoutError
                waited, received = 0.0, 0
            yield data

    async def document(self, reply: aiohttp.ClientResponse, most: int, what: str) -> bytes:
        """Return the whole body of a reply. Raises RegistryError if it has more than ``most``."""
        found = bytearray()
        async for data in self.chunks(reply):
            found += data
            if len(found) > most:
                raise RegistryError(f"{what} has more than {most} bytes")
        return bytes(found)

    def _session(self, guarded: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(guarded)
        if session is None:
            connector = aiohttp.TCPConnector(
                limit=0, socket_factory=_guarded_socket if guarded else None
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._stall_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=READ_BYTES,
            )
            self._sessions[guarded] = session
        return session

    async def _context(self, tls: TlsConfig) -> ssl.SSLContext:
        # Reading the certificates of all authorities takes a while.
        async with self._making:
            context = self._contexts.get(tls)
            if context is None:
                try:
                    context = await in_thread(_make_context, tls, self._environment)
                except OSError as error:
                    raise RegistryError(f"Failed to use certificates: {error}") from error
                self._contexts[tls] = context
            return context


def status_text(status: int) -> str:
    """Return a status as upstream shows it: ``404 Not Found``. Never the registry's words."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def shown(url: str) -> str:
    """Return a URL for messages: without user, query and what does not print."""
    text = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    text = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return "".join(c for c in text[:300] if c.isprintable())


def _failed(url: str, why: str) -> str:
    return f"Failed to perform 'curl' for '{shown(url)}': {why}"


def _why(error: Exception) -> str:
    return _clean(str(error)) or type(error).__name__


def _clean(text: str) -> str:
    return "".join(c for c in text[:300] if c.isprintable())


def _make_context(tls: TlsConfig, environment: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    bundle = environment.get("CURL_CA_BUNDLE")
    for path in (*((bundle,) if bundle else ()), *tls.authorities):
        context.load_verify_locations(path)
    if tls.client is not None:
        context.load_cert_chain(*tls.client)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy_url(proxy: str) -> URL:
    try:
        url = URL(proxy)
    except ValueError as error:
        raise RegistryError("the URL of the proxy is unusable") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise RegistryError(f"a proxy of the kind '{url.scheme}' is not supported")
    return url


def _proxy_headers(url: URL | None) -> dict[str, str]:
    if url is None or not url.raw_user:
        return {}
    pair = f"{unquote(url.raw_user)}:{unquote(url.raw_password or '')}"
    return {hdrs.PROXY_AUTHORIZATION: f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _local(address: str) -> bool:
    """Whether an address is this host's, or one that only its own network knows."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return (
        found.is_loopback
        or found.is_link_local
        or found.is_unspecified
        or found.is_multicast
        or str(found) in _METADATA
    )


#: Addresses outside of the link-local ones where clouds keep the secrets of machines.
_METADATA = ("fd00:ec2::254", "100.100.100.200")


def _check_literal(host: str, url: str) -> None:
    if host.lower().rstrip(".") == "localhost" or _local(host):
        raise RegistryError(f"'{shown(url)}' is an address of this host: it is not followed")


def _guarded_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, where = address
    if _local(str(where[0])):
        raise OSError(f"the address {where[0]} is this host's: it is not followed")
    return socket.socket(family, kind, protocol)


def local_registry(host: str) -> bool:
    """Whether a registry is itself on this host, and so may send us to others here."""
    return host == "localhost" or _local(host)
