# SPDX-License-Identifier: Apache-2.0
"""Who the agent is to masters: ``--credential``, and the mechanisms that prove it.

An authenticatee is found by an entry point of the group ``mesos_compat.authenticatees``: a function
of the credential and the parameters of ``--modules``. It is asked within a step of the machine, so
it must answer at once and without looking at anything else.

Source: spec ``agent-master`` 4.1, 4.2; RFC 2195.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from mesos_compat.agent.credentials import AgentCredential, load_credential
from mesos_compat.agent.flags import AgentFlags
from mesos_compat.agent.machine.config import Authenticatee, AuthenticationConfig
from mesos_compat.base.errors import FlagError
from mesos_compat.base.plugins import Group, Parameters

GROUP = "mesos_compat.authenticatees"


class CramMd5:
    """The mechanism that all masters know: the secret never leaves the agent."""

    mechanism = "CRAM-MD5"

    def __init__(self, credential: AgentCredential) -> None:
        self._principal = credential.principal.encode()
        self._secret = credential.secret.encode()

    def start(self) -> bytes:
        """The server begins."""
        return b""

    def respond(self, challenge: bytes) -> bytes:
        """Return principal and keyed digest of the challenge."""
        digest = hmac.new(self._secret, challenge, "md5").hexdigest()
        return b"%b %b" % (self._principal, digest.encode())


def create(credential: AgentCredential, parameters: Parameters) -> CramMd5:
    """Make the built-in authenticatee; it has no parameters."""
    return CramMd5(credential)


def authentication_config(
    flags: AgentFlags, parameters: Mapping[str, Parameters]
) -> AuthenticationConfig | None:
    """Read ``--credential`` and make what ``--authenticatee`` names; ``None`` without credential.

    Raises FlagError.
    """
    if flags.credential is None:
        return None
    credential = load_credential(flags.credential)
    authenticatee: Authenticatee = Group(GROUP).make(
        flags.authenticatee,
        lambda make: make(credential, parameters.get(flags.authenticatee, ())),
        ("start", "respond"),
    )
    if not isinstance(getattr(authenticatee, "mechanism", None), str):
        raise FlagError(f"Authenticatee '{flags.authenticatee}' has no mechanism")
    return AuthenticationConfig(
        authenticatee,
        flags.authentication_backoff_factor,
        flags.authentication_timeout_min,
        flags.authentication_timeout_max,
    )
