# SPDX-License-Identifier: Apache-2.0
"""Command tasks without an image: they need neither root nor Linux isolators."""

import os

import pytest

from integration.processes import eventually, get, get_json
from integration.scene import FAST_PINGS, Scene

STARTED = ("TASK_STARTING", "TASK_RUNNING")


def test_a_command_runs_and_its_output_is_in_the_sandbox(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    agent = scene.agent(master)
    done = scene.execute(master, "--name=hello", "--command=echo to stdout; echo to stderr >&2")
    done.check(*STARTED, "TASK_FINISHED")
    assert "to stdout\n" in agent.stdout("hello")
    with open(os.path.join(agent.sandbox("hello"), "stderr"), encoding="utf-8") as file:
        assert "to stderr\n" in file.read()
    assert "Command exited with status 0" in done.stdout


def test_an_exit_code_is_a_failure(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    scene.agent(master)
    done = scene.execute(master, "--name=bad", "--command=exit 7")
    done.check(*STARTED, "TASK_FAILED")
    assert "message: 'Command exited with status 7'" in done.stdout


def test_a_task_is_killed(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    agent = scene.agent(master)
    done = scene.execute(
        master, "--name=long", "--command=sleep 1000", "--kill_after=500ms", timeout_s=60
    )
    done.check(*STARTED, "TASK_KILLING", "TASK_KILLED")
    assert "Asked to kill task 'long' on agent" in done.stdout
    eventually(lambda: not tasks_of(agent.address), 60, "the executor to be gone")


def test_a_task_that_ignores_sigterm_is_killed_after_its_grace_period(scene: Scene) -> None:
    master = scene.master()
    scene.agent(master)
    done = scene.execute(
        master,
        "--name=stubborn",
        "--command=trap '' TERM; while :; do sleep 1; done",
        "--kill_after=500ms",
        timeout_s=60,
    )
    assert done.states[-1] == "TASK_KILLED", str(done)


def test_the_agent_tells_about_its_task_while_it_runs(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    done = scene.execute(master, "--name=seen", "--command=sleep 1")
    done.check(*STARTED, "TASK_FINISHED")
    state = agent.state()
    assert state["version"]
    frameworks = state["frameworks"] + state["completed_frameworks"]
    executors = [
        executor
        for framework in frameworks
        for executor in framework["executors"] + framework["completed_executors"]
    ]
    assert [executor["id"] for executor in executors] == ["seen"]
    # What the master's web UI does to open a sandbox.
    folder = executors[0]["directory"]
    listed = get_json(agent.address, f"/files/browse?path={folder}")
    assert {os.path.basename(entry["path"]) for entry in listed} >= {"stdout", "stderr"}
    read = get_json(agent.address, f"/files/read?path={folder}/stdout&offset=0")
    assert isinstance(read["data"], str)
    for path in ("/health", "/version", "/flags", "/metrics/snapshot", "/containers"):
        get(agent.address, path)


def test_two_agents_share_a_host(scene: Scene) -> None:
    master = scene.master()
    agents = [scene.agent(master) for _ in range(2)]
    assert len(master.wait_for_agents(2)) == 2
    scene.execute(master, "--name=one", "--command=true").check(*STARTED, "TASK_FINISHED")
    assert sum(len(agent.sandboxes("one")) for agent in agents) == 1
    agents[0].stop()
    scene.execute(master, "--name=two", "--command=true").check(*STARTED, "TASK_FINISHED")
    assert len(agents[1].sandboxes("two")) == 1


def test_the_agent_finds_a_master_that_comes_back(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version, **FAST_PINGS)
    agent = scene.agent(master)
    agent_id = master.wait_for_agents(1)[0]["id"]
    master.kill()
    master.start()
    assert master.wait_for_agents(1)[0]["id"] == agent_id
    scene.execute(master, "--name=after", "--command=true").check(*STARTED, "TASK_FINISHED")
    assert agent.running


def test_the_master_may_come_from_a_file(scene: Scene) -> None:
    master = scene.master()
    path = scene.path("master.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write(master.address)
    agent = scene.prepare_agent(master)
    agent.flags["master"] = f"file://{path}"
    agent.start()


@pytest.mark.root
def test_isolators_of_the_kernel(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(
        master,
        launcher="linux",
        isolation="cgroups/cpu,cgroups/mem,namespaces/pid,filesystem/linux",
    )
    done = scene.execute(
        master,
        "--name=inside",
        "--command=echo pid $$; cat /proc/self/cgroup",
        "--resources=cpus:0.5;mem:64",
    )
    done.check(*STARTED, "TASK_FINISHED")
    assert agent.cgroups_root in agent.stdout("inside")


def tasks_of(address: str) -> list[object]:
    state = get_json(address, "/state")
    return [e for f in state["frameworks"] for e in f["executors"]]
