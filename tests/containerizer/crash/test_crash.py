# SPDX-License-Identifier: Apache-2.0
"""Agents and spawners that are killed at every step of a launch or a destroy.

Whatever the kernel has of a container, a later agent takes over or takes away, and the exit status
is the right one. The steps are those that the code takes (``points``), each in a round of its own.
The rounds are forked from a small process, never from this one.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containerizer.crash.scenes import CASES

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

_ROOT = Path(__file__).parents[3]
#: Fewer than this means that points are not found any more.
_FEWEST = {"engine": 3, "spawner": 3, "inside": 0, "program": 20}
#: A part of all points.
_EVERY = 20


@pytest.mark.crash
@pytest.mark.parametrize(("scene", "killed"), CASES)
def test_a_kill_at_every_point(scene: str, killed: str, tmp_path: Path) -> None:
    points = play(tmp_path, scene, killed)
    assert points >= (10 if (scene, killed) == ("launch host", "inside") else _FEWEST[killed])


def test_kills_at_some_points(tmp_path: Path) -> None:
    seed = random.randrange(1 << 16)
    assert play(tmp_path, f"--every={_EVERY}", f"--seed={seed}") >= len(CASES)


def play(folder: Path, *arguments: str) -> int:
    """Return the number of points that were tried."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which("busybox") is None or not Path("/bin/busybox").exists():
        pytest.skip("needs busybox (Debian package busybox-static)")
    program = [sys.executable, "-m", "tests.containerizer.crash", f"--folder={folder}"]
    ended = subprocess.run(
        [*program, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    total = re.search(r"^(\d+) points in", ended.stdout, re.MULTILINE)
    assert total is not None
    return int(total[1])
