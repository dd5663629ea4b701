# SPDX-License-Identifier: Apache-2.0
"""Our programs in the place of upstream's, started by upstream's agent."""

from collections.abc import Iterator

import pytest

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
    cluster.kill()


@pytest.mark.timeout(240)
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
