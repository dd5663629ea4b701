# SPDX-License-Identifier: Apache-2.0
"""A pymesos framework with an executor of its own, which speaks the v1 HTTP API, too.

usage: python -m integration.frameworks.conversation scheduler MASTER [IMAGE]
       python -m integration.frameworks.conversation executor

The story: a task is launched and talked to in both directions, then killed; a second one joins the
same executor, which is told to exit with a task still running; a third one gets a new executor,
which is shut down together with the framework. With IMAGE the executor runs inside of it.

The scheduler prints one JSON document with all that it saw. Its executor writes what it is told to
its stdout.
"""

import getpass
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pymesos

_PROJECT = Path(__file__).parent.parent.parent
_GIVE_UP_S = 60.0
#: Exit code of an executor that is asked to fail.
EXIT_CODE = 3


class Talker(pymesos.Executor):  # type: ignore[misc]
    """The executor: its tasks are nothing but entries in a list."""

    def registered(self, driver: Any, executor: Any, framework: Any, agent: Any) -> None:
        """The agent took us."""
        say("registered", executor["executor_id"]["value"], os.getcwd())

    def launchTask(self, driver: Any, task: Any) -> None:  # noqa: N802
        """Start a task."""
        say("launch", task["task_id"]["value"])
        for state in ("TASK_STARTING", "TASK_RUNNING"):
            update(driver, task["task_id"], state)

    def killTask(self, driver: Any, task_id: Any) -> None:  # noqa: N802
        """End a task."""
        say("kill", task_id["value"])
        update(driver, task_id, "TASK_KILLED", "as asked")

    def frameworkMessage(self, driver: Any, message: str) -> None:  # noqa: N802
        """Answer."""
        text = pymesos.decode_data(message).decode()
        say("message", text)
        if text == "exit":
            os._exit(EXIT_CODE)
        driver.sendFrameworkMessage(pymesos.encode_data(f"you said {text}".encode()))

    def shutdown(self, driver: Any) -> None:
        """End."""
        say("shutdown")
        os._exit(0)


def update(driver: Any, task_id: Any, state: str, message: str = "") -> None:
    """Tell how a task is."""
    status = {"task_id": task_id, "state": state, "executor_id": driver.executor_id}
    driver.sendStatusUpdate(status | ({"message": message} if message else {}))


def say(*words: str) -> None:
    """Leave a line in the sandbox."""
    print(*words, flush=True)


class Director(pymesos.Scheduler):  # type: ignore[misc]
    """The scheduler; its callbacks run in the driver's thread, one at a time."""

    def __init__(self, image: str | None) -> None:
        self._image = image
        self.waiting = [("one", "first")]
        self.states: dict[str, list[str]] = {}
        self.messages: dict[str, str] = {}
        self.heard: list[str] = []
        self.lost: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.done = threading.Event()

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802
        """Launch what waits, all on the first offer."""
        for offer in offers:
            tasks = [self._task(name, executor, offer) for name, executor in self.waiting]
            self.waiting = []
            refusal = {"refuse_seconds": 0.1}
            if tasks:
                driver.launchTasks(offer["id"], tasks, refusal)
            else:
                driver.declineOffer(offer["id"], refusal)

    def statusUpdate(self, driver: Any, update: Any) -> None:  # noqa: N802
        """Go on with the story."""
        name, state = update["task_id"]["value"], update["state"]
        self.states.setdefault(name, []).append(state)
        self.messages[name] = f"{update.get('message', '')} {update.get('reason', '')}".strip()
        match name, state:
            case "one", "TASK_RUNNING":
                self._send(driver, update, "hello")
            case "one", "TASK_KILLED":
                self.waiting = [("two", "first")]
            case "two", "TASK_RUNNING":
                self._send(driver, update, "exit")
            case "three", "TASK_RUNNING":
                self.done.set()

    def frameworkMessage(  # noqa: N802
        self, driver: Any, executor_id: Any, agent_id: Any, message: str
    ) -> None:
        """The executor has answered."""
        self.heard.append(pymesos.decode_data(message).decode())
        driver.killTask({"value": "one"})

    def executorLost(  # noqa: N802
        self, driver: Any, executor_id: Any, agent_id: Any, status: int
    ) -> None:
        """The executor has ended."""
        self.lost.append((executor_id["value"], status))
        self.waiting = [("three", "second")]

    def error(self, driver: Any, message: str) -> None:
        """The framework was refused."""
        self.errors.append(message)
        self.done.set()

    def processHeartBeat(self, driver: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def _send(self, driver: Any, update: Any, text: str) -> None:
        data = pymesos.encode_data(text.encode())
        driver.sendFrameworkMessage(update["executor_id"], update["agent_id"], data)

    def _task(self, name: str, executor: str, offer: Any) -> dict[str, object]:
        return {
            "name": name,
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "resources": _resources(0.1, 32),
            "executor": self._executor(executor, offer),
        }

    def _executor(self, name: str, offer: Any) -> dict[str, object]:
        program = f"exec {sys.executable} -m {__spec__.name} executor"
        path = {"name": "PYTHONPATH", "value": str(_PROJECT)}
        made: dict[str, object] = {
            "type": "CUSTOM",
            "executor_id": {"value": name},
            "framework_id": offer["framework_id"],
            "name": "a talker",
            "source": "conversation",
            "command": {"value": program, "environment": {"variables": [path]}},
            "resources": _resources(0.1, 64),
        }
        if self._image is not None:
            image = {"type": "DOCKER", "docker": {"name": self._image}}
            made["container"] = {
                "type": "MESOS",
                "mesos": {"image": image},
                "volumes": [_mounted(path) for path in sorted(_needed())],
            }
        return made


def _needed() -> set[str]:
    """What an image without Python needs to run one."""
    folders = {str(_PROJECT), sys.prefix, sys.base_prefix, "/lib", "/lib64", "/usr/lib"}
    return {path for path in folders if os.path.isdir(path)}


def _mounted(path: str) -> dict[str, object]:
    source = {"type": "HOST_PATH", "host_path": {"path": os.path.realpath(path)}}
    return {"container_path": path, "mode": "RO", "source": source}


def _resources(cpus: float, mem: float) -> list[dict[str, object]]:
    return [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}},
    ]


def direct(master: str, image: str | None) -> int:
    """Run the scheduler; returns the exit code."""
    scheduler = Director(image)
    framework = {"user": getpass.getuser(), "name": "conversation"}
    driver = pymesos.MesosSchedulerDriver(scheduler, framework, master)
    driver.start()
    try:
        scheduler.done.wait(_GIVE_UP_S)
        # its update has to be acknowledged before the framework leaves
        time.sleep(0.5)
    finally:
        driver.stop()
        driver.join()
    report = {
        "errors": scheduler.errors,
        "states": scheduler.states,
        "messages": scheduler.messages,
        "heard": scheduler.heard,
        "lost": scheduler.lost,
    }
    print(json.dumps(report))
    return 0 if scheduler.done.is_set() and not scheduler.errors else 1


def execute() -> int:
    """Run the executor."""
    pymesos.MesosExecutorDriver(Talker()).run()
    return 0


def main() -> int:
    """Be the one or the other."""
    match sys.argv[1:]:
        case ["executor"]:
            return execute()
        case ["scheduler", master]:
            return direct(master, None)
        case ["scheduler", master, image]:
            return direct(master, image)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
