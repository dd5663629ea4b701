# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.executor.fake_agent import FakeAgent, RunningExecutor

Start = Callable[..., RunningExecutor]


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    made = FakeAgent()
    yield made
    made.close()


@pytest.fixture
def start(agent: FakeAgent, tmp_path: Path) -> Iterator[Start]:
    """Start executors: ``start("--flag=value", MESOS_NAME="value")``."""
    running: list[RunningExecutor] = []

    def start_one(*arguments: str, **environ: str) -> RunningExecutor:
        sandbox = tmp_path / f"sandbox{len(running)}"
        sandbox.mkdir()
        running.append(RunningExecutor(agent, str(sandbox), list(arguments), environ))
        return running[-1]

    yield start_one
    for one in running:
        one.stop()
