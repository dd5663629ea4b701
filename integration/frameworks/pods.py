# SPDX-License-Identifier: Apache-2.0
"""A pymesos framework that runs task groups (pods) on the default executor.

usage: python -m integration.frameworks.pods MASTER

The story: a group of two goes on until it is killed. A second one joins the same executor; one of
its tasks finishes, which disturbs nobody. Then one task of the first group is killed, which takes
the other one along but not what is left of the second group; that is killed last, and the executor
ends by itself.

Prints one JSON document with all that the framework saw.
"""

import getpass
import json
import os
import sys
import threading
from typing import Any

import pymesos

_GIVE_UP_S = 120.0
_FOREVER = "sleep 100000"
#: Groups of tasks with their commands.
GROUPS = ({"web": _FOREVER, "log": _FOREVER}, {"job": "exit 0", "calm": _FOREVER})


class PodDirector(pymesos.Scheduler):  # type: ignore[misc]
    """The scheduler; its callbacks run in the driver's thread, one at a time."""

    def __init__(self) -> None:
        self.waiting = [GROUPS[0]]
        self.states: dict[str, list[str]] = {}
        #: When the first group was killed: what the others did.
        self.meanwhile: dict[str, str] = {}
        self.lost: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.done = threading.Event()

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802
        """Launch what waits, all on the first offer."""
        for offer in offers:
            operations = [_launch(group, offer) for group in self.waiting]
            self.waiting = []
            driver.acceptOffers(offer["id"], operations, {"refuse_seconds": 0.1})

    def statusUpdate(self, driver: Any, status: Any) -> None:  # noqa: N802
        """Go on with the story."""
        name, state = status["task_id"]["value"], status["state"]
        self.states.setdefault(name, []).append(state)
        if state == "TASK_RUNNING" and name in GROUPS[0] and self._last("web", "log") == {state}:
            self.waiting = [GROUPS[1]]
        if name in GROUPS[1] and (self._last("job"), self._last("calm")) == (
            {"TASK_FINISHED"},
            {"TASK_RUNNING"},
        ):
            driver.killTask({"value": "web"})
        if name in GROUPS[0] and self._last("web", "log") == {"TASK_KILLED"}:
            self.meanwhile = {name: states[-1] for name, states in self.states.items()}
            driver.killTask({"value": "calm"})

    def executorLost(  # noqa: N802
        self, driver: Any, executor_id: Any, agent_id: Any, status: int
    ) -> None:
        """The executor has ended."""
        self.lost.append((executor_id["value"], status))
        self.done.set()

    def error(self, driver: Any, message: str) -> None:
        """The framework was refused."""
        self.errors.append(message)
        self.done.set()

    def processHeartBeat(self, driver: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def _last(self, *names: str) -> set[str]:
        return {self.states.get(name, [""])[-1] for name in names}


def _launch(group: dict[str, str], offer: Any) -> dict[str, object]:
    tasks = [
        {
            "name": name,
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "resources": _resources(),
            "command": {"value": command},
        }
        for name, command in group.items()
    ]
    executor = {
        "type": "DEFAULT",
        "executor_id": {"value": "pod"},
        "framework_id": offer["framework_id"],
        "resources": _resources(),
    }
    launch = {"executor": executor, "task_group": {"tasks": tasks}}
    return {"type": "LAUNCH_GROUP", "launch_group": launch}


def _resources() -> list[dict[str, object]]:
    amounts = {"cpus": 0.1, "mem": 32.0, "disk": 32.0}
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in amounts.items()
    ]


def main(arguments: list[str]) -> int:
    """Play the story; returns the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return os.EX_USAGE
    scheduler = PodDirector()
    framework = {"user": getpass.getuser(), "name": "pods"}
    driver = pymesos.MesosSchedulerDriver(scheduler, framework, arguments[0])
    driver.start()
    try:
        scheduler.done.wait(_GIVE_UP_S)
    finally:
        driver.stop()
        driver.join()
    seen = ("states", "meanwhile", "lost", "errors")
    print(json.dumps({name: getattr(scheduler, name) for name in seen}))
    return 0 if scheduler.lost and not scheduler.errors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
