# SPDX-License-Identifier: Apache-2.0
"""Hostile data is read by processes that reach one directory and have few rights in it.

A program forks a worker for each layer, as many at a time as there are processors. A worker opens
what it needs, shuts itself in (``confine``) and sends its answer through a pipe. It ends with the
program, which ends with the agent.

Source: chroot(2), capabilities(7).
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from containerizer.linux import caps, prctl
from mesos_compat.base.errors import (
    BackendError,
    ManifestError,
    MesosCompatError,
    ProvisionError,
    UnpackError,
)

#: What unpacking needs: owners, modes and attributes of files, devices, names that others own.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")

_KINDS = {"manifest": ManifestError, "unpack": UnpackError, "backend": BackendError}

_READ = 1 << 16
#: Characters of an unexpected exception that are told.
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be done by a process of its own."""

    #: For messages.
    name: str
    #: Returns what JSON can hold.
    call: Callable[[], dict[str, Any]]


def confine(directory: int) -> None:
    """Leave this process nothing but the open ``directory``, its other files and few rights.

    Python modules cannot be loaded any more. Raises OSError.
    """
    prctl.set_no_new_privileges(True)
    if os.geteuid() == 0:
        os.fchdir(directory)
        os.chroot(".")
        kept = caps.mask(_CAPABILITIES)
        caps.set_process(kept, kept, 0)


def run_all(work: Sequence[Work]) -> list[dict[str, Any]]:
    """Do all ``work`` and return the answers, in order. To be called without threads.

    Raises what the first one that failed raised; the others are killed then.
    """
    most = len(os.sched_getaffinity(0))
    waiting = list(enumerate(work))[::-1]
    running: dict[int, _Running] = {}
    answers: dict[int, dict[str, Any]] = {}
    poll = select.poll()
    try:
        while waiting or running:
            while waiting and len(running) < most:
                number, item = waiting.pop()
                started = _start(number, item)
                running[started.fd] = started
                poll.register(started.fd, select.POLLIN)
            for fd, _ in poll.poll():
                worker = running[fd]
                data = os.read(fd, _READ)
                worker.answer += data
                if not data:
                    poll.unregister(fd)
                    del running[fd]
                    answers[worker.number] = unwrap(_answer(worker), worker.name)
    finally:
        for worker in running.values():
            os.kill(worker.pid, signal.SIGKILL)
            _end(worker)
    return [answers[number] for number in range(len(work))]


def answer_of(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call ``call`` and return what came of it, as ``unwrap`` takes it."""
    try:
        return {"done": call()}
    except ManifestError as error:
        return {"error": str(error), "kind": "manifest"}
    except BackendError as error:
        return {"error": str(error), "kind": "backend"}
    except MesosCompatError as error:
        return {"error": str(error), "kind": "unpack"}
    except MemoryError:
        return {"error": "The image needs too much memory to be read", "kind": "unpack"}
    except OSError as error:
        return {"error": f"Failed to unpack the image: {error}", "kind": "unpack"}


def unwrap(answer: object, name: str) -> dict[str, Any]:
    """Return what was ``done``; raises a ProvisionError of the kind that it was."""
    if isinstance(answer, dict):
        if "error" in answer:
            raise _KINDS.get(str(answer.get("kind")), ProvisionError)(str(answer["error"]))
        done = answer.get("done")
        if isinstance(done, dict):
            return done
    raise ProvisionError(f"Failed to unpack {name}: no answer")


@dataclass(slots=True)
class _Running:
    number: int
    name: str
    pid: int
    fd: int
    answer: bytearray = field(default_factory=bytearray)


def _start(number: int, item: Work) -> _Running:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write_end)
        return _Running(number, item.name, pid, read_end)
    status = 1
    try:
        prctl.set_parent_death_signal(signal.SIGKILL)
        if os.getppid() == parent:
            data = memoryview(_said(item))
            while data:
                data = data[os.write(write_end, data) :]
            status = 0
    finally:
        os._exit(status)


def _said(item: Work) -> bytes:
    """Do the work and return the answer to be sent, whatever comes of it."""
    try:
        return json.dumps(answer_of(item.call)).encode()
    except Exception as error:  # a mistake of ours or of a library: nobody else could tell of it
        text = f"Failed to unpack {item.name}: unexpected {_described(error)}"
        return json.dumps({"error": text, "kind": "unpack"}).encode()


def _described(error: Exception) -> str:
    """What was raised, and where. No source is read: this process may be shut in with an image."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = ""
    if where is not None:
        file = os.path.basename(where.tb_frame.f_code.co_filename)
        place = f" ({file}, line {where.tb_lineno})"
    return f"{type(error).__name__}: {str(error)[:_MAX_TEXT]}{place}"


def _end(worker: _Running) -> int:
    """Wait for a worker; return its exit code, which is negative after a signal."""
    os.close(worker.fd)
    _, status = os.waitpid(worker.pid, 0)
    return os.waitstatus_to_exitcode(status)


def _answer(worker: _Running) -> object:
    """Return what a worker that has ended said, or why it said nothing."""
    code = _end(worker)
    if code:
        how = f"was terminated by signal {-code}" if code < 0 else f"exited with status {code}"
        return {"error": f"Failed to unpack {worker.name}: the process {how}", "kind": "unpack"}
    return json.loads(worker.answer)
