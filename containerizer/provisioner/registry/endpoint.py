# SPDX-License-Identifier: Apache-2.0
"""From an image reference to the registry and the repository that have it. Pure.

Source: spec ``images`` 7.1; upstream ``docker/spec.cpp``, ``registry_puller.cpp``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from containerizer.provisioner.documents import check_digest
from containerizer.provisioner.reference import DEFAULT_TAG, Reference
from mesos_compat.base.errors import FlagError, ManifestError

#: Where images of Docker Hub are, and what references call it.
HUB_HOST = "registry-1.docker.io"
HUB_NAMES = ("docker.io", "index.docker.io", HUB_HOST)

DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253})")
_REPOSITORY = re.compile(
    r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """A registry's address."""

    scheme: str
    host: str
    #: ``None`` for the one of the scheme. Upstream writes it always if it is the flag's.
    port: int | None = None

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """An image in a registry, as a reference names it."""

    endpoint: RegistryAddress
    #: What mirrors are configured for: the registry's name in references.
    domain: str
    repository: str
    #: Tag or digest.
    name: str
    #: The digest that what is found under ``name`` must have.
    digest: str | None


def parse_registry(url: str) -> RegistryAddress:
    """Read the URL of ``--docker_registry``. Raises FlagError with upstream's words."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise FlagError("Missing scheme in url string")
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    host, *ports = authority.split(":")
    if not host:
        raise FlagError("Host not found in url")
    if len(ports) > 1:
        raise FlagError("Found multiple ports in url")
    if _HOST.fullmatch(host) is None:
        raise FlagError(f"'{host}' is not the name of a host")
    scheme = scheme.lower()
    if ports:
        if not _is_port(ports[0]):
            raise FlagError(f"Failed to parse port: '{ports[0]}'")
        port = int(ports[0])
    elif scheme in DEFAULT_PORTS:
        port = DEFAULT_PORTS[scheme]
    else:
        raise FlagError("Unable to determine port from url")
    if scheme not in DEFAULT_PORTS:
        raise FlagError(f"'{scheme}' is neither http nor https")
    return RegistryAddress(scheme, host.lower(), port)


def locate_image(reference: Reference, default: RegistryAddress) -> ImageLocation:
    """Return where an image is. Raises ManifestError.

    Deviation: names that no registry can have are refused before anything is asked for; and
    ``docker.io`` and ``index.docker.io`` mean Docker's registry, where upstream asks web sites.
    """
    if reference.registry is None:
        endpoint = default
    else:
        endpoint = parse_domain(reference.registry)
    domain = endpoint.authority if reference.registry is None else reference.registry
    repository = reference.repository
    if is_hub(endpoint.host):
        domain = "docker.io"
        if endpoint.host != HUB_HOST:
            endpoint = replace(endpoint, host=HUB_HOST)
        if "/" not in repository:
            repository = f"library/{repository}"
    if len(repository) > 255 or _REPOSITORY.fullmatch(repository) is None:
        raise ManifestError(f"'{repository[:255]}' is not the name of a repository")
    if reference.digest is not None:
        check_digest(reference.digest)
        return ImageLocation(endpoint, domain, repository, reference.digest, reference.digest)
    tag = reference.tag or DEFAULT_TAG
    if _TAG.fullmatch(tag) is None:
        raise ManifestError(f"'{tag[:128]}' is not a tag")
    return ImageLocation(endpoint, domain, repository, tag, None)


def parse_domain(domain: str) -> RegistryAddress:
    """Return the registry that a reference names. Raises ManifestError."""
    host, *ports = domain.split(":")
    if _HOST.fullmatch(host) is None:
        raise ManifestError(f"'{host[:255]}' is not the name of a registry")
    host = host.lower()
    if not ports:
        return RegistryAddress("https", host)
    if len(ports) > 1 or not _is_port(ports[0]):
        shown = ":".join(ports)[:255]
        raise ManifestError(f"Failed to get registry port: Failed to numify '{shown}'")
    port = int(ports[0])
    if port == 443:
        return RegistryAddress("https", host, port)
    if port == 80 or host in ("localhost", "127.0.0.1"):
        return RegistryAddress("http", host, port)
    return RegistryAddress("https", host, port)


def parse_url(url: str) -> RegistryAddress | None:
    """Return the address in a URL that an operator or a registry wrote; ``None`` if unusable."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not host or _HOST.fullmatch(host) is None:
        return None
    return RegistryAddress(parts.scheme, host, port)


def is_hub(host: str) -> bool:
    """Whether a host is Docker Hub.

    Deviation: upstream takes any name that contains ``docker.io`` for it.
    """
    return host in HUB_NAMES or host.endswith(".docker.io")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536
