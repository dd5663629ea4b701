# SPDX-License-Identifier: Apache-2.0
"""Where an image is asked for, in which order: mirrors, then its registry. Pure.

Rules come from a directory of ``hosts.toml`` files (containerd) or from a ``registries.conf``
(podman), of both what a pull needs:

* ``<dir>/<registry>/hosts.toml``, or ``<dir>/_default/hosts.toml``: ``server`` and in
  ``[host."<URL>"]`` the keys ``capabilities``, ``ca``, ``client``, ``skip_verify``,
  ``override_path`` and ``header``;
* ``[[registry]]`` with ``prefix``, ``location``, ``insecure``, ``blocked``,
  ``mirror-by-digest-only`` and ``[[registry.mirror]]`` with ``location``, ``insecure``,
  ``pull-from-mirror``.

Source: hosts.md of containerd; containers-registries.conf(5).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from containerizer.provisioner.registry.endpoint import (
    DEFAULT_PORTS,
    HUB_HOST,
    HUB_NAMES,
    ImageLocation,
    RegistryAddress,
    parse_domain,
    parse_url,
)
from mesos_compat.base.errors import ManifestError

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """How the other side of a connection proves who it is."""

    verify: bool = True
    #: Files with certificates of authorities besides those of the system.
    authorities: tuple[str, ...] = ()
    #: Certificate and key of ours; the key may be in the file of the certificate.
    client: tuple[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One registry or mirror to ask for one repository."""

    endpoint: RegistryAddress
    repository: str
    #: What comes before ``/<repository>``.
    prefix: str = "/v2"
    #: The registry that a mirror stands for, where it wants to know.
    namespace: str | None = None
    #: Whether tags are asked for here, and digests.
    tags: bool = True
    digests: bool = True
    tls: TlsConfig = field(default_factory=TlsConfig)
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The URL that manifests and blobs are below."""
        return f"{self.endpoint.url}{self.prefix}/{self.repository}"

    @property
    def mirror(self) -> bool:
        """Whether it stands for another registry."""
        return self.namespace is not None


@dataclass(frozen=True, slots=True)
class InsecureRegistries:
    """Registries that need no certificate that can be checked, or no TLS at all."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> InsecureRegistries:
        """Read a comma-separated list of ``host``, ``host:port`` and networks.

        Raises ManifestError.
        """
        hosts, networks = set(), []
        for item in filter(None, (part.strip() for part in text.split(","))):
            if "/" in item:
                try:
                    networks.append(ipaddress.ip_network(item, strict=False))
                except ValueError as error:
                    raise ManifestError(f"'{item}' is neither a registry nor a network") from error
            else:
                parse_domain(item)
                hosts.add(item.lower())
        return cls(frozenset(hosts), tuple(networks))

    def __contains__(self, endpoint: RegistryAddress) -> bool:
        port = endpoint.port or DEFAULT_PORTS[endpoint.scheme]
        if self.hosts & {endpoint.host, f"{endpoint.host}:{port}"}:
            return True
        try:
            address = ipaddress.ip_address(endpoint.host)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def origin(location: ImageLocation) -> Source:
    """Return the registry that a reference names."""
    return Source(location.endpoint, location.repository)


def hosts_sources(document: Mapping[str, Any], location: ImageLocation) -> list[Source]:
    """Return the sources that a ``hosts.toml`` gives. Raises ManifestError."""
    found = [
        _host_source(url, host, location) for url, host in _table(document.get("host")).items()
    ]
    server = document.get("server")
    last = origin(location)
    if server is not None:
        last = _host_source(server, document, location)
        same = last.endpoint.host == location.endpoint.host
        # an "override_path" or a certificate may be for the registry itself
        last = replace(last, namespace=None if same else last.namespace)
    return [*found, last]


def _host_source(url: object, host: object, location: ImageLocation) -> Source:
    values = _table(host)
    if not isinstance(url, str):
        raise ManifestError("a host is not a string")
    written = url if "://" in url else f"https://{url}"
    endpoint = parse_url(written)
    if endpoint is None:
        raise ManifestError(f"'{url}' is not the URL of a registry")
    if endpoint.host in HUB_NAMES:
        endpoint = replace(endpoint, host=HUB_HOST)
    path = urlsplit(written).path.rstrip("/")
    if values.get("override_path") is not True and not path.endswith("/v2"):
        path += "/v2"
    capabilities = values.get("capabilities", ["pull", "resolve"])
    if not isinstance(capabilities, list):
        raise ManifestError("'capabilities' is not a list")
    return Source(
        endpoint,
        location.repository,
        prefix=path,
        namespace=location.domain,
        tags="resolve" in capabilities and "pull" in capabilities,
        digests="pull" in capabilities,
        tls=TlsConfig(
            verify=values.get("skip_verify") is not True,
            authorities=tuple(_texts(values.get("ca"))),
            client=_client(values.get("client")),
        ),
        headers=_headers(_table(values.get("header"))),
    )


