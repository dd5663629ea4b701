# SPDX-License-Identifier: Apache-2.0
"""Secrets: references become values when a container needs them, through a resolver.

Resolvers are plug-ins, named by ``--secret_resolver``: factories, called with the parameters of
``--modules``, that return a ``SecretResolver``. Without one, values stand for themselves.

Source: spec ``isolators-fs-net`` 10.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from mesos_compat.base.errors import ContainerError, FlagError, InvariantError
from mesos_compat.base.plugins import Group, Parameters
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

#: Entry points of resolvers.
GROUP = "mesos_compat.secret_resolvers"

#: Seconds that a resolver gets for one secret.
LIMIT_S = 60.0


class SecretResolver(Protocol):
    """Knows the values of secrets."""

    async def resolve(self, secret: pb.Secret) -> bytes:
        """Return the value. Raises ContainerError with a text fit for a task status.

        Called on the event loop, for several secrets at once; cancelled after a minute.
        """


class ValueSecretResolver:
    """The default: resolves secrets that bring their value along."""

    async def resolve(self, secret: pb.Secret) -> bytes:
        """Return the value in the secret."""
        if secret.HasField("reference"):
            raise ContainerError("Default secret resolver cannot resolve references")
        if not secret.HasField("value"):
            raise ContainerError("Secret has no value")
        return secret.value.data


class ForeignSecretResolver:
    """A resolver of somebody else's: whatever it does becomes a value or a ContainerError."""

    def __init__(self, name: str, resolver: SecretResolver, limit_s: float = LIMIT_S) -> None:
        self._name = name
        self._resolver = resolver
        self._limit_s = limit_s

    async def resolve(self, secret: pb.Secret) -> bytes:
        """Ask the resolver, with a copy of the secret."""
        asked = pb.Secret()
        asked.CopyFrom(secret)
        try:
            async with asyncio.timeout(self._limit_s):
                value = await self._resolver.resolve(asked)
        except (ContainerError, InvariantError):
            raise
        except TimeoutError as error:
            raise ContainerError(
                f"Secret resolver '{self._name}' did not answer within {self._limit_s:g} s"
            ) from error
        except Exception as error:
            # its text may hold what it was to keep: the type has to do
            log.error("Secret resolver '%s' broke: %s", self._name, type(error).__name__)
            raise ContainerError(
                f"Secret resolver '{self._name}' broke: {type(error).__name__}"
            ) from None
        if not isinstance(value, bytes):
            raise ContainerError(
                f"Secret resolver '{self._name}' broke: it returned {type(value).__name__}"
            )
        return value


def create_secret_resolver(
    name: str | None, parameters: Mapping[str, Parameters]
) -> SecretResolver:
    """Return the resolver that ``--secret_resolver`` names. Raises FlagError."""
    if name is None:
        return ValueSecretResolver()
    group = Group(GROUP)
    try:
        made = group.make(name, lambda factory: factory(parameters.get(name, ())), ("resolve",))
    except FlagError as error:
        raise FlagError(f"Failed to initialize secret resolver: {error}") from error
    log.info("Secret resolver '%s' is %s", name, group.origin(name))
    return ForeignSecretResolver(name, made)


def invalid(secret: pb.Secret) -> str | None:
    """Say in upstream's words what is wrong with a secret; ``None`` if nothing is."""
    if secret.type == pb.Secret.REFERENCE:
        if not secret.HasField("reference"):
            return "Secret of type REFERENCE must have the 'reference' field set"
        if secret.HasField("value"):
            name = secret.reference.name
            return f"Secret '{name}' of type REFERENCE must not have the 'value' field set"
    elif secret.type == pb.Secret.VALUE:
        if not secret.HasField("value"):
            return "Secret of type VALUE must have the 'value' field set"
        if secret.HasField("reference"):
            return "Secret of type VALUE must not have the 'reference' field set"
    return None
