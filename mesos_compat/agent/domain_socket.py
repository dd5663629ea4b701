# SPDX-License-Identifier: Apache-2.0
"""The Unix socket of ``--http_executor_domain_sockets``, by which executors reach the agent.

Deviation: only a socket is removed from where it shall be; upstream removes any file. Custom
executors in an image, where the socket does not exist, are not told of it.

Source: spec ``executors`` 1.10; sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

from mesos_compat.agent.flags import AgentFlags
from mesos_compat.base.errors import FlagError

#: Longest path, its final NUL not counted.
_MAX_BYTES: Final = 107
_BACKLOG: Final = 16384
_NAME: Final = "agent.sock"

_SYSTEMD: Final = "systemd:"
#: How systemd calls a socket whose unit gives it no name.
_UNNAMED: Final = "unknown"
_FIRST_FD: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class DomainSocket:
    """A listening socket and where executors find it."""

    path: str
    socket: socket.socket


def domain_socket(
    flags: AgentFlags, runtime_dir: str, environ: MutableMapping[str, str]
) -> DomainSocket | None:
    """Listen where the flags say, or take what systemd listens on out of ``environ``.

    ``None`` without ``--http_executor_domain_sockets``. Raises FlagError.
    """
    if not flags.http_executor_domain_sockets:
        return None
    location = flags.domain_socket_location or os.path.join(runtime_dir, _NAME)
    if location.startswith(_SYSTEMD):
        return _inherited(location.removeprefix(_SYSTEMD), environ)
    path = os.path.abspath(location)
    _check_length(path)
    return DomainSocket(path, _bind(path))


def _check_length(path: str) -> None:
    if len(os.fsencode(path)) > _MAX_BYTES:
        raise FlagError(f"Domain socket location '{path}' must have less than 108 characters.")


def _bind(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise FlagError(f"'{path}' is in the way of the domain socket, and is no socket")
            os.unlink(path)
        made.bind(path)
        # Executors have any user. Before this nobody can connect, as nobody listens.
        os.chmod(path, 0o666)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise FlagError(f"Failed to listen on '{path}': {error.strerror}") from error
    except FlagError:
        made.close()
        raise
    return made


def _inherited(name: str, environ: MutableMapping[str, str]) -> DomainSocket:
    pid, count, names = (environ.pop(variable, "") for variable in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdigit():
        raise FlagError(f"No socket '{name}': the agent was not started by a socket of systemd")
    named = names.split(":") if names else []
    found = []
    for index in range(int(count)):
        fd = _FIRST_FD + index
        os.set_inheritable(fd, False)
        if (named[index] if index < len(named) else _UNNAMED) in (name, _UNNAMED):
            found.append(fd)
    if len(found) != 1:
        raise FlagError(f"Expecting one socket '{name}' from systemd, got {len(found)}")
    taken = socket.socket(fileno=found[0])
    path = taken.getsockname()
    listening = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.family != socket.AF_UNIX or not listening or not isinstance(path, str) or not path:
        taken.detach()
        raise FlagError(f"The socket '{name}' from systemd is no listening Unix socket with a path")
    _check_length(path)
    taken.setblocking(False)
    return DomainSocket(path, taken)
