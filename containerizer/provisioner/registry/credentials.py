# SPDX-License-Identifier: Apache-2.0
"""Credentials of registries, in the form of Docker's ``config.json``.

Source: spec ``images`` 9; upstream ``uri/fetchers/docker.cpp``; the protocol of Docker's
credential helpers.
"""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from containerizer.provisioner.documents import MAX_DOCUMENT, parse_object, string
from containerizer.provisioner.registry.endpoint import DEFAULT_PORTS, RegistryAddress, is_hub
from mesos_compat.base import procs
from mesos_compat.base.errors import ManifestError

log = logging.getLogger(__name__)

#: What helpers and clients call Docker Hub.
HUB_KEY = "https://index.docker.io/v1/"

#: Seconds that a credential helper gets.
_HELPER_S = 30.0

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BASIC = re.compile(r"[A-Za-z0-9+/]+=*")


@dataclass(frozen=True, slots=True)
class Credential:
    """Proves to a registry who we are. One of both is set."""

    #: Base64 of ``user:password``.
    basic: str | None = field(default=None, repr=False)
    #: To be exchanged for tokens of the registry.
    identity_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """What a configuration knows of registries, by the keys that are written there."""

    auths: Mapping[str, Credential]
    #: Names of the programs that know the credentials of a registry, or of all.
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None


def parse_docker_config(document: Mapping[str, Any], *, helpers: bool) -> DockerConfig:
    """Read a configuration, new or old. Raises ManifestError.

    Without ``helpers`` those are ignored: who may name a program may run it.
    """
    auths = document.get("auths")
    wanted: dict[str, str] = {}
    store: str | None = None
    if helpers:
        named = document.get("credHelpers")
        for key, name in (named if isinstance(named, dict) else {}).items():
            if isinstance(name, str) and name:
                wanted[key] = _helper_name(name)
        name = document.get("credsStore")
        store = _helper_name(name) if isinstance(name, str) and name else None
    if auths is None:
        if wanted or store is not None or "HttpHeaders" in document:
            auths = {}
        else:
            auths = document
    if not isinstance(auths, Mapping):
        raise ManifestError("Invalid JSON object 'auths'")
    found: dict[str, Credential] = {}
    for key, entry in auths.items():
        if not isinstance(entry, dict):
            raise ManifestError(f"Invalid JSON object '{key}'")
        credential = _credential(key, entry)
        if credential is not None:
            found[key] = credential
    return DockerConfig(found, wanted, store)


def read_docker_config(path: str, *, helpers: bool) -> DockerConfig | None:
    """Read the configuration in a file; ``None`` if there is none. Blocks. Raises ManifestError."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError:
        return None
    return parse_docker_config(parse_object(data), helpers=helpers)


def user_config_path(environment: Mapping[str, str]) -> str | None:
    """Return where the Docker client of this user keeps its configuration."""
    folder = environment.get("DOCKER_CONFIG")
    if not folder:
        home = environment.get("HOME")
        if not home:
            return None
        folder = os.path.join(home, ".docker")
    return os.path.join(folder, "config.json")


async def find_credential(
    configs: Sequence[DockerConfig], endpoint: RegistryAddress
) -> Credential | None:
    """Return the credential for a registry from the first configuration that has one.

    A helper that fails has none.
    """
    for config in configs:
        for key, name in config.helpers.items():
            if matches(key, endpoint):
                credential = await _ask_helper(name, key)
                if credential is not None:
                    return credential
        for key, credential in config.auths.items():
            if matches(key, endpoint):
                return credential
        if config.store is not None:
            asked = HUB_KEY if is_hub(endpoint.host) else endpoint.authority
            credential = await _ask_helper(config.store, asked)
            if credential is not None:
                return credential
    return None


def matches(key: str, endpoint: RegistryAddress) -> bool:
    """Whether the key of a credential means a registry.

    Deviation: the scheme's own port need not be written, or not be left out (MESOS-9967), and
    ``docker.io`` must be the domain, not some part of the name.
    """
    for prefix in ("http://", "https://"):
        key = key.removeprefix(prefix)
    key = key.partition("/")[0].lower()
    host, _, port = key.partition(":")
    if is_hub(endpoint.host) and is_hub(host):
        return True
    default = str(DEFAULT_PORTS[endpoint.scheme])
    wanted = default if endpoint.port is None else str(endpoint.port)
    return host == endpoint.host and (port or default) == wanted


def _credential(key: str, entry: Mapping[str, Any]) -> Credential | None:
    token = string(dict(entry), "identitytoken")
    if token:
        return Credential(identity_token=token)
    basic = string(dict(entry), "auth")
    if basic:
        if _BASIC.fullmatch(basic) is None:
            raise ManifestError(f"'auth' of '{key}' is not base64")
        return Credential(basic=basic)
    user, password = string(dict(entry), "username"), string(dict(entry), "password")
    if user and password is not None:
        return Credential(basic=_encode(user, password))
    return None


def _encode(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogatepass")).decode()


def _helper_name(name: str) -> str:
    if _HELPER.fullmatch(name) is None:
        raise ManifestError(f"'{name[:64]}' is not the name of a credential helper")
    return name


async def _ask_helper(name: str, key: str) -> Credential | None:
    program = f"docker-credential-{name}"
    try:
        ended = await procs.run(
            [program, "get"], timeout_s=_HELPER_S, stdin=key.encode(), cwd="/", env=os.environ
        )
    except procs.ProgramError as error:
        log.warning("No credentials of '%s': %s", key, error)
        return None
    if ended.exit_code != 0:
        # helpers say on standard output that they know nothing, each in its own words
        log.info("No credentials of '%s': '%s' %s", key, program, ended.end)
        return None
    try:
        answer = parse_object(ended.stdout)
        user, secret = string(answer, "Username"), string(answer, "Secret")
    except ManifestError:
        log.warning("No credentials of '%s': '%s' answered no JSON object", key, program)
        return None
    if not user or secret is None:
        return None
    if user == "<token>":
        return Credential(identity_token=secret)
    return Credential(basic=_encode(user, secret))
