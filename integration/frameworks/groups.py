# SPDX-License-Identifier: Apache-2.0
"""What pymesos frameworks that run task groups have in common."""

import getpass
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pymesos


class GroupDirector(pymesos.Scheduler):  # type: ignore[misc]
    """A scheduler that launches groups on the first offer and writes down what it is told.

    A group are tasks with their commands; ``executor`` is what all of them run on, without its ids
    and resources. Callbacks run in the driver's thread, one at a time.
    """

    def __init__(
        self, first: Mapping[str, str], executor_id: str, executor: dict[str, Any]
    ) -> None:
        self.waiting = [first]
        self.states: dict[str, list[str]] = {}
        self.lost: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.done = threading.Event()
        self._executor = {"executor_id": {"value": executor_id}, "resources": _resources()}
        self._executor |= executor

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802
        """Launch what waits, all on the first offer."""
        for offer in offers:
            operations = [self._launch(group, offer) for group in self.waiting]
            self.waiting = []
            driver.acceptOffers(offer["id"], operations, {"refuse_seconds": 0.1})

    def executorLost(  # noqa: N802
        self, driver: Any, executor_id: Any, agent_id: Any, status: int
    ) -> None:
        """The executor has ended."""
        self.lost.append((executor_id["value"], status))
        self.executor_gone()

    def executor_gone(self) -> None:
        """The story ends with its executor, unless it goes on."""
        self.done.set()

    def error(self, driver: Any, message: str) -> None:
        """The framework was refused."""
        self.errors.append(message)
        self.done.set()

    def processHeartBeat(self, driver: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def _launch(self, group: Mapping[str, str], offer: Any) -> dict[str, object]:
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
        executor = {"framework_id": offer["framework_id"], **self._executor}
        launch = {"executor": executor, "task_group": {"tasks": tasks}}
        return {"type": "LAUNCH_GROUP", "launch_group": launch}


def play(
    scheduler: GroupDirector, name: str, master: str, give_up_s: float, seen: Sequence[str]
) -> None:
    """Run the scheduler until it is done; print what it has ``seen``, by attribute."""
    framework = {"user": getpass.getuser(), "name": name}
    driver = pymesos.MesosSchedulerDriver(scheduler, framework, master)
    driver.start()
    try:
        scheduler.done.wait(give_up_s)
    finally:
        driver.stop()
        driver.join()
    print(json.dumps({name: getattr(scheduler, name) for name in seen}))


def _resources() -> list[dict[str, object]]:
    amounts = {"cpus": 0.1, "mem": 32.0, "disk": 32.0}
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in amounts.items()
    ]
