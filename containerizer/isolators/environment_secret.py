# SPDX-License-Identifier: Apache-2.0
"""``environment_secret``: checks the environment of a command and resolves the secrets in it.

Deviations: a resolved value that is no UTF-8 text, or has a null byte in it, fails the launch;
upstream starts the command with whatever that leaves of it.

Source: spec ``isolators-fs-net`` 10.2.
"""

from __future__ import annotations

import asyncio

from containerizer import secrets
from containerizer.isolators.base import Isolator
from containerizer.isolators.context import IsolatorContext
from containerizer.secrets import SecretResolver, ValueSecretResolver
from mesos_compat.base.errors import ContainerError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_Variable = pb.Environment.Variable


class EnvironmentSecretIsolator(Isolator):
    """Always part of the isolation; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    def __init__(self, resolver: SecretResolver | None = None) -> None:
        self._resolver = resolver or ValueSecretResolver()

    @classmethod
    def create(cls, context: IsolatorContext) -> EnvironmentSecretIsolator:
        """Make the isolator; it has no prerequisites."""
        return cls(context.secrets)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Refuse unusable variables; both environments of the result have the resolved ones."""
        variables = config.command_info.environment.variables
        for variable in variables:
            why = _variable_error(variable)
            if why is not None:
                raise IsolatorError(f"Invalid environment specified: {why}")
        info = slave.ContainerLaunchInfo()
        info.environment.SetInParent()
        for name, value in await self._resolved([v for v in variables if _is_secret(v)]):
            info.environment.variables.add(name=name, value=value)
        info.task_environment.CopyFrom(info.environment)
        return info

    async def _resolved(self, variables: list[pb.Environment.Variable]) -> list[tuple[str, str]]:
        """Resolve all at once; wait for all, then raise the first failure."""
        answers = await asyncio.gather(
            *(self._resolver.resolve(variable.secret) for variable in variables),
            return_exceptions=True,
        )
        made = []
        for variable, answer in zip(variables, answers, strict=True):
            if isinstance(answer, ContainerError):
                raise IsolatorError(f"Collect failed: {answer}") from answer
            if isinstance(answer, BaseException):
                raise answer
            made.append((variable.name, _text(variable.name, answer)))
        return made


def _is_secret(variable: pb.Environment.Variable) -> bool:
    return variable.type == _Variable.SECRET


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise IsolatorError(f"The secret of environment variable '{name}' is no UTF-8") from None
    if "\0" in text:
        raise IsolatorError(f"The secret of environment variable '{name}' contains null bytes")
    return text


def _variable_error(variable: pb.Environment.Variable) -> str | None:
    """Say in upstream's words what is wrong with a variable."""
    name = f"Environment variable '{variable.name}' of type"
    if variable.type == _Variable.SECRET:
        return _secret_error(name, variable)
    if variable.type == _Variable.VALUE:
        if not variable.HasField("value"):
            return f"{name} 'VALUE' must have a value set"
        if variable.HasField("secret"):
            return f"{name} 'VALUE' must not have a secret set"
        return None
    return "Environment variable of type 'UNKNOWN' is not allowed"


def _secret_error(name: str, variable: pb.Environment.Variable) -> str | None:
    if not variable.HasField("secret"):
        return f"{name} 'SECRET' must have a secret set"
    if variable.HasField("value"):
        return f"{name} 'SECRET' must not have a value set"
    why = secrets.invalid(variable.secret)
    if why is not None:
        return f"{name} 'SECRET' specifies an invalid secret: {why}"
    if b"\0" in variable.secret.value.data:
        return (
            f"{name} 'SECRET' specifies a secret containing null bytes, which is not allowed in"
            " the environment"
        )
    return None
