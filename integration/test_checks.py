# SPDX-License-Identifier: Apache-2.0
"""Checks and health checks of tasks, of the command executor and of the default executor."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.frameworks.director import Director, needs, scalar, shell
from integration.processes import eventually, free_port
from integration.scene import Scene
from integration.subscription import Record

pytestmark = [pytest.mark.integration, pytest.mark.root]

ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid"
BUSYBOX: Record = {
    "type": "MESOS",
    "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox:latest"}}},
}
FOREVER = "sleep 100000"
#: Ends with the number in a file of the sandbox, 50 if there is none.
NUMBER = 'exit $(cat "$MESOS_SANDBOX/number" 2>/dev/null || echo 50)'
CHECKED = "REASON_TASK_CHECK_STATUS_UPDATED"
HEALTH = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"


def command(script: str) -> Record:
    """A command check, as CheckInfo has it."""
    return {"type": "COMMAND", "command": {"command": {"value": script}}, **soon()}


def health(**fields: object) -> Record:
    """A health check without grace."""
    return {"grace_period_seconds": 0, **soon(), **fields}


def soon() -> Record:
    """Times of checks that are run at once and often."""
    return {"delay_seconds": 0, "interval_seconds": 0.2, "timeout_seconds": 60}


def launch(director: Director, grouped: bool, *tasks: Record) -> None:
    """Run tasks, each alone or all in one group."""
    if not grouped:
        director.launch(*tasks)
        return
    disk = scalar("disk", 32, allocation_info={"role": "*"})
    pod = {"type": "DEFAULT", "executor_id": {"value": "pod"}, "resources": [*needs(), disk]}
    director.launch_group(pod, *tasks)


def news(director: Director, task_id: str, reason: str) -> list[Record]:
    """Statuses that tell what a check of a task has found."""
    return [s for s in director.statuses.get(task_id, ()) if s.get("reason") == reason]


def until_news(director: Director, task_id: str, reason: str, field: str, value: object) -> Record:
    """Wait for what a check of a task is to find."""

    def probe() -> Record | None:
        found = [s for s in news(director, task_id, reason) if s.get(field) == value]
        return found[-1] if found else None

    found: Record = director.wait(probe, f"{field} {value} of {task_id}", 60)
    return found


def exit_code(number: int) -> Record:
    """What a command check tells."""
    return {"type": "COMMAND", "command": {"exit_code": number}}


@pytest.fixture
def director(scene: Scene, docker_images: str) -> Iterator[Director]:
    """A framework of a cluster with one agent."""
    master = scene.master()
    scene.agent(
        master, isolation=ISOLATION, image_providers="docker", docker_registry=docker_images
    )
    made = Director(master.address).start()
    yield made
    made.close()


def test_what_checks_find(director: Director) -> None:
    """Of tasks alone and in a group."""
    for grouped, mark in ((False, "a"), (True, "g")):
        launch(director, grouped, *_tasks_with_checks(mark))
    for mark in ("a", "g"):
        until_news(director, f"number-{mark}", CHECKED, "check_status", exit_code(7))
        until_news(director, f"image-{mark}", CHECKED, "check_status", exit_code(8))
        until_news(director, f"image-{mark}", HEALTH, "healthy", True)
        connected = {"type": "TCP", "tcp": {"succeeded": True}}
        until_news(director, f"server-{mark}", CHECKED, "check_status", connected)
        until_news(director, f"server-{mark}", HEALTH, "healthy", True)
    for mark in ("a", "g"):
        for name in ("number", "image", "server"):
            director.kill(f"{name}-{mark}")
            killed = director.until(f"{name}-{mark}", "TASK_KILLED", 60)
            assert "healthy" not in killed


def _tasks_with_checks(mark: str) -> list[Record]:
    port = free_port("127.0.0.1")
    server = f"exec {sys.executable} -m http.server {port} --bind 127.0.0.1"
    http = {"scheme": "http", "port": port, "path": "/"}
    # Only in the image there is a root like this.
    inside = health(type="COMMAND", command={"value": "test -d /bin -a ! -e /usr/lib"})
    up = health(type="HTTP", http=http, consecutive_failures=100000)
    connects = {"type": "TCP", "tcp": {"port": port}, **soon()}
    within = {"container": BUSYBOX, "check": command(NUMBER), "health_check": inside}
    return [
        shell(f"number-{mark}", f"echo 7 > number; {FOREVER}", check=command(NUMBER)),
        shell(f"image-{mark}", f"echo 8 > number; {FOREVER}", **within),
        shell(f"server-{mark}", server, check=connects, health_check=up),
    ]


def test_an_unhealthy_task(director: Director) -> None:
    """It is killed, in a group with all of it."""
    sick = health(type="TCP", tcp={"port": free_port("127.0.0.1")}, consecutive_failures=2)
    for grouped, mark in ((False, "a"), (True, "g")):
        task = shell(f"sick-{mark}", FOREVER, health_check=sick)
        launch(director, grouped, task, shell(f"fine-{mark}", FOREVER))
    for mark in ("a", "g"):
        killed = director.until(f"sick-{mark}", "TASK_KILLED", 60)
        assert killed["healthy"] is False
        assert killed["message"] == "Command terminated with signal Terminated"
        told = [status["healthy"] for status in news(director, f"sick-{mark}", HEALTH)]
        assert told == [False, False]
    assert director.until("fine-g", "TASK_KILLED", 60)["healthy"] is False
    director.until("fine-a", "TASK_RUNNING")
    director.kill("fine-a")
    assert "healthy" not in director.until("fine-a", "TASK_KILLED", 60)


def test_checks_outlive_the_agent(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master, isolation=ISOLATION)
    director = Director(master.address).start()
    try:
        for grouped, name in ((False, "alone"), (True, "grouped")):
            task = shell(name, f"echo 7 > number; {FOREVER}", check=command(NUMBER))
            launch(director, grouped, task)
            until_news(director, name, CHECKED, "check_status", exit_code(7))
        pod = Path(agent.sandbox("pod"))
        agent.kill()
        for folder in (Path(agent.sandbox("alone")), pod / "tasks" / "grouped"):
            (folder / "number").write_text("9")
        agent.spawn().wait_until_registered()
        for name in ("alone", "grouped"):
            until_news(director, name, CHECKED, "check_status", exit_code(9))
        # Each run takes away what the one before has left.
        [nested] = (pod / "containers").iterdir()
        eventually(lambda: len(_sessions(nested)) <= 1, 60, "old sessions to be removed")
        for name in ("alone", "grouped"):
            director.kill(name)
            director.until(name, "TASK_KILLED", 60)
    finally:
        director.close()


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
def test_checks_may_do_no_more_than_their_task(
    scene: Scene, docker_images: str, outside: bool
) -> None:
    """In an image, too, where the executor of a task alone is root: inside, or on the host if it
    reaches its agent by a Unix socket.
    """
    profiles = Path(scene.path("profiles"))
    profiles.mkdir()
    forbidden = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": [forbidden]}
    (profiles / "no-mkdir.json").write_text(json.dumps(profile))
    master = scene.master()
    scene.agent(
        master,
        isolation=f"{ISOLATION},linux/capabilities,linux/seccomp",
        image_providers="docker",
        docker_registry=docker_images,
        seccomp_config_dir=str(profiles),
        seccomp_profile_name="no-mkdir.json",
        http_executor_domain_sockets=outside,
    )
    director = Director(master.address).start()
    script = (
        "[ $(id -u) = 65534 ] || exit 1; mkdir /tmp/x 2>/dev/null && exit 2;"
        " grep -q '^CapEff:.0*$' /proc/self/status || exit 3; [ -e /usr/lib ] && exit 4; exit 42"
    )
    try:
        for grouped, name in ((False, "alone"), (True, "grouped")):
            task = shell(name, FOREVER, container=BUSYBOX, check=command(script))
            task["command"]["user"] = "nobody"
            launch(director, grouped, task)
        for name in ("alone", "grouped"):
            until_news(director, name, CHECKED, "check_status", exit_code(42))
            director.kill(name)
            director.until(name, "TASK_KILLED", 60)
    finally:
        director.close()


def _sessions(task: Path) -> list[Path]:
    folder = task / "containers"
    return list(folder.iterdir()) if folder.exists() else []
