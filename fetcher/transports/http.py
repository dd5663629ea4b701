# SPDX-License-Identifier: Apache-2.0
"""Download a file with HTTP or HTTPS.

Source: spec ``images`` 8.3 (the texts name ``curl``, which upstream runs), ``fetcher``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator

import aiohttp

from mesos_compat.base.errors import FetchError

#: As curl follows them.
MAX_REDIRECTS = 50

#: Bytes that are written at once.
_CHUNK = 1 << 20


async def download(uri: str, target: str, *, stall_timeout_s: float, most_bytes: int) -> None:
    """Write what ``uri`` names to the new file ``target``. Raises FetchError.

    No byte for ``stall_timeout_s`` seconds (0 for no limit) ends it, as do more than
    ``most_bytes``. After a failure or a cancellation a part of the file may be left.
    """
    async with _asked(uri, stall_timeout_s) as reply:
        await _write(reply, target, uri, most_bytes)


async def read_page(
    uri: str, *, timeout_s: float, most_bytes: int, encrypted: bool = False
) -> bytes:
    """Return what ``uri`` names, within ``timeout_s`` seconds in all. Raises FetchError.

    If it has to be ``encrypted``, every redirect has to be so, too.
    """
    try:
        async with asyncio.timeout(timeout_s), _asked(uri, timeout_s) as reply:
            if encrypted and any(each.url.scheme != "https" for each in (*reply.history, reply)):
                raise FetchError(f"'{uri}' leads to a place without TLS")
            data = bytearray()
            async for chunk in reply.content.iter_any():
                data += chunk
                if len(data) > most_bytes:
                    raise FetchError(f"'{uri}' has more than {most_bytes} bytes")
            return bytes(data)
    except TimeoutError as error:
        raise FetchError(f"'{uri}' took longer than {timeout_s:g} seconds") from error


@contextlib.asynccontextmanager
async def _asked(uri: str, stall_timeout_s: float) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request; the block reads the answer, which is 200. Raises FetchError."""
    stall = stall_timeout_s or None
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=stall, sock_read=stall)
    loop = asyncio.get_running_loop()
    try:
        # It reads hundreds of certificates; http may lead to https.
        tls = await loop.run_in_executor(None, _tls)
        async with (
            aiohttp.ClientSession(
                timeout=timeout, trust_env=True, auto_decompress=False
            ) as session,
            session.get(
                uri, max_redirects=MAX_REDIRECTS, headers={"Accept-Encoding": "identity"}, ssl=tls
            ) as reply,
        ):
            if reply.status != 200:
                raise FetchError(
                    f"Unexpected HTTP response code for '{uri}':"
                    f" {reply.status} {reply.reason or ''}".rstrip()
                )
            yield reply
    except TimeoutError as error:
        raise FetchError(
            f"Failed to perform 'curl' for '{uri}': no data for {stall_timeout_s:g} seconds"
        ) from error
    except aiohttp.ClientError as error:
        why = str(error) or type(error).__name__
        raise FetchError(f"Failed to perform 'curl' for '{uri}': {why}") from error
    except (OSError, ValueError) as error:
        raise FetchError(f"Failed to perform 'curl' for '{uri}': {error}") from error


def _tls() -> ssl.SSLContext:
    """Trust what curl would: the system, ``SSL_CERT_FILE`` and ``CURL_CA_BUNDLE``."""
    context = ssl.create_default_context()
    bundle = os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        context.load_verify_locations(bundle)
    return context


async def _write(reply: aiohttp.ClientResponse, target: str, uri: str, most_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        total = 0
        pending = bytearray()
        async for chunk in reply.content.iter_any():
            total += len(chunk)
            if total > most_bytes:
                raise FetchError(f"'{uri}' has more than {most_bytes} bytes")
            pending += chunk
            if len(pending) >= _CHUNK:
                # Shielded: the descriptor must stay open until the thread is done with it.
                await _uncancelled(loop.run_in_executor(None, _write_all, fd, bytes(pending)))
                pending.clear()
        await _uncancelled(loop.run_in_executor(None, _write_all, fd, bytes(pending)))
    finally:
        os.close(fd)


async def _uncancelled(future: asyncio.Future[None]) -> None:
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
