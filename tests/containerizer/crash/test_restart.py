# SPDX-License-Identifier: Apache-2.0
"""An agent that is killed while its containers run: who goes on, and how that ends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from containerizer.linux.prctl import set_child_subreaper
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.crash.corner import WAIT_STATUS, Corner, Engine, descendants_gone
from tests.containerizer.crash.points import kill_self
from tests.containerizer.crash.rounds import in_child

pytestmark = [pytest.mark.root, pytest.mark.timeout(60)]

E = ContainerId("executor")
S = ContainerId("standalone")


@pytest.mark.parametrize("checkpointed", [True, False])
def test_restart(checkpointed: bool, tmp_path: Path) -> None:
    """An executor that its agent does not know any more is an orphan."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    corner = Corner(tmp_path, "restart")
    pid_path = tmp_path / "forked.pid"

    async def victim() -> None:
        engine = Engine(corner)
        await engine.mesos.recover([])
        await engine.launch(S)
        await engine.launch(E, pid_checkpoint_path=str(pid_path))
        await engine.running(E, S)
        kill_self()

    async def heir() -> list[str]:
        engine = Engine(corner)
        state = slave.ContainerState(
            container_id=E.message(),
            pid=int(pid_path.read_text()),
            directory=str(corner.sandbox(E)),
        )
        await engine.mesos.recover([state] if checkpointed else [])
        told = []
        for each in (E, S):
            waiting = asyncio.ensure_future(engine.mesos.wait(each))
            if each == S or checkpointed:
                await asyncio.sleep(0)
                corner.let_go(each)
            ended = await waiting
            told.append(f"{each} {ended.status if ended is not None else None}")
        await engine.close()
        return told

    def play() -> list[str]:
        set_child_subreaper(True)
        told = in_child(corner, "victim", victim, killed=True)
        told += in_child(corner, "heir", heir)
        return [*told, *descendants_gone(), *corner.left()]

    expected = WAIT_STATUS if checkpointed else 9
    try:
        assert play() == [f"executor {expected}", f"standalone {WAIT_STATUS}"]
    finally:
        set_child_subreaper(False)
        corner.clear()
