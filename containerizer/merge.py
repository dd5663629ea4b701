# SPDX-License-Identifier: Apache-2.0
"""What isolators ask for → what init does. Pure.

``merged`` joins the launch infos of the isolators, ``complete`` adds what the containerizer itself
knows: command, environment, root file system, working directory and user.

Source: spec ``containerizer`` 2.5, ``images`` 12.3, ``executors`` 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from containerizer.isolators.base import executor_argument
from containerizer.linux import users
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.variables import EXECUTOR_TOKEN
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

#: Fields that no isolator may set, and the refusal. A user of numbers is one of the image.
_FORBIDDEN = (
    ("rootfs", "Isolator should not specify rootfs"),
    ("user", "Isolator should not specify user"),
)

#: Fields that one isolator may set, and the refusal of a second one.
_ONCE = (
    ("working_directory", "Multiple isolators specify working directory"),
    ("effective_capabilities", "Multiple isolators specify effective capabilities"),
    ("rlimits", "Multiple isolators specify rlimits"),
    ("tty_slave_path", "Multiple isolators specify tty"),
)

#: User of a command executor whose task has an image: it has to pivot.
_ROOT = "root"

#: How a command executor is told the task's working directory.
_WORKING_DIRECTORY = "--working_directory="
_USER = "--user="


@dataclass(frozen=True, slots=True)
class Parent:
    """What a DEBUG container inherits from the container it is in."""

    config: slave.ContainerConfig
    launch_info: slave.ContainerLaunchInfo


def merged(infos: Iterable[slave.ContainerLaunchInfo]) -> slave.ContainerLaunchInfo:
    """Join what the isolators returned, in their order.

    Raises ContainerError in upstream's words if they contradict each other.
    """
    made = slave.ContainerLaunchInfo()
    for info in infos:
        for name, refusal in _FORBIDDEN:
            if info.HasField(name) and not (name == "user" and users.of_numbers(info.user)):
                raise ContainerError(refusal)
        for name, refusal in _ONCE:
            if info.HasField(name) and made.HasField(name):
                raise ContainerError(refusal)
        made.MergeFrom(info)
    for numbers in (
        made.enter_namespaces,
        made.clone_namespaces,
        made.supplementary_groups,
        made.task_supplementary_groups,
    ):
        numbers[:] = sorted(set(numbers))
    return made


def complete(
    info: slave.ContainerLaunchInfo,
    config: slave.ContainerConfig,
    environment: Mapping[str, str],
    sandbox_directory: str,
    parent: Parent | None = None,
) -> slave.ContainerLaunchInfo:
    """Return ``info`` with all that init needs.

    ``info`` is what ``merged`` returned; ``parent`` is looked at for DEBUG containers only.
    """
    if config.HasField("user") and users.is_numbered(config.user):
        raise ContainerError(f"Failed to get the uid of user '{config.user}': not found")
    made = slave.ContainerLaunchInfo()
    made.CopyFrom(info)
    made.command.CopyFrom(_command(info, config))
    _fill_environment(made, info, config, environment, sandbox_directory, parent)
    made.ClearField("rootfs")
    if config.HasField("rootfs") and not config.HasField("task_info"):
        made.rootfs = config.rootfs
    directory = _working_directory(made, config, sandbox_directory, parent)
    made.ClearField("working_directory")
    if directory is not None:
        made.working_directory = directory
    if config.HasField("task_info") and config.HasField("rootfs"):
        made.user = _ROOT
    elif not info.HasField("user") and config.HasField("user"):
        made.user = config.user
    return made


def task_environment_argument(variables: Sequence[pb.Environment.Variable]) -> str:
    """Return the argument that hands a task's environment to the command executor."""
    last = {variable.name: variable for variable in variables}
    return executor_argument("task_environment", pb.Environment(variables=list(last.values())))


def _command(info: slave.ContainerLaunchInfo, config: slave.ContainerConfig) -> pb.CommandInfo:
    """Return the command of init's child."""
    command = pb.CommandInfo()
    command_task = config.HasField("task_info")
    if command_task or not info.HasField("command"):
        command.CopyFrom(config.command_info)
    if info.HasField("command"):
        if command_task and _more_than_arguments(info.command):
            raise ContainerError("Isolators may only add arguments to a command executor")
        command.MergeFrom(info.command)
    if command_task:
        if info.HasField("user"):
            others = [each for each in command.arguments if not each.startswith(_USER)]
            command.arguments[:] = [*others, f"{_USER}{info.user}"]
        command.arguments.extend(_executor_arguments(info, config))
    for name in ("uris", "environment", "user"):
        command.ClearField(name)
    return command


def _more_than_arguments(command: pb.CommandInfo) -> bool:
    return any(descriptor.name != "arguments" for descriptor, _ in command.ListFields())


def _executor_arguments(
    info: slave.ContainerLaunchInfo, config: slave.ContainerConfig
) -> list[str]:
    """Return what the command executor is told after the isolators' own arguments."""
    arguments = []
    if info.task_environment.variables:
        arguments.append(task_environment_argument(info.task_environment.variables))
    if info.task_supplementary_groups:
        groups = ",".join(map(str, info.task_supplementary_groups))
        arguments.append(f"--task_supplementary_groups={groups}")
    if config.HasField("rootfs"):
        arguments.append(f"--rootfs={config.rootfs}")
    return arguments


def _fill_environment(
    made: slave.ContainerLaunchInfo,
    info: slave.ContainerLaunchInfo,
    config: slave.ContainerConfig,
    environment: Mapping[str, str],
    sandbox_directory: str,
    parent: Parent | None,
) -> None:
    """Put the environment together; of equal names the last one counts when init uses it."""
    made.ClearField("environment")
    made.environment.SetInParent()
    variables = made.environment.variables
    debug = config.container_class == slave.ContainerClass.DEBUG
    if debug and parent is not None:
        variables.extend(
            variable
            for variable in parent.launch_info.environment.variables
            if variable.name != EXECUTOR_TOKEN
        )
    for name, value in environment.items():
        variables.add(name=name, value=value)
    if not debug:
        inside = config.HasField("rootfs")
        variables.add(name="MESOS_SANDBOX", value=sandbox_directory if inside else config.directory)
    variables.extend(info.environment.variables)
    variables.extend(
        variable
        for variable in config.command_info.environment.variables
        if variable.type != pb.Environment.Variable.SECRET
    )


def _working_directory(
    made: slave.ContainerLaunchInfo,
    config: slave.ContainerConfig,
    sandbox_directory: str,
    parent: Parent | None,
) -> str | None:
    """Return where the command starts; ``None`` leaves it where init is."""
    if config.container_class == slave.ContainerClass.DEBUG:
        return None if parent is None else _parents_directory(parent, sandbox_directory)
    if not made.HasField("rootfs"):
        return config.directory
    return made.working_directory if made.HasField("working_directory") else sandbox_directory


def _parents_directory(parent: Parent, sandbox_directory: str) -> str | None:
    """Return where the parent's task works, seen from inside."""
    if parent.config.HasField("task_info") and parent.config.HasField("rootfs"):
        for argument in parent.launch_info.command.arguments:
            if argument.startswith(_WORKING_DIRECTORY):
                return argument.removeprefix(_WORKING_DIRECTORY)
        return sandbox_directory
    if parent.launch_info.HasField("working_directory"):
        return parent.launch_info.working_directory
    return None
