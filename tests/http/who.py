# SPDX-License-Identifier: Apache-2.0
"""Clients that say who they are, and are believed."""

from __future__ import annotations

import json

from aiohttp import web

from mesos_compat.http.authentication import EXECUTOR, READ_ONLY, READ_WRITE, Realms
from mesos_compat.http.principal import Principal


class Believer:
    """Takes a client for whoever its header ``Who`` says: a name, or claims as JSON."""

    scheme = "Who"

    async def authenticate(self, request: web.BaseRequest) -> Principal:
        text = request.headers["Who"]
        return Principal(None, json.loads(text)) if text.startswith("{") else Principal(text)


def believing() -> Realms:
    return Realms({realm: (Believer(),) for realm in (READ_ONLY, READ_WRITE, EXECUTOR)})
