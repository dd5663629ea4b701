# SPDX-License-Identifier: Apache-2.0
"""Agents and spawners that are killed at every step of a launch or a destroy.

Whatever the kernel has of a container, a later agent takes over or takes away, and the exit status
is the right one. The steps are those that the code takes (``points``), each in a round of its own.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
from pathlib import Path

import pytest

from containerizer.linux.prctl import set_child_subreaper
from tests.containerizer.crash import rounds
from tests.containerizer.crash.corner import Corner, Engine
from tests.containerizer.crash.rounds import Report
from tests.containerizer.crash.scenes import SCENES, C

pytestmark = [pytest.mark.root, pytest.mark.crash, pytest.mark.timeout(900)]

_WORKERS = 3
#: Fewer than this means that points are not found any more.
_FEWEST = {"engine": 10, "spawner": 10, "spawner's child": 10}

CASES = [
    *((scene, "engine") for scene in SCENES if scene != "start"),
    *((scene, "spawner") for scene in ("launch host", "launch nested")),
    *((scene, "spawner's child") for scene in ("launch host", "launch image")),
]


@pytest.mark.parametrize(("scene", "killed"), CASES)
def test_a_kill_at_every_point(scene: str, killed: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which("busybox") is None or not Path("/bin/busybox").exists():
        pytest.skip("needs busybox (Debian package busybox-static)")
    started = [_start(scene, killed, tmp_path, number) for number in range(_WORKERS)]
    reports = [_report(*each) for each in started]
    findings = [str(finding) for report in reports for finding in report.findings]
    assert findings == []
    found = sum(report.points for report in reports)
    print(f"{scene}, {killed}: {found} points")
    assert found >= (_FEWEST[killed] if scene != "recover" else 3)


def _start(scene: str, killed: str, folder: Path, number: int) -> tuple[int, int]:
    """Start a worker with every so manieth point; return its pid and where it tells."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    try:
        set_child_subreaper(True)
        corner = Corner(folder / str(number), str(number))
        if "image" in scene or scene == "recover":
            corner.write_image()
            rounds.in_child(corner, "first", lambda: _pull(corner))
            corner.clear()
        report = rounds.run(SCENES[scene], killed, corner, number + 1, _WORKERS)
        with open(write, "wb") as told:
            pickle.dump(report, told)
    finally:
        os._exit(0)


async def _pull(corner: Corner) -> None:
    """Have the image in the store."""
    engine = Engine(corner)
    await engine.mesos.recover([])
    await engine.launch(C, image=True)
    corner.let_go(C)
    async with asyncio.timeout(30):
        await engine.mesos.wait(C)
    await engine.close()


def _report(pid: int, read: int) -> Report:
    with open(read, "rb") as told:
        content = told.read()
    os.waitpid(pid, 0)
    assert content, "the worker broke"
    report = pickle.loads(content)
    assert isinstance(report, Report)
    return report
