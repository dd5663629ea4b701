# SPDX-License-Identifier: Apache-2.0
"""Containers of a user who is not root: processes of the host and nothing more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.launcher.base import Stdio
from containerizer.local.attached import Attachment
from containerizer.local.order import BindVolume, ContainerOrder, SessionOrder
from containerizer.local.registry import Places, Registry
from containerizer.local.run import LocalRun
from containerizer.local.session import LocalSession
from mesos_compat.base.errors import ContainerError


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    if os.geteuid() == 0:
        monkeypatch.setattr("containerizer.local.run.os.geteuid", lambda: 1000)
    return Registry(Places(str(tmp_path / "run"), str(tmp_path / "work")))


@pytest.fixture
def null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    yield fd
    os.close(fd)


async def test_a_container_and_a_session(registry: Registry, tmp_path: Path, null: int) -> None:
    order = ContainerOrder(
        ("sh", "-c", "echo $A; sleep 100"), environment={"A": "x"}, detached=True
    )
    run = await LocalRun.launch(registry, order, Attachment())
    await run.leave()
    found = registry.find(run.record.id)
    assert found.state == "running"
    output = tmp_path / "output"
    with output.open("wb") as file:
        stdio = Stdio(null, file.fileno(), null)
        session = await LocalSession.start(
            registry, found, SessionOrder(("sh", "-c", "echo $A; exit 3")), Attachment(stdio)
        )
        assert await session.wait() == 3 << 8
        await session.end()
    assert output.read_text() == "x\n"
    assert found.pid is not None
    os.kill(found.pid, 15)
    run = await LocalRun.taken_over(registry, found)
    await run.end()
    assert registry.all() == []
    assert os.listdir(tmp_path / "work" / "containers") == []


@pytest.mark.parametrize(
    ("order", "what"),
    [
        (ContainerOrder(("x",), image="x"), "An image"),
        (ContainerOrder(("x",), volumes=(BindVolume("/", "/x"),)), "A volume"),
        (ContainerOrder(("x",), cpus=1.0), "A limit of cpus"),
        (ContainerOrder(("x",), memory_bytes=1 << 30), "A limit of memory"),
        (ContainerOrder(("x",), user="root"), "Another user"),
    ],
)
async def test_what_needs_root(registry: Registry, order: ContainerOrder, what: str) -> None:
    with pytest.raises(ContainerError, match=f"^{what} needs root$"):
        await LocalRun.launch(registry, order, Attachment())
    assert registry.all() == []
