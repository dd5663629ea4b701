# SPDX-License-Identifier: Apache-2.0
"""Programs that are init and command of a container in one; imported by the spawner."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys

from containerizer.init.pid1 import Init
from containerizer.linux import caps


def report(argv: list[str], environ: dict[str, str], init: Init) -> int:
    """Say who we are."""
    with open("/proc/self/cmdline", "rb") as file:
        title = file.read().rstrip(b"\0").decode()
    sets = caps.get(caps.last())
    print(argv)
    print(sorted(environ.items()), dict(os.environ) == environ)
    print(title)
    print(os.getuid(), os.getcwd(), gc.isenabled())
    print(f"{sets.permitted:x} {sets.effective:x} {sets.bounding:x} {sets.ambient:x}")
    print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    print(len(os.listdir("/proc/self/fd")) - len(init.fds), init.own_mounts)
    sys.stderr.write("err")
    return 42


def serve(argv: list[str], environ: dict[str, str], init: Init) -> int:
    """Start a child that leaves an orphan, and say which children end, until one says enough."""
    poll = select.poll()
    poll.register(init.signals, select.POLLIN)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execv("/bin/sh", ["sh", "-c", argv[1]])
    print(child, flush=True)
    while True:
        poll.poll()
        for pid, wait_status in init.take_signals():
            print("child" if pid == child else "orphan", wait_status, flush=True)
            if pid != child:
                return 3


def crash(argv: list[str], environ: dict[str, str], init: Init) -> int:
    """End by an exception."""
    raise RuntimeError(f"crash of {argv[0]}")


def leave(argv: list[str], environ: dict[str, str], init: Init) -> int:
    """End by sys.exit."""
    sys.exit(9)
