# SPDX-License-Identifier: Apache-2.0
"""Task groups of the default executor."""

import os

import pytest

from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import needs, scalar, shell
from integration.scene import bin_folder

pytestmark = pytest.mark.skipif(
    not os.path.exists(os.path.join(bin_folder(), "mesos-default-executor")),
    reason="there is no default executor",
)

EXECUTOR = {
    "type": "DEFAULT",
    "executor_id": {"value": "pod"},
    "resources": [
        *needs(0.1, 32),
        scalar("disk", 32, allocation_info={"role": "*"}),
    ],
}


def test_a_group_ends_well(stage: Stage) -> None:
    """All its tasks finish."""
    stage.up()
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", "true"), shell("b", "sleep 1"))
    for name in ("a", "b"):
        director.until(name, "TASK_FINISHED")
        assert director.states(name) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_one_of_a_group_fails(stage: Stage) -> None:
    """The others are killed."""
    stage.up()
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", UNTIL_END), shell("b", "sleep 1; exit 3"))
    director.until("b", "TASK_FAILED")
    director.until("a", "TASK_KILLED")


def test_one_of_a_group_is_killed(stage: Stage) -> None:
    """All of it is."""
    stage.up()
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", UNTIL_END), shell("b", UNTIL_END))
    for name in ("a", "b"):
        director.until(name, "TASK_RUNNING")
    director.kill("a")
    for name in ("a", "b"):
        director.until(name, "TASK_KILLED")


def test_an_agent_restart(stage: Stage) -> None:
    """A group runs on."""
    stage.up()
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", UNTIL_END), shell("b", UNTIL_END))
    for name in ("a", "b"):
        director.until(name, "TASK_RUNNING")
    stage.agent.kill()
    stage.agent.spawn().wait_until_registered()
    assert stage.tasks("tasks", "TASK_RUNNING") == {"a", "b"}
    director.kill("a")
    for name in ("a", "b"):
        director.until(name, "TASK_KILLED")
