# SPDX-License-Identifier: Apache-2.0
"""The socket of an IO switchboard, which the agent or the server makes."""

from __future__ import annotations

import contextlib
import os
import socket

from containerizer.switchboard.options import ServerOptions

#: What follows the socket's path until the server listens.
PROVISIONAL = "_provisional"
BACKLOG = 64


def open_listener(options: ServerOptions) -> socket.socket:
    """Return the socket; its file has its final name only once it listens."""
    if options.listen_fd is not None:
        listener = socket.socket(fileno=options.listen_fd)
    else:
        listener = bind_socket(options.socket_address)
    listener.setblocking(False)
    return listener


def bind_socket(address: str) -> socket.socket:
    """Make a socket for us alone that listens at ``address``. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    provisional = f"{address}{PROVISIONAL}"
    try:
        # as if made with this mode: nobody can connect before it listens
        listener.bind(provisional)
        os.chmod(provisional, 0o600)
        listener.listen(BACKLOG)
        os.rename(provisional, address)
    except OSError:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(provisional)
        raise
    return listener
