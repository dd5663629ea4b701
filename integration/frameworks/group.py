# SPDX-License-Identifier: Apache-2.0
"""A pymesos framework whose executor takes task groups.

usage: python -m integration.frameworks.group scheduler MASTER
       python -m integration.frameworks.group executor

The story: a group of two is launched; one of the two is killed, and the other does not care. A
second group joins the same executor. Then the executor ends by itself, which fails all tasks that
are left.

The scheduler prints one JSON document with all that it saw. Its executor writes what it is told to
its stdout.
"""

import getpass
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pymesos

from integration.frameworks.conversation import Talker, say, update

_PROJECT = Path(__file__).parent.parent.parent
_GIVE_UP_S = 60.0
_GROUPS = (("one", "two"), ("three", "four"))


class Crowd(Talker):
    """The executor: its tasks are nothing but entries in a list."""

    def launchTaskGroup(self, driver: Any, tasks: Any) -> None:  # noqa: N802
        """Start some tasks."""
        say("group", *(task["task_id"]["value"] for task in tasks))
        for task in tasks:
            for state in ("TASK_STARTING", "TASK_RUNNING"):
                update(driver, task["task_id"], state)


class Director(pymesos.Scheduler):  # type: ignore[misc]
    """The scheduler; its callbacks run in the driver's thread, one at a time."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, ...]] = [_GROUPS[0]]
        self.states: dict[str, list[str]] = {}
        self.lost: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.done = threading.Event()

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802
        """Launch what waits, all on the first offer."""
        for offer in offers:
            operations = [self._launch(names, offer) for names in self.waiting]
            self.waiting = []
            driver.acceptOffers(offer["id"], operations, {"refuse_seconds": 0.1})

    def statusUpdate(self, driver: Any, status: Any) -> None:  # noqa: N802
        """Go on with the story."""
        name, state = status["task_id"]["value"], status["state"]
        self.states.setdefault(name, []).append(state)
        if state == "TASK_RUNNING":
            if self._are_running(_GROUPS[0]) and name in _GROUPS[0]:
                driver.killTask({"value": "one"})
            if self._are_running(_GROUPS[1]):
                data = pymesos.encode_data(b"exit")
                driver.sendFrameworkMessage(status["executor_id"], status["agent_id"], data)
        if (name, state) == ("one", "TASK_KILLED"):
            self.waiting = [_GROUPS[1]]
        self._end()

    def executorLost(  # noqa: N802
        self, driver: Any, executor_id: Any, agent_id: Any, status: int
    ) -> None:
        """The executor has ended."""
        self.lost.append((executor_id["value"], status))
        self._end()

    def error(self, driver: Any, message: str) -> None:
        """The framework was refused."""
        self.errors.append(message)
        self.done.set()

    def processHeartBeat(self, driver: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def _are_running(self, names: tuple[str, ...]) -> bool:
        return all("TASK_RUNNING" in self.states.get(name, ()) for name in names)

    def _end(self) -> None:
        failed = [name for name, states in self.states.items() if states[-1] == "TASK_FAILED"]
        if len(failed) == 3 and self.lost:
            self.done.set()

    def _launch(self, names: tuple[str, ...], offer: Any) -> dict[str, object]:
        tasks = [
            {
                "name": name,
                "task_id": {"value": name},
                "agent_id": offer["agent_id"],
                "resources": _resources(),
                "command": {"value": "nobody runs this"},
            }
            for name in names
        ]
        path = {"name": "PYTHONPATH", "value": str(_PROJECT)}
        program = f"exec {sys.executable} -m {__spec__.name} executor"
        executor = {
            "type": "CUSTOM",
            "executor_id": {"value": "crowd"},
            "framework_id": offer["framework_id"],
            "command": {"value": program, "environment": {"variables": [path]}},
            "resources": _resources(),
        }
        group = {"executor": executor, "task_group": {"tasks": tasks}}
        return {"type": "LAUNCH_GROUP", "launch_group": group}


def _resources() -> list[dict[str, object]]:
    amounts = {"cpus": 0.1, "mem": 32.0, "disk": 32.0}
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in amounts.items()
    ]


def direct(master: str) -> int:
    """Run the scheduler; returns the exit code."""
    scheduler = Director()
    framework = {"user": getpass.getuser(), "name": "group"}
    driver = pymesos.MesosSchedulerDriver(scheduler, framework, master)
    driver.start()
    try:
        scheduler.done.wait(_GIVE_UP_S)
    finally:
        driver.stop()
        driver.join()
    report = {"errors": scheduler.errors, "states": scheduler.states, "lost": scheduler.lost}
    print(json.dumps(report))
    return 0 if scheduler.done.is_set() and not scheduler.errors else 1


def main() -> int:
    """Be the one or the other."""
    match sys.argv[1:]:
        case ["executor"]:
            pymesos.MesosExecutorDriver(Crowd()).run()
            return 0
        case ["scheduler", master]:
            return direct(master)
    print(__doc__, file=sys.stderr)
    return os.EX_USAGE


if __name__ == "__main__":
    sys.exit(main())
