# SPDX-License-Identifier: Apache-2.0
"""Half a minute of chaos, and what its judge objects to. ``./test.sh chaos`` runs more of it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration.chaos.run import Chaos
from integration.chaos.verdict import Book, disagreements
from integration.frameworks.crowd import Update
from integration.master import LATEST
from integration.processes import environment, eventually
from integration.scene import Scene

_FAULT = re.compile(r"^ *\d+\.\d\d \w", re.MULTILINE)


@pytest.mark.root
@pytest.mark.timeout(600)
def test_half_a_minute(scene: Scene) -> None:
    chaos = Chaos(scene, LATEST, seed=7)
    try:
        chaos.run(30.0)
    finally:
        chaos.close()
    assert chaos.problems == []


@pytest.mark.root
def test_asked_to_end(tmp_path: Path) -> None:
    """Nothing that was started stays, and it says that it shows nothing."""
    said = tmp_path / "said"
    with open(said, "wb") as output:
        chaos = subprocess.Popen(
            [sys.executable, "-m", "integration.chaos", "--seconds=600"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parent.parent,
            env=environment(TMPDIR=str(tmp_path), PYTHONUNBUFFERED="1"),
        )
    try:
        # All that there is runs when the first fault strikes.
        eventually(lambda: _FAULT.search(said.read_text()), 120, "a fault")
        chaos.send_signal(signal.SIGTERM)
        assert chaos.wait(120) == 128 + signal.SIGTERM, said.read_text()
    finally:
        chaos.kill()
        chaos.wait()
    assert "the run did not come to its end" in said.read_text()
    eventually(lambda: not _of(str(tmp_path)), 60, f"the end of {_of(str(tmp_path))}")


def _of(folder: str) -> list[str]:
    """Command lines with a path below ``folder``."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if folder in line:
            found.append(line.replace("\0", " "))
    return found


def told(*updates: tuple[str, str, str, str], kind: str = "works") -> Book:
    """A task of which (state, source, reason, message) were told."""
    found = [Update(*update, at_s=float(at)) for at, update in enumerate(updates)]
    return Book("t", kind, tuple(found))


RUNNING = ("TASK_RUNNING", "SOURCE_EXECUTOR", "", "")
FINISHED = ("TASK_FINISHED", "SOURCE_EXECUTOR", "", "")
FAILED = ("TASK_FAILED", "SOURCE_AGENT", "REASON_EXECUTOR_TERMINATED", "")
LOST = ("TASK_LOST", "SOURCE_MASTER", "REASON_AGENT_REMOVED", "health check timed out")
UNREACHABLE = ("TASK_UNREACHABLE", *LOST[1:])
UNKNOWN = (
    "TASK_GONE",
    "SOURCE_MASTER",
    "REASON_RECONCILIATION",
    "Reconciliation: Task is unknown to the agent",
)
DROPPED = ("TASK_DROPPED", "SOURCE_AGENT", "REASON_RECONCILIATION", "Reconciliation: …")
ASKED = ("SOURCE_MASTER", "REASON_RECONCILIATION", "Reconciliation: Latest task state")
BACK = ("SOURCE_MASTER", "REASON_AGENT_REREGISTERED", "Unreachable agent re-reregistered")


@pytest.mark.parametrize(
    ("book", "end"),
    [
        (told(RUNNING, FINISHED), "TASK_FINISHED"),
        (told(RUNNING, FINISHED, FINISHED), "TASK_FINISHED"),
        (told(RUNNING, LOST, RUNNING, FINISHED), "TASK_FINISHED"),
        (told(RUNNING, LOST), None),
        (told(UNREACHABLE, DROPPED), "TASK_DROPPED"),
        (told(UNREACHABLE, UNKNOWN), "TASK_GONE"),
        (told(UNREACHABLE, ("TASK_UNKNOWN", *UNKNOWN[1:]), UNREACHABLE), "TASK_UNKNOWN"),
        (told(FINISHED, UNREACHABLE, FINISHED), "TASK_FINISHED"),
        (told(FINISHED, UNREACHABLE), "TASK_FINISHED"),
        (told(LOST, ("TASK_FINISHED", *BACK), RUNNING, FINISHED), "TASK_FINISHED"),
        (told(LOST, ("TASK_FINISHED", *ASKED), RUNNING, FINISHED), "TASK_FINISHED"),
    ],
)
def test_one_end(book: Book, end: str | None) -> None:
    assert list(book.problems()) == []
    assert book.end == end


@pytest.mark.parametrize(
    "book",
    [
        told(),
        told(RUNNING),
        told(RUNNING, UNREACHABLE),
        told(LOST, RUNNING),
        told(RUNNING, ("TASK_UNKNOWN", *UNKNOWN[1:3], "Reconciliation: Task is unknown")),
        told(LOST, ("TASK_FINISHED", *BACK)),
        told(("TASK_FINISHED", *ASKED)),
        told(LOST, ("TASK_FAILED", *BACK), RUNNING, FINISHED),
        told(FINISHED, FAILED),
        told(FINISHED, RUNNING),
        told(UNKNOWN, RUNNING, FINISHED),
        told(RUNNING, FINISHED, kind="is killed"),
        told(("TASK_ERROR", *FAILED[1:])),
        told(DROPPED, FAILED),
    ],
)
def test_no_end_or_more_than_one(book: Book) -> None:
    assert list(book.problems())


@pytest.mark.parametrize(
    ("book", "state", "shuts_down", "agreed"),
    [
        (told(RUNNING, FINISHED), "TASK_FINISHED", False, True),
        (told(RUNNING, FINISHED), "TASK_RUNNING", False, False),
        (told(RUNNING, FINISHED), "TASK_RUNNING", True, False),
        (told(UNKNOWN), "TASK_STAGING", False, False),
        (told(LOST), "TASK_LOST", False, True),
        (told(LOST), "TASK_FINISHED", False, False),
        (told(LOST), "TASK_FINISHED", True, True),
        (told(LOST, ("TASK_LOST", *UNKNOWN[1:])), "TASK_FINISHED", True, True),
        (told(UNREACHABLE, UNKNOWN), "TASK_FINISHED", True, False),
    ],
)
def test_agreement(book: Book, state: str, shuts_down: bool, agreed: bool) -> None:
    found = list(disagreements("agent", {"t": book}, [("t", state)], shuts_down=shuts_down))
    assert (not found) == agreed


def test_nobody_launched_it() -> None:
    assert list(disagreements("agent", {}, [("t", "TASK_FINISHED")], shuts_down=True))
