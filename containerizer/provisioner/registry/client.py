# SPDX-License-Identifier: Apache-2.0
"""One repository of one registry: manifests and blobs, with authentication and redirects.

``Authorization`` goes to the registry and to the issuer of its tokens, and to nobody else.

Source: spec ``images`` 8.5; the distribution specification; Docker's token authentication.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urljoin, urlsplit

import aiohttp
from aiohttp import hdrs

from containerizer.provisioner.documents import MAX_DOCUMENT, parse_object, string
from containerizer.provisioner.registry.challenge import Challenge, parse_challenges
from containerizer.provisioner.registry.credentials import Credential
from containerizer.provisioner.registry.endpoint import DEFAULT_PORTS
from containerizer.provisioner.registry.manifest import ACCEPT
from containerizer.provisioner.registry.retry import retry_after_s
from containerizer.provisioner.registry.sources import Source, TlsConfig
from containerizer.provisioner.registry.transport import (
    TransientError,
    Transport,
    local_registry,
    shown,
    status_text,
)
from mesos_compat.base.errors import ManifestError, RegistryError, WireError

log = logging.getLogger(__name__)

MAX_REDIRECTS = 10

#: Longest URL that we follow.
_MAX_URL = 8192

#: Seconds that a token is good for if its issuer does not say, and what we leave of that.
_TOKEN_S = 60.0
_TOKEN_MARGIN_S = 5.0

_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSIENT = (408, 429, 500, 502, 503, 504)

_PRINTABLE = re.compile(r"[\x21-\x7e]{1,65536}")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(?:(\d{1,18})|\*)")


@dataclass(frozen=True, slots=True)
class FoundManifest:
    """A manifest as a registry sent it."""

    body: bytes
    content_type: str
    #: What the registry says its digest is.
    digest: str | None


class RepositoryClient:
    """What one source has of one repository."""

    def __init__(
        self,
        transport: Transport,
        source: Source,
        credential: Credential | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self._transport = transport
        self._credential = credential
        self._clock = clock
        self._local = local_registry(source.endpoint.host)
        basic = None if credential is None else credential.basic
        #: What ``Authorization`` says, and until when.
        self._header = None if basic is None else f"Basic {basic}"
        self._expires = float("inf")
        self._challenge: Challenge | None = None
        self._lock = asyncio.Lock()

    async def manifest(self, name: str) -> FoundManifest:
        """Get the manifest of a tag or digest, unchecked. Raises RegistryError."""
        url = self._url(f"manifests/{name}")
        async with self._open(url, {hdrs.ACCEPT: ACCEPT}, verified=":" in name) as reply:
            if reply.status != 200:
                text = f"Unexpected HTTP response '{status_text(reply.status)}'"
                raise await self._failure(reply, f"{text} when trying to get the manifest")
            content_type = reply.headers.get(hdrs.CONTENT_TYPE)
            if content_type is None:
                raise RegistryError("No Content-Type present")
            body = await self._transport.document(reply, MAX_DOCUMENT, "the manifest")
            return FoundManifest(body, content_type, reply.headers.get("Docker-Content-Digest"))

    @asynccontextmanager
    async def blob(self, digest: str, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Get a blob, unchecked, from ``offset`` on; the block gets its bytes.

        Raises RegistryError or TransientError, in the block, too.
        """
        url = self._url(f"blobs/{digest}")
        async with self._open(url, _range(offset), verified=True) as reply:
            yield await self._bytes(reply, offset)

    @asynccontextmanager
    async def foreign(self, url: str, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Get a blob from ``url``, which a manifest names. As ``blob``."""
        async with AsyncExitStack() as stack:
            reply = await self._follow(stack, url, _range(offset), None, verified=True)
            yield await self._bytes(reply, offset)

    def _url(self, path: str) -> str:
        namespace = self.source.namespace
        query = "" if namespace is None else f"?ns={quote(namespace, safe=':')}"
        return f"{self.source.url}/{path}{query}"

    async def _bytes(self, reply: aiohttp.ClientResponse, offset: int) -> AsyncIterator[bytes]:
        skip = 0
        if reply.status == 206:
            found = _CONTENT_RANGE.fullmatch(reply.headers.get(hdrs.CONTENT_RANGE, ""))
            if found is None or found[1] is None or int(found[1]) != offset:
                raise RegistryError("the registry sends another range of the blob than asked for")
        elif reply.status == 416 and offset:
            found = _CONTENT_RANGE.fullmatch(reply.headers.get(hdrs.CONTENT_RANGE, ""))
            if found is None or found[2] is None or int(found[2]) != offset:
                raise RegistryError("the registry has less of the blob than it sent before")
            return _nothing()
        elif reply.status == 200:
            skip = offset
        else:
            text = f"Unexpected HTTP response '{status_text(reply.status)}'"
            raise await self._failure(reply, f"{text} when trying to download the blob")
        return _without(self._transport.chunks(reply), skip)

    # --- one request ---

    @asynccontextmanager
    async def _open(
        self, url: str, headers: Mapping[str, str], *, verified: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask the registry, authenticating as it wants."""
        for attempt in range(3):
            authorization = await self._authorization(url)
            async with AsyncExitStack() as stack:
                reply = await self._follow(stack, url, headers, authorization, verified=verified)
                if reply.status != 401 or attempt == 2:
                    yield reply
                    return
                challenges = self._challenges(reply, url)
            await self._authenticate(challenges, authorization, url)

    async def _follow(
        self,
        stack: AsyncExitStack,
        url: str,
        headers: Mapping[str, str],
        authorization: str | None,
        *,
        verified: bool,
    ) -> aiohttp.ClientResponse:
        """Return the reply at the end of all redirects, open as long as ``stack``.

        What is ``verified`` by its digest may come without TLS from where the registry, asked
        with TLS, sends us.
        """
        secure = self.source.endpoint.scheme == "https" and not verified
        hop = url
        for _ in range(MAX_REDIRECTS + 1):
            if secure and not hop.lower().startswith("https://"):
                raise RegistryError(f"'{shown(hop)}' has no TLS: it is not followed")
            home = self._home(hop)
            sent = dict(headers)
            if home and authorization is not None and (hop == url or self._api(hop)):
                sent[hdrs.AUTHORIZATION] = authorization
            if home:
                sent |= dict(self.source.headers)
            async with AsyncExitStack() as one:
                reply = await one.enter_async_context(
                    self._transport.request(
                        hop,
                        sent,
                        tls=self.source.tls if home else TlsConfig(),
                        guarded=not home and not self._local,
                    )
                )
                if reply.status not in _REDIRECTS:
                    stack.push_async_exit(one.pop_all())
                    return reply
                where = reply.headers.get(hdrs.LOCATION)
            hop = _joined(hop, where)
        raise RegistryError(f"'{shown(url)}' redirects more than {MAX_REDIRECTS} times")

    def _home(self, url: str) -> bool:
        """Whether a URL is on the registry: same scheme, host and port."""
        endpoint = self.source.endpoint
        port = endpoint.port or DEFAULT_PORTS[endpoint.scheme]
        return _origin(url) == (endpoint.scheme, endpoint.host, port)

    def _api(self, url: str) -> bool:
        return urlsplit(url).path.startswith(f"{self.source.prefix}/")

    async def _failure(self, reply: aiohttp.ClientResponse, text: str) -> RegistryError:
        """Return the error that a status means; log what the registry says of it."""
        said = await self._said(reply)
        if said:
            log.warning("Registry %s: %s: %s", self.source.endpoint.url, text, said)
        if reply.status not in _TRANSIENT:
            return RegistryError(text)
        error = TransientError(text)
        error.retry_after_s = retry_after_s(reply.headers.get(hdrs.RETRY_AFTER))
        return error

    async def _said(self, reply: aiohttp.ClientResponse) -> str:
        """Return the messages in the body of an error."""
        try:
            body = await self._transport.document(reply, 16384, "the error")
            errors = json.loads(body)["errors"]
            text = "; ".join(f"{e.get('code')}: {e.get('message')}" for e in errors[:3])
        except (RegistryError, aiohttp.ClientError, OSError):
            return ""
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ""
        return "".join(c for c in text[:300] if c.isprintable())

    # --- authentication ---

    async def _authorization(self, url: str) -> str | None:
        if self._clock() >= self._expires and self._challenge is not None:
            await self._authenticate([self._challenge], self._header, url)
        return self._header

    def _challenges(self, reply: aiohttp.ClientResponse, url: str) -> list[Challenge]:
        where = shown(url)
        headers = reply.headers.getall(hdrs.WWW_AUTHENTICATE, [])
        if not headers:
            raise RegistryError(
                f"Failed to get WWW-Authenticate header from {where}: the header is missing"
            )
        try:
            found = parse_challenges(headers)
        except WireError as error:
            raise RegistryError(
                f"Failed to get WWW-Authenticate header from {where}: {error}"
            ) from error
        if not found:
            raise RegistryError(f"Got unexpected empty WWW-Authenticate header from {where}")
        return found

    async def _authenticate(self, challenges: list[Challenge], used: str | None, url: str) -> None:
        """Get what the registry wants instead of the header that was ``used``."""
        async with self._lock:
            if self._header != used:
                return  # somebody else was faster
            for challenge in challenges:
                if challenge.scheme == "bearer":
                    token, lifetime_s = await self._token(challenge)
                    self._challenge = challenge
                    self._header = f"Bearer {token}"
                    margin_s = min(_TOKEN_MARGIN_S, lifetime_s / 2)
                    self._expires = self._clock() + lifetime_s - margin_s
                    return
            if any(challenge.scheme == "basic" for challenge in challenges):
                basic = None if self._credential is None else self._credential.basic
                if basic is not None and used != f"Basic {basic}":
                    self._header, self._expires = f"Basic {basic}", float("inf")
                    return
                raise RegistryError(
                    "Got unexpected BASIC Authorization response status:"
                    f" {status_text(401)} from {shown(url)}"
                )
            scheme = challenges[0].scheme.upper()[:50]
            raise RegistryError(f"Got unsupported auth-scheme: {scheme} from {shown(url)}")

    async def _token(self, challenge: Challenge) -> tuple[str, float]:
        """Return a token and the seconds that it is good for."""
        realm = challenge.parameters.get("realm") or await self._realm()
        query = {
            "service": challenge.parameters.get("service", ""),
            "scope": challenge.parameters.get("scope", "")
            or f"repository:{self.source.repository}:pull",
        }
        query = {name: value for name, value in query.items() if value}
        if _origin(realm) is None or len(realm) > _MAX_URL:
            raise RegistryError(f"'{shown(realm)}' is not the URL of an issuer of tokens")
        form: dict[str, str] | None = None
        authorization: str | None = None
        url = realm
        if self._credential is not None and self._credential.identity_token is not None:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._credential.identity_token,
                "client_id": "mesos-compat",
                **query,
            }
        else:
            if self._credential is not None:
                authorization = f"Basic {self._credential.basic}"
            encoded = urlencode(query, safe=":/,", quote_via=quote)
            url = f"{realm}{'&' if '?' in realm else '?'}{encoded}"
        if self.source.endpoint.scheme == "https" and not realm.lower().startswith("https://"):
            raise RegistryError(f"'{shown(realm)}' has no TLS: no token is asked for there")
        return await self._ask_token(url, authorization, form)

    async def _ask_token(
        self, url: str, authorization: str | None, form: Mapping[str, str] | None
    ) -> tuple[str, float]:
        issuer = _origin(url)
        hop = url
        for _ in range(MAX_REDIRECTS + 1):
            same = _origin(hop) == issuer
            sent: dict[str, str] = {}
            if same and authorization:
                sent[hdrs.AUTHORIZATION] = authorization
            home = self._home(hop)
            async with self._transport.request(
                hop,
                sent,
                tls=self.source.tls if self._own_host(hop) else TlsConfig(),
                guarded=not home and not self._local,
                form=form if same else None,
            ) as reply:
                if reply.status not in _REDIRECTS:
                    return await self._read_token(reply, url)
                where = reply.headers.get(hdrs.LOCATION)
            hop = _joined(hop, where)
            if issuer is not None and issuer[0] == "https" and not hop.startswith("https://"):
                raise RegistryError(f"'{shown(hop)}' has no TLS: it is not followed")
        raise RegistryError(f"'{shown(url)}' redirects more than {MAX_REDIRECTS} times")

    def _own_host(self, url: str) -> bool:
        found = _origin(url)
        return found is not None and found[1] == self.source.endpoint.host

    async def _read_token(self, reply: aiohttp.ClientResponse, url: str) -> tuple[str, float]:
        if reply.status != 200:
            text = f"Unexpected HTTP response '{status_text(reply.status)}'"
            raise await self._failure(reply, f"{text} when trying to GET '{shown(url)}'")
        body = await self._transport.document(reply, MAX_DOCUMENT, "the token")
        try:
            answer = parse_object(body)
            token = string(answer, "token") or string(answer, "access_token")
        except ManifestError as error:
            raise RegistryError(f"Failed to parse the token: {error}") from error
        if token is None:
            raise RegistryError("Failed to find token in JSON object")
        if _PRINTABLE.fullmatch(token) is None:
            raise RegistryError("the token is not usable in a header")
        lifetime = answer.get("expires_in")
        if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or lifetime <= 0:
            lifetime = _TOKEN_S
        return token, float(min(lifetime, 86400.0))

    async def _realm(self) -> str:
        """Ask the registry for the issuer of its tokens, which a challenge left out."""
        url = f"{self.source.endpoint.url}{self.source.prefix}/"
        basic = None if self._credential is None else self._credential.basic
        async with AsyncExitStack() as stack:
            reply = await self._follow(
                stack, url, {}, None if basic is None else f"Basic {basic}", verified=False
            )
            for challenge in self._challenges(reply, url):
                realm = challenge.parameters.get("realm")
                if challenge.scheme == "bearer" and realm:
                    return realm
        raise RegistryError(
            f"Missing 'realm' in WWW-Authenticate header obtained from {shown(url)}"
        )


def _range(offset: int) -> dict[str, str]:
    return {hdrs.RANGE: f"bytes={offset}-"} if offset else {}


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for data in nothing:
        yield data


async def _without(chunks: AsyncIterator[bytes], skip: int) -> AsyncIterator[bytes]:
    """Leave out the first bytes, which a server without ranges sends again."""
    async for data in chunks:
        if skip >= len(data):
            skip -= len(data)
            continue
        yield data[skip:] if skip else data
        skip = 0


def _joined(base: str, where: str | None) -> str:
    if not where or len(where) > _MAX_URL or not where.isascii() or not where.isprintable():
        raise RegistryError(f"'{shown(base)}' redirects to nowhere")
    try:
        found = urljoin(base, where)
    except ValueError as error:
        raise RegistryError(f"'{shown(base)}' redirects to no URL") from error
    if _origin(found) is None:
        raise RegistryError(f"'{shown(base)}' redirects to '{shown(found)}', which is no web site")
    return found


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a web address; ``None`` if it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not host:
        return None
    return parts.scheme, host, port or DEFAULT_PORTS[parts.scheme]
