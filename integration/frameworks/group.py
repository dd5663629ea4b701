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

import os
import sys
from pathlib import Path
from typing import Any

import pymesos

from integration.frameworks.conversation import Talker, say, update
from integration.frameworks.groups import GroupDirector, play

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


class Director(GroupDirector):
    """The scheduler."""

    def __init__(self) -> None:
        path = {"name": "PYTHONPATH", "value": str(_PROJECT)}
        program = f"exec {sys.executable} -m {__spec__.name} executor"
        command = {"value": program, "environment": {"variables": [path]}}
        super().__init__(_group(0), "crowd", {"type": "CUSTOM", "command": command})

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
            self.waiting = [_group(1)]
        self._end()

    def executor_gone(self) -> None:
        """All other tasks have to fail."""
        self._end()

    def _are_running(self, names: tuple[str, ...]) -> bool:
        return all("TASK_RUNNING" in self.states.get(name, ()) for name in names)

    def _end(self) -> None:
        failed = [name for name, states in self.states.items() if states[-1] == "TASK_FAILED"]
        if len(failed) == 3 and self.lost:
            self.done.set()


def _group(number: int) -> dict[str, str]:
    return dict.fromkeys(_GROUPS[number], "nobody runs this")


def direct(master: str) -> int:
    """Run the scheduler; returns the exit code."""
    scheduler = Director()
    play(scheduler, "group", master, _GIVE_UP_S, ("errors", "states", "lost"))
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
