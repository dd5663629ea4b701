# SPDX-License-Identifier: Apache-2.0
"""Task groups of the default executor."""

from pathlib import Path

from integration.conformance.stage import UNTIL_END, Stage
from integration.frameworks.director import OLD, Director, needs, scalar, shell
from integration.processes import eventually
from integration.subscription import Record

EXECUTOR: Record = {
    "type": "DEFAULT",
    "executor_id": {"value": "pod"},
    "resources": [
        *needs(0.1, 32),
        scalar("disk", 32, allocation_info={"role": "*"}),
    ],
}
#: A task that cannot be launched: its image is nowhere.
NOWHERE: Record = {
    "type": "MESOS",
    "mesos": {"image": {"type": "DOCKER", "docker": {"name": "nowhere"}}},
}


def run(director: Director, *names: str) -> None:
    """Have a group of tasks run that go on until they are told to end."""
    director.launch_group(EXECUTOR, *(shell(name, UNTIL_END) for name in names))
    for name in names:
        director.until(name, "TASK_RUNNING")


def end(stage: Stage, name: str) -> None:
    """Let a task of a group end well."""
    Path(stage.agent.sandbox("pod"), "tasks", name, "end").touch()


def wait_for_idle_agent(stage: Stage) -> None:
    """Wait until no executor is left."""
    eventually(lambda: stage.agent.state()["frameworks"] == [], 60, "the executor to be gone")


def failures(stage: Stage, director: Director) -> list[Record]:
    """What the framework was told of the ends of executors."""
    eventually(lambda: _failures(director), 60, "the end of the executor")
    return _failures(director)


def _failures(director: Director) -> list[Record]:
    return [event["failure"] for event in director.events if event["type"] == "FAILURE"]


def test_a_group_ends_well(stage: Stage) -> None:
    """All its tasks finish."""
    stage.up()
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", "true"), shell("b", "sleep 1"))
    for name in ("a", "b"):
        director.until(name, "TASK_FINISHED")
        assert director.states(name) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    ids = {
        status["container_status"]["container_id"]["value"]
        for name in ("a", "b")
        for status in director.statuses[name]
    }
    assert len(ids) == 2
    [failure] = failures(stage, director)
    assert (failure["executor_id"], failure["status"]) == ({"value": "pod"}, 0)


def test_one_of_a_group_fails(stage: Stage) -> None:
    """The others are killed."""
    stage.up()
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", UNTIL_END), shell("b", "sleep 1; exit 3"))
    failed = director.until("b", "TASK_FAILED")
    assert failed["message"] == "Command exited with status 3"
    killed = director.until("a", "TASK_KILLED")
    assert killed["message"] == "Command terminated with signal Terminated"
    assert director.states("a")[-2:] == ["TASK_KILLING", "TASK_KILLED"]


def test_one_of_a_group_is_killed(stage: Stage) -> None:
    """All of it is."""
    stage.up()
    director = stage.framework()
    run(director, "a", "b")
    director.kill("a")
    for name in ("a", "b"):
        director.until(name, "TASK_KILLED")


def test_all_of_a_group_are_killed(stage: Stage) -> None:
    """Whoever does not listen dies when its time is over; nobody is told twice."""
    stage.up()
    director = stage.framework(capabilities=OLD)
    deaf = f"trap '' TERM; touch deaf; {UNTIL_END}"
    director.launch_group(EXECUTOR, shell("a", UNTIL_END), shell("b", deaf))
    for name in ("a", "b"):
        director.until(name, "TASK_RUNNING")
    heard = Path(stage.agent.sandbox("pod"), "tasks", "b", "deaf")
    eventually(heard.exists, 60, "the task to be deaf")
    for name in ("b", "a"):
        director.kill(name, kill_policy={"grace_period": {"nanoseconds": 3 * 10**9}})
    messages = [director.until(name, "TASK_KILLED")["message"] for name in ("a", "b")]
    terminated = "Command terminated with signal "
    assert messages == [f"{terminated}Terminated", f"{terminated}Killed"]
    for name in ("a", "b"):
        assert director.states(name) == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"]


def test_two_groups_on_one_executor(stage: Stage) -> None:
    """The end of one is none of the other's."""
    stage.up()
    director = stage.framework()
    run(director, "a", "b")
    run(director, "c", "d")
    director.kill("a")
    for name in ("a", "b"):
        director.until(name, "TASK_KILLED")
    assert stage.tasks("tasks", "TASK_RUNNING") == {"c", "d"}
    end(stage, "c")
    director.until("c", "TASK_FINISHED")
    assert director.states("d") == ["TASK_STARTING", "TASK_RUNNING"]
    end(stage, "d")
    director.until("d", "TASK_FINISHED")
    assert len(failures(stage, director)) == 1


def test_a_launch_fails(stage: Stage) -> None:
    """Its task says why, the others are killed."""
    stage.up(
        isolation="filesystem/linux,docker/runtime",
        image_providers="docker",
        docker_registry=stage.scene.path("images"),
    )
    director = stage.framework()
    director.launch_group(EXECUTOR, shell("a", UNTIL_END), shell("b", "true", container=NOWHERE))
    failed = director.until("b", "TASK_FAILED")
    assert "nowhere" in failed["message"]
    assert director.states("b") == ["TASK_STARTING", "TASK_FAILED"]
    director.until("a", "TASK_KILLED")


def test_an_agent_restart(stage: Stage) -> None:
    """A group runs on; who ended meanwhile did so as it did."""
    stage.up()
    director = stage.framework()
    run(director, "a", "b")
    director.launch_group(EXECUTOR, shell("c", f"{UNTIL_END}; exit 7"), shell("d", UNTIL_END))
    for name in ("c", "d"):
        director.until(name, "TASK_RUNNING")
    stage.agent.kill()
    for name in ("b", "c"):
        end(stage, name)
    stage.agent.spawn().wait_until_registered()
    director.until("b", "TASK_FINISHED")
    assert director.until("c", "TASK_FAILED")["message"] == "Command exited with status 7"
    director.until("d", "TASK_KILLED")
    assert stage.tasks("tasks", "TASK_RUNNING") == {"a"}
    director.kill("a")
    director.until("a", "TASK_KILLED")


def test_the_executor_dies(stage: Stage) -> None:
    """So do its tasks; they have failed."""
    stage.up()
    director = stage.framework()
    run(director, "a", "b")
    stage.kill_executor()
    for name in ("a", "b"):
        status = director.until(name, "TASK_FAILED")
        assert (status["message"], status["source"]) == ("Executor terminated", "SOURCE_AGENT")
        assert status["reason"] == "REASON_EXECUTOR_TERMINATED"
    [failure] = failures(stage, director)
    assert (failure["executor_id"], failure["status"]) == ({"value": "pod"}, 9)


def test_the_framework_ends(stage: Stage) -> None:
    """Nothing of its group is left."""
    stage.up()
    director = stage.framework()
    run(director, "a", "b")
    director.teardown()
    wait_for_idle_agent(stage)
