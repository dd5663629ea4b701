# SPDX-License-Identifier: Apache-2.0
"""Helper programs of containers (IO switchboard, logger): forked by the spawner, not executed.

A helper runs on the host with the agent's rights, in a session of its own, and survives the agent.
It waits for its release before it does anything: an agent that dies before it could write down the
helper's pid leaves none behind.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from containerizer.init.command import Execution, Program, run_program
from containerizer.init.failure import LaunchFailure
from containerizer.init.pid1 import await_release
from containerizer.linux import cgroup1, fds
from containerizer.linux.prctl import ProcessTitle

#: Most descriptors of a request: control, standard streams, what the program needs.
MAX_HELPER_FDS = 12
#: Out of the way of those numbers.
_ABOVE = 64


@dataclass(frozen=True, slots=True)
class HelperRequest:
    """All about one helper but its descriptors: control, those for 0, 1 and 2, then for 3, 4, …"""

    name: str
    #: What follows the name on the command line.
    arguments: tuple[str, ...]
    #: Cgroups to join, if any.
    cgroups: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the datagram."""
        return json.dumps({"helper": asdict(self)}).encode()

    @classmethod
    def decode(cls, data: bytes) -> HelperRequest | None:
        """Read a datagram; ``None`` if it asks for something else. Raises ValueError, TypeError."""
        fields = json.loads(data).get("helper")
        if fields is None:
            return None
        return cls(fields["name"], tuple(fields["arguments"]), tuple(fields["cgroups"]))


def become_helper(
    request: HelperRequest,
    program: Program,
    descriptors: Sequence[int],
    announce: Callable[[int], None],
    title: ProcessTitle,
) -> NoReturn:
    """Turn this freshly forked process into the helper. Raises OSError, LaunchFailure."""
    if not 4 <= len(descriptors) <= MAX_HELPER_FDS:
        raise LaunchFailure(f"{len(descriptors)} descriptors")
    os.setsid()
    for cgroup in request.cgroups:
        cgroup1.assign(cgroup, 0)
    control, *given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for fd in descriptors]
    for number, fd in enumerate(given):
        os.dup2(fd, number)
    fds.close_all_but({control, *range(3, len(given))})
    announce(control)
    await_release(control)
    run_program(program, Execution(request.name, (request.name, *request.arguments), {}), title)
