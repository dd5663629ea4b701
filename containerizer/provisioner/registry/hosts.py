# SPDX-License-Identifier: Apache-2.0
"""Files of the host that say how to reach registries: mirrors, certificates, insecure ones.

Read for each pull, so that a change needs no restart. All functions block for a moment.

Source: hosts.md of containerd; containers-registries.conf(5); containers-certs.d(5).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from containerizer.provisioner.documents import MAX_DOCUMENT
from containerizer.provisioner.registry.endpoint import (
    DEFAULT_PORTS,
    ImageLocation,
    RegistryAddress,
)
from containerizer.provisioner.registry.sources import (
    InsecureRegistries,
    Source,
    TlsConfig,
    hosts_sources,
    insecure,
    origin,
    registries_sources,
)
from mesos_compat.base.errors import ManifestError, RegistryError


@dataclass(frozen=True, slots=True)
class HostRules:
    """What the operator says of registries."""

    #: Directory of ``hosts.toml`` files or a ``registries.conf``.
    mirrors: str | None = None
    #: Directory with ``<registry>/*.crt`` and pairs of ``*.cert`` and ``*.key``.
    certificates: str | None = None
    insecure: InsecureRegistries = field(default_factory=InsecureRegistries)

    def sources(self, location: ImageLocation) -> list[Source]:
        """Return where to ask for an image, in order. Raises RegistryError."""
        try:
            found = self._mirrored(location)
        except (ManifestError, OSError) as error:
            raise RegistryError(f"Failed to use '{self.mirrors}': {error}") from error
        secured = [
            replace(source, tls=self._certified(source.tls, source.endpoint)) for source in found
        ]
        reached: list[Source] = []
        for source in secured:
            reached += insecure(source) if source.endpoint in self.insecure else [source]
        return reached

    def _mirrored(self, location: ImageLocation) -> list[Source]:
        if self.mirrors is None:
            return [origin(location)]
        if not os.path.isdir(self.mirrors):
            return registries_sources(_read_toml(self.mirrors), location)
        for name in _folder_names(location.domain):
            path = os.path.join(self.mirrors, name, "hosts.toml")
            if os.path.isfile(path):
                here = os.path.dirname(path)
                return [_absolute(one, here) for one in hosts_sources(_read_toml(path), location)]
        return [origin(location)]

    def _certified(self, tls: TlsConfig, endpoint: RegistryAddress) -> TlsConfig:
        """Add the certificates that are there for a registry."""
        if self.certificates is None or endpoint.scheme != "https":
            return tls
        port = endpoint.port or DEFAULT_PORTS["https"]
        authorities, client = list(tls.authorities), tls.client
        for name in (f"{endpoint.host}:{port}", endpoint.host):
            folder = os.path.join(self.certificates, name)
            try:
                files = sorted(os.listdir(folder))
            except OSError:
                continue
            authorities += [os.path.join(folder, file) for file in files if file.endswith(".crt")]
            for file in files:
                key = f"{file.removesuffix('.cert')}.key"
                if client is None and file.endswith(".cert") and key in files:
                    client = os.path.join(folder, file), os.path.join(folder, key)
            break
        return replace(tls, authorities=tuple(authorities), client=client)


def _folder_names(domain: str) -> list[str]:
    host, colon, port = domain.partition(":")
    names = [domain]
    if colon:
        names.append(f"{host}_{port}_")
    return [*names, "_default"]


def _absolute(source: Source, folder: str) -> Source:
    """Resolve names of files against the directory of the file that names them."""
    client = source.tls.client
    if client is not None:
        certificate, key = client
        client = os.path.join(folder, certificate), key and os.path.join(folder, key)
    authorities = tuple(os.path.join(folder, each) for each in source.tls.authorities)
    return replace(source, tls=replace(source.tls, authorities=authorities, client=client))


def _read_toml(path: str) -> Mapping[str, Any]:
    with open(path, "rb") as file:
        data = file.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ManifestError("the file is too large")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(str(error)) from error
