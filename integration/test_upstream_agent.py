# SPDX-License-Identifier: Apache-2.0
"""Our programs in the place of upstream's, started by upstream's agent."""

from collections.abc import Iterator

import pytest

from integration.frameworks.director import Director, needs, scalar, shell
from integration.scene import Scene
from integration.upstream import UpstreamCluster

pytestmark = pytest.mark.integration

STARTED = ("TASK_STARTING", "TASK_RUNNING")


@pytest.fixture(
    params=[("1.4.3", "false"), ("1.11.0", "false"), ("1.11.0", "true")],
    ids=["1.4.3", "1.11.0", "1.11.0 with http"],
)
def upstream(request: pytest.FixtureRequest, scene: Scene) -> Iterator[UpstreamCluster]:
    """Upstream's agent, which finds our programs where it looks for its own."""
    version, http = request.param
    folder = scene.path("upstream")
    cluster = UpstreamCluster(folder, version, http_command_executor=http).start()
    yield cluster
    cluster.clean()


def test_our_command_executor(upstream: UpstreamCluster, scene: Scene) -> None:
    def execute(*arguments: str) -> str:
        done = scene.execute(upstream.address, "--name=task", *arguments)
        return done.check(*STARTED, *ended).stdout

    ended = ["TASK_FINISHED"]
    assert "Command exited with status 0" in execute("--command=echo a word from the task")
    assert "a word from the task" in upstream.log_text().splitlines()
    ended = ["TASK_FAILED"]
    assert "Command exited with status 3" in execute("--command=exit 3")
    ended = ["TASK_KILLING", "TASK_KILLED"]
    said = execute("--command=sleep 1000", "--kill_after=100ms")
    assert "Command terminated with signal Terminated" in said


def test_our_default_executor(scene: Scene) -> None:
    """It nests containers by the API of an agent that is not ours."""
    cluster = UpstreamCluster(scene.path("upstream")).start()
    director = Director(cluster.address).start()
    try:
        resources = [*needs(), scalar("disk", 32, allocation_info={"role": "*"})]
        pod = {"type": "DEFAULT", "executor_id": {"value": "pod"}, "resources": resources}
        director.launch_group(pod, shell("a", "sleep 100000"), shell("b", "sleep 100000"))
        for name in ("a", "b"):
            director.until(name, "TASK_RUNNING")
        director.launch_group(pod, shell("c", "echo a word from the task; exit 3"))
        failed = director.until("c", "TASK_FAILED")
        assert failed["message"] == "Command exited with status 3"
        director.kill("a")
        for name in ("a", "b"):
            killed = director.until(name, "TASK_KILLED")
            assert killed["message"] == "Command terminated with signal Terminated"
            assert director.states(name)[-2:] == ["TASK_KILLING", "TASK_KILLED"]
        ended = [event["failure"] for event in director.events if event["type"] == "FAILURE"]
        assert all(failure["status"] == 0 for failure in ended)
    finally:
        director.close()
        cluster.clean()
