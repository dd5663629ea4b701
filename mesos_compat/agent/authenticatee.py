# SPDX-License-Identifier: Apache-2.0
"""Who the agent is to masters: ``--credential``, and the mechanisms that prove it.

An authenticatee is found by an entry point of the group ``mesos_compat.authenticatees``: a function
of the credential and the parameters of ``--modules``. It is asked within a step of the machine, so
it must answer at once and without looking at anything else.

Source: spec ``agent-master`` 4.1, 4.2; RFC 2195.
"""

from __future__ import annotations

import hmac
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from mesos_compat.agent.flags import AgentFlags
from mesos_compat.agent.machine.state import Authenticatee, AuthenticationConfig
from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.plugins import Group, Parameters
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

GROUP = "mesos_compat.authenticatees"

_MAX_CREDENTIAL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class AgentCredential:
    """A principal and its secret, which no text of this object shows."""

    principal: str
    secret: str = field(repr=False)


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


def load_credential(path: str) -> AgentCredential:
    """Read a JSON object or one line with principal and secret. Raises FlagError.

    Warns if others can read the file. No error shows what is in it.
    """
    data = _read(path)
    if not data:
        raise FlagError(f"Empty credential file '{path}' (see --credential flag)")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FlagError(f"Invalid credential format in '{path}': it is not UTF-8") from error
    if text.lstrip().startswith(("{", "[", '"')):
        return _from_json(text, path)
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise FlagError(f"Expecting only one credential in '{path}'")
    if len(lines[0]) != 2:
        raise FlagError(f"Invalid credential format in '{path}'")
    return AgentCredential(*lines[0])


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_CREDENTIAL_BYTES + 1)
    except OSError as error:
        raise FlagError(f"Failed to read credential file '{path}': {error.strerror}") from error
    if len(data) > _MAX_CREDENTIAL_BYTES:
        raise FlagError(f"Invalid credential format in '{path}': it is too long")
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        log.warning("Others can read or change the credential file '%s': that is too open", path)
    return data


def _from_json(text: str, path: str) -> AgentCredential:
    try:
        value = jsonpb.loads(text)
    except WireError as error:
        # Not what stands near the error: that may be the secret.
        reason = str(error).partition(" near")[0]
        raise FlagError(f"Invalid json format: {reason} of '{path}'") from None
    try:
        if not isinstance(value, dict):
            raise WireError("it is no object")
        made = jsonpb.from_value(pb.Credential, value)
    except WireError as error:
        raise FlagError(f"Failed to parse credential: {error}") from error
    if not made.secret:
        raise FlagError(
            f"The credential in '{path}' has no secret: any master would have refused"
            " authentication"
        )
    return AgentCredential(made.principal, made.secret)
