# SPDX-License-Identifier: Apache-2.0
"""Programs that run in a forked process in place of an executable; imported by the spawner."""

from __future__ import annotations

import gc
import os
import signal
import sys

from containerizer.linux import caps


def report(argv: list[str], environ: dict[str, str]) -> int:
    """Say who we are."""
    with open("/proc/self/cmdline", "rb") as file:
        title = file.read().rstrip(b"\0").decode()
    sets = caps.get(caps.last())
    print(argv)
    print(sorted(environ.items()), dict(os.environ) == environ)
    print(title)
    print(os.getuid(), os.getcwd(), gc.isenabled())
    print(f"{sets.permitted:x} {sets.effective:x} {sets.bounding:x} {sets.ambient:x}")
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    print(sorted(os.listdir("/proc/self/fd"))[:3])
    sys.stderr.write("err")
    return 42


def crash(argv: list[str], environ: dict[str, str]) -> int:
    """End by an exception."""
    raise RuntimeError(f"crash of {argv[0]}")


def leave(argv: list[str], environ: dict[str, str]) -> int:
    """End by sys.exit."""
    sys.exit(9)
