# SPDX-License-Identifier: Apache-2.0
"""Tasks with limits under a real master, on cgroups of whichever version the host has."""

import os
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import CgroupLayout
from integration.agent import OurAgent
from integration.processes import eventually, get_json
from integration.scene import Execution, Scene
from mesos_compat.cli.leftovers import remove
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.root

V2 = cgroup1.layout() is CgroupLayout.V2
ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,cgroups/pids,namespaces/pid"
STARTED = ("TASK_STARTING", "TASK_RUNNING")
MB = 1 << 20
UNTIL_TOLD = "while [ ! -e end ]; do sleep 0.1; done"


def limited_agent(scene: Scene, images: str, **flags: object) -> tuple[str, OurAgent]:
    """Start a master and an agent that limits its tasks; returns the master's address."""
    master = scene.master()
    agent = scene.prepare_agent(
        master,
        isolation=ISOLATION,
        image_providers="docker",
        docker_registry=images,
        docker_store_dir=scene.path("store"),
        launcher="linux",
        cgroups_enable_cfs=True,
        **flags,
    ).spawn()
    agent.wait_until_registered(PATIENCE_S)
    return master.address, agent


def in_image(scene: Scene, master: str, name: str, command: str, *more: str) -> Execution:
    """Run a task in an image."""
    arguments = [f"--name={name}", f"--command={command}", "--docker_image=busybox:latest"]
    arguments += ["--containerizer=mesos", "--resources=cpus:0.5;mem:64", *more]
    return scene.execute(master, *arguments, timeout_s=PATIENCE_S)


def containers_of(agent: OurAgent) -> list[str]:
    """Return the cgroups of an agent's containers."""
    hierarchies = {cgroup1.V2_MOUNT_POINT} if V2 else {*cgroup1.hierarchies().values()}
    roots = (os.path.join(hierarchy, agent.cgroups_root) for hierarchy in hierarchies)
    return [cgroup for root in roots for cgroup in cgroup1.descendants(root)]


@pytest.mark.parametrize("image", [True, False])
def test_a_task_that_takes_too_much_memory(scene: Scene, docker_images: str, image: bool) -> None:
    master, _ = limited_agent(scene, docker_images)
    eater = "tail /dev/zero; echo survived; exit 3"
    if image:
        done = in_image(scene, master, "eater", eater)
    else:
        limits = ("--name=eater", "--resources=cpus:0.5;mem:64")
        done = scene.execute(master, f"--command={eater}", *limits, timeout_s=PATIENCE_S)
    assert done.states == [*STARTED, "TASK_FAILED"], str(done)
    assert "reason: REASON_CONTAINER_LIMITATION_MEMORY" in done.stdout, str(done)
    assert "Memory limit exceeded: " in done.stdout
    assert ("MEMORY STATISTICS post-OOM" in done.stdout) == V2


def test_a_task_within_its_limits(scene: Scene, docker_images: str) -> None:
    master, agent = limited_agent(scene, docker_images)
    seen: list[dict[str, Any]] = []

    def look() -> None:
        def probe() -> list[dict[str, Any]]:
            found = get_json(agent.address, "/containers") or []
            # At first there is a container, but nothing in it yet.
            return [c for c in found if c.get("statistics", {}).get("mem_total_bytes")]

        seen.extend(eventually(probe, PATIENCE_S, "statistics"))
        Path(agent.sandbox("modest"), "end").touch()

    looking = threading.Thread(target=look)
    looking.start()
    done = in_image(scene, master, "modest", f"cat /proc/self/cgroup; {UNTIL_TOLD}")
    looking.join()
    done.check(*STARTED, "TASK_FINISHED")
    statistics = seen[0]["statistics"]
    # The executor has 0.1 cpus and 32 MB of its own.
    assert statistics["mem_limit_bytes"] == 96 * MB
    assert statistics["cpus_limit"] == pytest.approx(0.6)
    assert statistics["mem_total_bytes"] > 0
    lines = agent.stdout("modest").splitlines()
    if V2:
        assert "0::/" in lines
    else:
        assert any(
            line.endswith(f":/{agent.cgroups_root}/{seen[0]['container_id']}") for line in lines
        )


def test_a_fork_bomb_is_gone_with_its_task(scene: Scene, docker_images: str) -> None:
    master, agent = limited_agent(scene, docker_images)
    bomb = "f() { sleep 0.01; f & f & wait; }; ulimit -u 500; f & sleep 1000"
    done = in_image(scene, master, "bomb", bomb, "--kill_after=2secs")
    assert done.states[-1] in ("TASK_KILLED", "TASK_FAILED"), str(done)
    eventually(lambda: not containers_of(agent), PATIENCE_S, "no cgroups")


def test_an_agent_in_cgroups_of_its_own(scene: Scene, docker_images: str) -> None:
    master, agent = limited_agent(scene, docker_images, agent_subsystems="cpu,memory")
    with open(f"/proc/{agent.pid}/cgroup", encoding="utf-8") as file:
        places = {line.split(":", 1)[1] for line in file.read().splitlines()}
    root = agent.cgroups_root
    expected = {f":/{root}/agent/leaf"} if V2 else {f"cpu:/{root}/slave", f"memory:/{root}/slave"}
    assert places >= expected
    done = in_image(scene, master, "beside", "true")
    done.check(*STARTED, "TASK_FINISHED")
    assert agent.stop() == 0
    # They stay, as upstream's do: who is in a cgroup cannot remove it.
    left = containers_of(agent)
    names = {os.path.relpath(path, os.path.dirname(path)) for path in left}
    assert names == ({"agent", "leaf"} if V2 else {"slave"})
    assert not remove(agent.territory)


@pytest.mark.skipif(not V2, reason="needs cgroups version 2 only")
def test_an_agent_stays_inside_the_cgroup_of_its_service(scene: Scene, docker_images: str) -> None:
    service = f"test-{uuid.uuid4().hex[:8]}.service"
    unit = os.path.join(cgroup1.V2_MOUNT_POINT, service)
    os.mkdir(unit)
    master = scene.master()
    agent = scene.prepare_agent(
        master,
        isolation=ISOLATION,
        image_providers="docker",
        docker_registry=docker_images,
        agent_subsystems="cpu,memory",
    )
    agent.cgroups_root = f"{service}/mesos"
    joined = ["sh", "-c", f'echo 0 >{unit}/cgroup.procs && exec "$@"', "sh", *agent.arguments()]
    agent.launch(joined, {}, agent.folder)
    agent.wait_until_registered(PATIENCE_S)
    done = in_image(scene, master.address, "inside", "true")
    done.check(*STARTED, "TASK_FINISHED")
    done = in_image(scene, master.address, "eater", "tail /dev/zero")
    assert "reason: REASON_CONTAINER_LIMITATION_MEMORY" in done.stdout, str(done)
    # The service's own cgroup has no processes: everything is below it.
    assert cgroup1.processes(unit) == set()
    with open(os.path.join(unit, "mesos/agent/memory.current"), encoding="ascii") as file:
        assert int(file.read()) > 0
    assert agent.stop() == 0
    assert not remove(agent.territory)
    os.rmdir(unit)
