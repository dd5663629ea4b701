# SPDX-License-Identifier: Apache-2.0
"""Whatever an agent was doing to its store when it was killed, the next one finds it whole."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containerizer.provisioner.stores.crash import SCENES

_ROOT = Path(__file__).parents[4]
_PROGRAM = "tests.containerizer.provisioner.stores.crash"


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_a_kill_at_every_point(tmp_path: Path) -> None:
    assert play(tmp_path, 1, 0) > 10 * len(SCENES)


def test_kills_at_some_points(tmp_path: Path) -> None:
    assert play(tmp_path, 8, random.randrange(8)) > len(SCENES)


def play(folder: Path, every: int, first: int) -> int:
    """Return the number of rounds."""
    ended = subprocess.run(
        [sys.executable, "-m", _PROGRAM, str(folder), str(every), str(first)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return sum(int(line.split()[-2]) for line in ended.stdout.splitlines())
