# SPDX-License-Identifier: Apache-2.0
"""A pymesos framework: fifty command tasks, some failing, some killed; each must end as it should.

usage: python -m integration.frameworks.fifty MASTER [--pause SECONDS]

Acknowledges explicitly and keeps book of every update, by its uuid. Prints one JSON document at
the end and exits with 0 only if every task went through exactly the states that it should, and no
update came again after it was acknowledged. With ``--pause`` it prints ``running`` once all tasks
that wait for a signal are up, and goes on after that time; a test may restart the master then.
"""

import argparse
import getpass
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pymesos

TASKS = 50
#: Kind → command; task number n is of kind n modulo 5.
KINDS = {
    "finishes": "true",
    "fails": "exit 3",
    "dies": "kill -KILL $$",
    "is killed": "sleep 1000",
    "waits": "while [ ! -e go ]; do sleep 0.1; done",
}
EXPECTED = {
    "finishes": "TASK_FINISHED",
    "fails": "TASK_FAILED",
    "dies": "TASK_FAILED",
    "is killed": "TASK_KILLED",
    # Its file never comes: it runs until the framework kills it, last of all.
    "waits": "TASK_KILLED",
}
TERMINAL = frozenset(
    ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_DROPPED")
)
_CPUS, _MEM_MB = 0.05, 16.0
_GIVE_UP_S = 100.0


@dataclass
class Record:
    """What happened to one task."""

    kind: str
    states: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    #: uuids of acknowledged updates.
    acknowledged: set[str] = field(default_factory=set)
    #: Updates that came again although they had been acknowledged.
    repeated: int = 0
    agent_id: Any = None

    @property
    def ended(self) -> bool:
        """Whether a terminal update came."""
        return bool(self.states) and self.states[-1] in TERMINAL

    def problem(self) -> str | None:
        """Say what is wrong with its history, None if nothing is."""
        expected = ["TASK_STARTING", "TASK_RUNNING", EXPECTED[self.kind]]
        if self.states != expected:
            return f"{self.kind}: {self.states} instead of {expected}, {self.messages}"
        if self.repeated:
            return f"{self.repeated} updates came again after their acknowledgement"
        return None


class Fifty(pymesos.Scheduler):  # type: ignore[misc]
    """The scheduler; its callbacks run in the driver's thread, one at a time."""

    def __init__(self) -> None:
        kinds = list(KINDS)
        self.tasks = {f"task-{n:02}": Record(kinds[n % len(kinds)]) for n in range(TASKS)}
        self.waiting = list(self.tasks)
        #: Set when nothing but tasks that wait is left.
        self.only_waiting = threading.Event()
        self.done = threading.Event()
        self.registrations = 0
        self.errors: list[str] = []

    def registered(self, driver: Any, framework_id: Any, master_info: Any) -> None:
        """First registration."""
        self.registrations += 1

    def reregistered(self, driver: Any, master_info: Any) -> None:
        """Registration after the master was lost."""
        self.registrations += 1

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802
        """Launch as many tasks as fit."""
        for offer in offers:
            amounts = {
                resource["name"]: resource["scalar"]["value"]
                for resource in offer["resources"]
                if resource["type"] == "SCALAR"
            }
            room = int(min(amounts.get("cpus", 0) / _CPUS, amounts.get("mem", 0) / _MEM_MB))
            launched, self.waiting = self.waiting[:room], self.waiting[room:]
            if launched:
                tasks = [self._task(task_id, offer["agent_id"]) for task_id in launched]
                driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 0.1})
            else:
                driver.declineOffer(offer["id"], {"refuse_seconds": 1.0})
        if not self.waiting:
            driver.suppressOffers()

    def statusUpdate(self, driver: Any, update: Any) -> None:  # noqa: N802
        """Keep book, kill what is to be killed, acknowledge."""
        task_id, state = update["task_id"]["value"], update["state"]
        record = self.tasks[task_id]
        uuid = update.get("uuid")
        if uuid is None:
            # Made by the master, not by an agent: nothing to acknowledge.
            self.errors.append(f"{task_id}: {state} without uuid, {update.get('message')}")
            return
        if uuid in record.acknowledged:
            record.repeated += 1
        elif not record.states or record.states[-1] != state:
            record.states.append(state)
            record.messages.append(update.get("message", ""))
        record.agent_id = update["agent_id"]
        driver.acknowledgeStatusUpdate(update)
        record.acknowledged.add(uuid)
        if state == "TASK_RUNNING" and record.kind == "is killed":
            driver.killTask(update["task_id"])
        self._look_around()

    def error(self, driver: Any, message: str) -> None:
        """The framework was refused."""
        self.errors.append(message)
        self.done.set()
        self.only_waiting.set()

    def processHeartBeat(self, driver: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def _look_around(self) -> None:
        others = [r for r in self.tasks.values() if r.kind != "waits"]
        waiting = [r for r in self.tasks.values() if r.kind == "waits"]
        if all(r.ended for r in others) and all(
            r.ended or "TASK_RUNNING" in r.states for r in waiting
        ):
            self.only_waiting.set()
        if all(r.ended for r in self.tasks.values()):
            self.done.set()

    def _task(self, task_id: str, agent_id: Mapping[str, str]) -> dict[str, object]:
        return {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": agent_id,
            "command": {"value": KINDS[self.tasks[task_id].kind]},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": _CPUS}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": _MEM_MB}},
            ],
        }


def kill_waiting(driver: Any, scheduler: Fifty, deadline: float) -> None:
    """Kill the tasks that wait, again and again: a kill may meet no master or no agent."""
    while not scheduler.done.is_set() and time.monotonic() < deadline:
        for task_id, record in scheduler.tasks.items():
            if record.kind == "waits" and not record.ended:
                driver.killTask({"value": task_id})
        scheduler.done.wait(2.0)


def main() -> int:
    """Run the framework; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fifty command tasks, each with its own end.")
    parser.add_argument("master", help="host:port")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS")
    options = parser.parse_args()
    scheduler = Fifty()
    framework = {"user": getpass.getuser(), "name": "fifty", "failover_timeout": 60.0}
    driver = pymesos.MesosSchedulerDriver(
        scheduler, framework, options.master, implicit_acknowledgements=False
    )
    deadline = time.monotonic() + _GIVE_UP_S + options.pause
    driver.start()
    try:
        scheduler.only_waiting.wait(_GIVE_UP_S)
        print("running", flush=True)
        time.sleep(options.pause)
        kill_waiting(driver, scheduler, deadline)
    finally:
        driver.stop()
        driver.join()
    problems = {
        task_id: problem
        for task_id, record in scheduler.tasks.items()
        if (problem := record.problem()) is not None
    }
    report = {
        "registrations": scheduler.registrations,
        "errors": scheduler.errors,
        "problems": problems,
        "states": {task_id: record.states for task_id, record in scheduler.tasks.items()},
    }
    print(json.dumps(report))
    return 1 if problems or scheduler.errors or not scheduler.done.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
