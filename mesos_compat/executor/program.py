# SPDX-License-Identifier: Apache-2.0
"""What the programs of all executors have in common: their beginning and their end."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

from mesos_compat.base.errors import FlagError, MesosCompatError
from mesos_compat.executor.log import write_all

#: Seconds that the agent has for acknowledging the last update before an executor leaves anyway.
ACK_TIMEOUT_S = 60.0
#: The same once it was told to shut down: updates of a framework that ends are never acknowledged.
SHUTDOWN_ACK_TIMEOUT_S = 1.0


def run(name: str, body: Callable[[], int]) -> int:
    """Run an executor's ``body``; return its exit code, 1 if it cannot start."""
    gc.disable()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        return body()
    except FlagError as error:
        write_all(2, f"{error}\n".encode("utf-8", "surrogateescape"))
    except MesosCompatError as error:
        write_all(2, f"{name}: {error}\n".encode("utf-8", "surrogateescape"))
    return 1


def show(text: str) -> int:
    """Write the answer to ``--help``; return the exit code."""
    write_all(1, text.encode())
    return 0
