# SPDX-License-Identifier: Apache-2.0
"""What is run again in CI, and what the report says about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import time
import pytest

tries = {}

def passes_at_last(name):
    tries[name] = tries.get(name, 0) + 1
    return tries[name] > 1

@pytest.fixture(scope="module")
def shared():
    yield
    tries["shared"] = tries.get("shared", 0) + 1

@pytest.mark.root
def test_once(shared):
    print("what it said")
    assert passes_at_last("once"), "the reason"
    assert tries["shared"] == 1

@pytest.mark.integration
@pytest.mark.timeout(0.5)
def test_too_long():
    if not passes_at_last("too long"):
        time.sleep(60)

@pytest.fixture
def leaves():
    yield
    assert passes_at_last("leaves"), "left behind"

@pytest.mark.root
def test_left(leaves):
    pass

@pytest.mark.root
def test_never():
    assert False

def test_fast():
    assert passes_at_last("fast")
"""


def test_only_tests_of_whole_machines_get_a_second_try(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  root\n  integration\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-raR", "-p", "tests.reruns", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    shown = done.stdout
    assert done.returncode == 1, shown
    assert "FAILED test_it.py::test_never - assert False" in shown
    assert "FAILED test_it.py::test_fast" in shown
    assert "2 failed" in shown
    assert "4 rerun" in shown
    for name, text in (("once", "the reason"), ("too_long", "Timeout"), ("left", "left behind")):
        assert f"RERUN test_it.py::test_{name}\n" in shown
        assert text in shown.partition(f"run again: test_it.py::test_{name} =")[2]
    assert "what it said" in shown
