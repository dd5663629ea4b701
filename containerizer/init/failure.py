# SPDX-License-Identifier: Apache-2.0
"""How a container's child speaks: lines on the container's stderr, and why it gives up."""

from __future__ import annotations

import contextlib
import os

_silent = False


class LaunchFailure(Exception):
    """A step failed; the text is the one line that the container's stderr gets."""


def failure(what: str, error: OSError) -> LaunchFailure:
    """Say what was attempted and what the kernel answered."""
    return LaunchFailure(f"{what}: {error.strerror or error}")


def say(line: str) -> None:
    """Write a line to stderr; whether anybody reads it is not our problem."""
    with contextlib.suppress(OSError):
        os.write(2, line.encode("utf-8", "surrogateescape") + b"\n")


def tell(line: str) -> None:
    """Write what upstream says about a launch that goes well, unless nobody wants to know."""
    if not _silent:
        say(line)


def be_silent() -> None:
    """Let launches of this process and its children tell nothing but failures."""
    global _silent
    _silent = True
