# SPDX-License-Identifier: Apache-2.0
"""Simulated agents with real masters and frameworks."""

import json
import os
import subprocess
import sys

from integration.fleet import fleet
from integration.frameworks import fifty
from integration.processes import environment, eventually, free_port, get_json
from integration.scene import FAST_PINGS, Scene
from integration.test_frameworks import finish, framework
from mesos_compat.simulate.options import make_options

#: What the commands of the framework would do.
FIFTY = [
    {"command": "true", "script": "STARTING:0,RUNNING:10ms,FINISHED:50ms"},
    {"command": "exit *", "script": "STARTING:0,RUNNING:10ms,FAILED:50ms"},
    {"command": "kill *", "script": "STARTING:0,RUNNING:10ms,FAILED:50ms"},
    {"command": "*", "script": "STARTING:0,RUNNING:10ms", "kill": "50ms"},
]


def test_each_is_an_agent_of_its_own(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    options = make_options({"agents": 20, "resources": "cpus:{index};mem:64;disk:10"})
    with fleet(master.address, options) as simulated:
        agents = master.wait_for_agents(20)
        assert len({agent["id"] for agent in agents}) == 20
        assert len({agent["hostname"] for agent in agents}) == 20
        assert {agent["resources"]["cpus"] for agent in agents} == set(range(1, 21))
        assert {agent["attributes"]["rack"] for agent in agents} == {"r0", "r1"}
        for agent in agents[:3]:
            address = agent["pid"].partition("@")[2]
            state = get_json(address, "/state")
            assert state["id"] == agent["id"]
            assert get_json(address, "/slave(1)/state.json")["id"] == agent["id"]
            assert get_json(address, "/metrics/snapshot")["slave/registered"] == 1
        assert simulated.wait(simulated.simulation.unregister())
        eventually(lambda: not master.agents(), 60, "all agents to be gone")


def test_a_framework_cannot_tell_the_difference(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    options = make_options({"agents": 20, "resources": "cpus:0.5;mem:64;disk:10", "rule": FIFTY})
    with fleet(master.address, options) as simulated:
        with framework(master.address) as process:
            report = finish(process)
        states = report["states"]
        assert isinstance(states, dict)
        ends = [history[-1] for history in states.values()]
        assert ends == [fifty.EXPECTED[list(fifty.KINDS)[n % 5]] for n in range(50)]
        # All was acknowledged: nobody has a task any more.
        eventually(
            lambda: not simulated.call(lambda s: s.tasks().total()), 60, "executors to be gone"
        )


def test_agents_that_vanish_come_back_as_what_they_were(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version, **FAST_PINGS)
    with fleet(master.address, make_options({"agents": 3})) as simulated:
        cut, crashed, replaced = simulated.call(lambda s: list(s.agents))
        before = {agent["pid"]: agent["id"] for agent in master.wait_for_agents(3)}
        simulation = simulated.simulation
        simulated.wait(simulation.vanish(cut, "cut", 0.5))
        simulated.wait(simulation.vanish(crashed, "crash", 0.5))
        simulated.wait(simulation.vanish(replaced, "replace", 0.5))

        def back() -> bool:
            found = {agent["pid"]: agent["id"] for agent in master.agents()}
            return set(found) == set(before) and simulated.call(
                lambda s: all(agent.registered for agent in s.agents)
            )

        eventually(back, 60, "all agents to be back")
        after = {agent["pid"]: agent["id"] for agent in master.agents()}
        same = [after[pid] == before[pid] for pid in before]
        assert sorted(same) == [False, True, True]
        assert after[replaced.config.pid] != before[replaced.config.pid]


def test_an_agent_cut_off_for_long_is_unreachable(scene: Scene) -> None:
    master = scene.master(agent_ping_timeout="1secs", max_agent_ping_timeouts=2)
    with fleet(master.address, make_options({"agents": 2})) as simulated:
        first = simulated.call(lambda s: s.agents[0])
        agent_id = first.agent_id
        simulated.call(lambda s: s.agents[0].cut())
        master.wait_for_agents(1)
        simulated.call(lambda s: s.agents[0].heal())
        master.wait_for_agents(2, 60)
        assert agent_id in {agent["id"] for agent in master.agents()}


def test_cluster_up_simulate(scene: Scene) -> None:
    runtime = scene.path("runtime")
    os.mkdir(runtime, mode=0o700)
    place = environment(XDG_RUNTIME_DIR=runtime, XDG_STATE_HOME=scene.path("state"))
    port = free_port()

    def cluster(*arguments: str) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, "-m", "mesos_compat.cli.main", "cluster", *arguments]
        return subprocess.run(
            program, capture_output=True, text=True, timeout=100, env=place, check=False
        )

    try:
        script = "--script=STARTING,RUNNING:10ms,FINISHED:10ms"
        up = cluster("up", "--simulate=30", "--detach", f"--port={port}", script)
        assert up.returncode == 0, up.stderr
        assert "30 of 30 registered" in up.stdout
        assert len(get_json(f"127.0.0.1:{port}", "/state")["slaves"]) == 30
        assert cluster("status").returncode == 0
        done = scene.execute(f"127.0.0.1:{port}", "--name=t", "--command=anything")
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    finally:
        down = cluster("down")
    assert down.returncode == 0, down.stderr


def test_a_task_says_what_it_does(scene: Scene) -> None:
    master = scene.master()
    with fleet(master.address, make_options({"agents": 1})):
        failing = "--command=simulate RUNNING:10ms,EXIT:10ms"
        done = scene.execute(master, "--name=t", failing)
        assert done.states == ["TASK_RUNNING", "TASK_FAILED"]
        tasks = json.dumps(master.task_states())
        assert "TASK_FAILED" in tasks
