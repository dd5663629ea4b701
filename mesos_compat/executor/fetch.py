# SPDX-License-Identifier: Apache-2.0
"""The status code that a URL has, as an HTTP check wants to know it. Blocks.

Redirects are followed, certificates are not checked, proxies are not used.

Source: spec ``executors`` 7.4.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mesos_compat.base import http1
from mesos_compat.base.errors import WireError

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 50
_READ_BYTES = 16 << 10
_PORTS = {"http": 80, "https": 443}
#: What is sent of a path as it is.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


def status_of(url: str) -> int:
    """Return the status code of what ``url`` leads to. Raises OSError, WireError, ValueError."""
    for _ in range(_MAX_REDIRECTS + 1):
        head = _get(urlsplit(url))
        target = head.headers.get("location")
        if head.status not in _REDIRECTS or not target:
            return head.status
        url = urljoin(url, target)
    raise WireError(f"Maximum ({_MAX_REDIRECTS}) redirects followed")


def load_for(url: str) -> None:
    """Load what a URL needs, while files can be reached."""
    if url.startswith("https:"):
        import ssl  # noqa: F401 only those who need OpenSSL load it


def _get(url: SplitResult) -> http1.MessageHead:
    if url.scheme not in _PORTS or not url.hostname:
        raise WireError(f"unsupported URL '{url.geturl()[:200]}'")
    with _connect(url.hostname, url.port or _PORTS[url.scheme]) as plain:
        if url.scheme == "http":
            return _exchange(plain, url)
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        name = None if _is_ip(url.hostname) else url.hostname
        with context.wrap_socket(plain, server_hostname=name) as secure:
            return _exchange(secure, url)


def _connect(host: str, port: int) -> socket.socket:
    """Connect to the first address that answers."""
    error = OSError(f"Could not resolve host: {host}")
    # As bytes: the codec for names that are text would be loaded.
    name = host.encode("ascii")
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.connect(address)
        except OSError as failed:
            made.close()
            error = failed
        else:
            return made
    raise error


def _exchange(peer: socket.socket, url: SplitResult) -> http1.MessageHead:
    path = quote(url.path or "/", _SAFE) + (f"?{quote(url.query, _SAFE)}" if url.query else "")
    host = url.netloc.rpartition("@")[2]
    lines = (f"GET {path} HTTP/1.1", f"Host: {host}", "Accept: */*", "Connection: close", "", "")
    peer.sendall("\r\n".join(lines).encode("ascii"))
    reader = http1.MessageReader(responses=True)
    head: http1.MessageHead | None = None
    while data := peer.recv(_READ_BYTES):
        for part in reader.feed(data):
            if isinstance(part, http1.MessageHead):
                head = part
            elif isinstance(part, http1.MessageEnd):
                assert head is not None
                return head
    if head is None:
        raise WireError("Empty reply from server")
    raise WireError("the answer ends in its middle")


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
