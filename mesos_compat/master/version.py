# SPDX-License-Identifier: Apache-2.0
"""Which version a master is of: it says so at its HTTP endpoint.

Source: spec ``agent-master`` 6.12.
"""

from __future__ import annotations

import logging
from typing import Final

import aiohttp

from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import WireError
from mesos_compat.base.tls import Tls
from mesos_compat.libprocess.http_client import HttpClient, HttpPeer, why
from mesos_compat.libprocess.upid import UPID
from mesos_compat.model import jsonpb

log = logging.getLogger(__name__)

#: Seconds that a master may take to answer, and between two attempts to reach it.
_ANSWER_S: Final = 5.0
_RETRY_S: Final = 1.0
_MAX_BYTES: Final = 64 << 10


async def version(master: UPID, clock: Clock, tls: Tls | None = None, name: str = "") -> str:
    """Return what the master says; empty if it does not say it. Waits until it can be reached.

    ``name`` is what it was called by who named it, for the check of its certificate.
    """
    complained = False
    while True:
        try:
            found = await _answer(master, tls, name)
        except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError) as error:
            if not complained:
                log.warning("Master %s cannot be reached: %s", master, why(error))
                complained = True
            await clock.sleep(_RETRY_S)
            continue
        except (aiohttp.ClientError, TimeoutError, WireError) as error:
            log.warning("Master %s does not tell its version: %s", master, why(error))
            return ""
        return found


async def _answer(master: UPID, tls: Tls | None, name: str) -> str:
    peer = HttpPeer(master.ip, master.port, name)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    async with (
        HttpClient(tls) as client,
        client.request("GET", peer, "/version", timeout=timeout) as response,
    ):
        if response.status != 200:
            raise WireError(f"it answers {response.status}")
        body = await response.content.read(_MAX_BYTES)
    document = jsonpb.loads(body)
    told = document.get("version") if isinstance(document, dict) else None
    if not isinstance(told, str):
        raise WireError("there is none in its answer")
    return told
