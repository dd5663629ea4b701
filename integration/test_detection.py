# SPDX-License-Identifier: Apache-2.0
"""Masters by address and by file; by ZooKeeper in ``test_zookeeper.py``."""

import pytest

from integration.master import LATEST
from integration.processes import get_json
from integration.scene import FAST_PINGS, Scene


@pytest.mark.parametrize("form", ["{}", "master@{}"])
def test_addresses(scene: Scene, form: str) -> None:
    master = scene.master()
    scene.prepare_agent(form.format(master.address)).spawn()
    master.wait_for_agents(1)


def test_a_file_with_a_newline_that_is_changed(scene: Scene) -> None:
    masters = [scene.master(LATEST, **FAST_PINGS) for _ in range(2)]
    path = scene.path("where")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{masters[0].address}\n")
    agent = scene.prepare_agent(f"file://{path}").spawn()
    masters[0].wait_for_agents(1)
    assert get_json(agent.address, "/flags")["flags"]["master"] == path
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"master@{masters[1].address}\n")
    masters[1].wait_for_agents(1)


def test_what_is_no_master_ends_the_agent(scene: Scene) -> None:
    for given, error in (
        ("nonsense", "Failed to create a master detector: Failed to parse 'nonsense'"),
        (
            "zk://127.0.0.1:1/",
            "Failed to create a master detector: Expecting a (chroot) path for ZooKeeper"
            " ('/' is not supported)",
        ),
    ):
        agent = scene.prepare_agent(given).spawn()
        assert agent.wait() == 1
        assert error in agent.log_text()