def _client(value: object) -> tuple[str, str | None] | None:
    if isinstance(value, str):
        return value, None
    if isinstance(value, list) and value:
        first = value[0]
        if isinstance(first, str):
            return first, None
        if isinstance(first, list) and len(first) == 2 and all(isinstance(x, str) for x in first):
            return first[0], first[1]
    if value is None:
        return None
    raise ManifestError("'client' is neither a file nor a list of files with their keys")


def _headers(table: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = []
    for name, values in table.items():
        for value in _texts(values):
            if _HEADER_NAME.fullmatch(name) is None or not value.isprintable():
                raise ManifestError(f"'{name}' is not a usable header")
            found.append((name, value))
    return tuple(found)


def registries_sources(document: Mapping[str, Any], location: ImageLocation) -> list[Source]:
    """Return the sources that a ``registries.conf`` gives. Raises ManifestError."""
    names = [f"{location.domain}/{location.repository}"]
    if location.domain == "docker.io":
        names += [f"{name}/{location.repository}" for name in HUB_NAMES[1:]]
    best: tuple[int, str, Mapping[str, Any], str] | None = None
    for registry in _tables(document.get("registry")):
        prefix = registry.get("prefix") or registry.get("location")
        if not isinstance(prefix, str) or not prefix:
            raise ManifestError("a registry has neither 'prefix' nor 'location'")
        for name in names:
            length = _matching(prefix, name)
            if length and (best is None or length > best[0]):
                best = length, name, registry, prefix
    if best is None:
        return [origin(location)]
    length, name, registry, prefix = best
    if registry.get("blocked") is True:
        raise ManifestError(f"the registry '{prefix}' is blocked")
    rest = name[length:]
    digest_only = registry.get("mirror-by-digest-only") is True
    found = []
    for mirror in _tables(registry.get("mirror")):
        which = mirror.get("pull-from-mirror") or ("digest-only" if digest_only else "all")
        made = _located(mirror, rest, location)
        found += [
            replace(one, tags=which != "digest-only", digests=which != "tag-only") for one in made
        ]
    if isinstance(registry.get("location"), str) and registry["location"]:
        found += [
            replace(one, namespace=None) if one.endpoint == location.endpoint else one
            for one in _located(registry, rest, location)
        ]
    elif registry.get("insecure") is True:
        found += insecure(origin(location))
    else:
        found.append(origin(location))
    return found


def _matching(prefix: str, name: str) -> int:
    """Return how many characters of ``name`` the prefix stands for; 0 if it does not match."""
    if prefix.startswith("*."):
        host = name.partition("/")[0]
        return len(host) if host.endswith(prefix[1:]) else 0
    if name == prefix or (name.startswith(prefix) and name[len(prefix)] in "/:@"):
        return len(prefix)
    return 0


def _located(entry: Mapping[str, Any], rest: str, location: ImageLocation) -> list[Source]:
    where = entry.get("location")
    if not isinstance(where, str) or not where:
        raise ManifestError("a mirror has no 'location'")
    domain, _, path = f"{where}{rest}".partition("/")
    made = Source(parse_domain(domain), path.strip("/"), namespace=location.domain)
    host = HUB_HOST if made.endpoint.host in HUB_NAMES else made.endpoint.host
    made = replace(made, endpoint=replace(made.endpoint, scheme="https", host=host))
    return insecure(made) if entry.get("insecure") is True else [made]


def insecure(source: Source) -> list[Source]:
    """Return the ways to a registry that is not secured: TLS without checks, then none."""
    endpoint = source.endpoint
    plain = replace(source, endpoint=replace(endpoint, scheme="http"))
    if endpoint.scheme == "http":
        return [plain]
    return [replace(source, tls=replace(source.tls, verify=False)), plain]


def _table(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ManifestError("what should be a table is none")
    return value


def _tables(value: object) -> Sequence[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ManifestError("what should be a list of tables is none")
    return value


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, list) else [] if value is None else [value]
    found = [item for item in items if isinstance(item, str)]
    if len(found) != len(items):
        raise ManifestError("what should be strings are none")
    return found
