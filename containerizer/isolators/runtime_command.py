# SPDX-License-Identifier: Apache-2.0
"""Which command runs: the framework's, or the image's with the framework's arguments. Pure.

Source: spec ``images`` 12.1, 12.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.base.errors import IsolatorError
from mesos_compat.pb.mesos import mesos_pb2 as pb

_NO_EXECUTABLE = "Failed to determine the launch command: No executable is found"
_NO_SHELL_COMMAND = (
    "Failed to determine the launch command: Shell specified but no command value provided"
)


def image_command(
    command: pb.CommandInfo, entrypoint: Sequence[str], cmd: Sequence[str]
) -> pb.CommandInfo | None:
    """Return the command with the image's executable in it; ``None`` if it stays as it is.

    An AppC image passes its ``exec`` as ``cmd``: of it, too, arguments replace all but the first.
    Raises IsolatorError if there is nothing to execute.
    """
    if command.HasField("value"):
        return None
    if command.shell:
        raise IsolatorError(_NO_SHELL_COMMAND)
    given = list(command.arguments)
    if entrypoint:
        argv = [*entrypoint, *(given or cmd)]
    elif cmd:
        argv = [cmd[0], *given] if given else list(cmd)
    else:
        raise IsolatorError(_NO_EXECUTABLE)
    made = pb.CommandInfo()
    made.CopyFrom(command)
    made.value = argv[0]
    made.arguments[:] = argv
    return made
