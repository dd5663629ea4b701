# SPDX-License-Identifier: Apache-2.0
"""How commands reach masters and agents: addresses as users write them, TLS of the environment.

``host:port`` is spoken to by TLS if ``LIBPROCESS_SSL_ENABLED`` says so, as between all programs of
a cluster. A URL says it itself: ``http://host:port`` is plain, ``https://host:port`` is TLS whose
certificate has to be right, unless ``LIBPROCESS_SSL_VERIFY_SERVER_CERT=false``. Agents of this host
that serve TLS alone say ``tls://ip:port``: TLS as within the cluster, enabled or not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from mesos_compat.base.errors import FlagError
from mesos_compat.base.tls import Tls
from mesos_compat.base.tls_options import TlsOptions
from mesos_compat.libprocess.http_client import HttpClient, HttpPeer
from mesos_compat.master.detected import parse_location

log = logging.getLogger(__name__)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "tls": 5051}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """What a user wrote."""

    #: Empty, ``http``, ``https`` or ``tls``.
    scheme: str
    #: Whatever it is without a scheme; ``host:port`` with one.
    rest: str
    #: User and password.
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}" if self.scheme else self.rest

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Read ``http[s]://[user:password@]host[:port][/]``; anything else is kept as it is.

        Raises FlagError.
        """
        scheme, separator, rest = text.strip().partition("://")
        if not separator or scheme not in _DEFAULT_PORTS:
            return cls("", text.strip())
        credentials, at, rest = rest.rpartition("@")
        user, _, password = credentials.partition(":")
        host = rest.removesuffix("/")
        if not host or "/" in host:
            raise FlagError(f"Failed to parse '{scheme}://{rest}': expecting {scheme}://host:port")
        if ":" not in host:
            host = f"{host}:{_DEFAULT_PORTS[scheme]}"
        return cls(scheme, host, (unquote(user), unquote(password)) if at else None)

    def tls(self, environ: Mapping[str, str]) -> Tls | None:
        """Return how TLS is spoken, ``None`` for plain. Raises FlagError."""
        if self.scheme == "http":
            return None
        if self.scheme == "tls":
            environ = {**environ, "LIBPROCESS_SSL_ENABLED": "true"}
        options = (
            TlsOptions.of_url(environ)
            if self.scheme == "https"
            else TlsOptions.of(environ, need_key=False)
        )
        if options is None:
            return None
        made = Tls(options)
        for warning in made.warnings:
            log.warning("%s", warning)
        return made

    def client(self, environ: Mapping[str, str]) -> HttpClient:
        """Return who makes requests to it. Raises FlagError."""
        return HttpClient(self.tls(environ))


def peer_of(location: str) -> HttpPeer:
    """Read ``host:port``; a name is resolved (blocking). Raises FlagError."""
    upid, name = parse_location(location)
    return HttpPeer(upid.ip, upid.port, name)
