# SPDX-License-Identifier: Apache-2.0
"""``environment_secret``: checks the environment of a command.

Secrets themselves cannot be resolved yet: a SECRET variable fails the launch.

Source: spec ``isolators-fs-net`` 10.2.
"""

from __future__ import annotations

from containerizer.isolators.base import Isolator
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_Variable = pb.Environment.Variable


class EnvironmentSecretIsolator(Isolator):
    """Always part of the isolation; keeps no state."""

    supports_nesting = True
    supports_standalone = True

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Refuse unusable variables; both environments of the result are present and empty."""
        for variable in config.command_info.environment.variables:
            why = _variable_error(variable)
            if why is not None:
                raise IsolatorError(f"Invalid environment specified: {why}")
        for variable in config.command_info.environment.variables:
            if variable.type == _Variable.SECRET:
                raise IsolatorError(
                    f"Environment variable '{variable.name}' is of type 'SECRET', which this agent"
                    " cannot resolve"
                )
        info = slave.ContainerLaunchInfo()
        info.environment.SetInParent()
        info.task_environment.SetInParent()
        return info


def _variable_error(variable: pb.Environment.Variable) -> str | None:
    """Say in upstream's words what is wrong with a variable."""
    name = f"Environment variable '{variable.name}' of type"
    if variable.type == _Variable.SECRET:
        if not variable.HasField("secret"):
            return f"{name} 'SECRET' must have a secret set"
        if variable.HasField("value"):
            return f"{name} 'SECRET' must not have a value set"
    elif variable.type == _Variable.VALUE:
        if not variable.HasField("value"):
            return f"{name} 'VALUE' must have a value set"
        if variable.HasField("secret"):
            return f"{name} 'VALUE' must not have a secret set"
    else:
        return "Environment variable of type 'UNKNOWN' is not allowed"
    return None
