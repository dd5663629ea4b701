# SPDX-License-Identifier: Apache-2.0
"""Work that must not block the event loop: in a process of its own, or in a thread."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any, ParamSpec, TypeVar

from containerizer.provisioner.unpack import UnpackLimits
from containerizer.provisioner.workers import unwrap
from mesos_compat.base import procs
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.threads import stoppable

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

_MODULE = "containerizer.provisioner.program"


async def run_operation(
    operation: str,
    request: dict[str, object],
    limits: UnpackLimits,
    *,
    subject: str,
    pass_files: Sequence[IO[bytes]] = (),
) -> dict[str, Any]:
    """Do ``operation`` of ``program`` and return its answer. Cancelling the caller kills it.

    The program inherits ``pass_files``, which are closed here.

    Raises ManifestError, UnpackError or, if the program did not survive, ProvisionError; their
    texts name the file, ``subject`` the image where the program could not.
    """
    whole = {**request, "operation": operation, "limits": dataclasses.asdict(limits)}
    try:
        ended = await procs.run(
            [sys.executable, "-I", "-m", _MODULE],
            timeout_s=limits.seconds,
            stdin=json.dumps(whole).encode(),
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},
            pass_files=pass_files,
        )
    except procs.ProgramError as error:
        raise ProvisionError(f"Failed to unpack {subject}: {error}") from error
    return _answer(ended, subject)


def _answer(ended: procs.Completed, subject: str) -> dict[str, Any]:
    found = None
    if ended.exit_code == 0:
        with contextlib.suppress(ValueError):
            found = json.loads(ended.stdout)
    if not isinstance(found, dict):
        last = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:500]
        log.error("The program that unpacks %s %s: %s", subject, ended.end, last)
        raise ProvisionError(f"Failed to unpack {subject}: the program {ended.end} {last}".strip())
    done = unwrap(found, subject)
    for warning in done.get("warnings", ()):
        log.warning("Unpacking %s: left out %s", subject, warning)
    return done


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a blocking function in a thread. It ends before a cancellation takes effect."""
    return await stoppable(lambda stop: function(*args, **kwargs))
