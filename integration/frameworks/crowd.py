# SPDX-License-Identifier: Apache-2.0
"""A pymesos framework that keeps many short tasks going until it is told to stop.

usage: python -m integration.frameworks.crowd MASTER [--style S] [--seed N] [--flock N]

Tasks end well, end badly, die, or run until they are killed. Who is quiet for long is reconciled.
Told ``stop`` on stdin it launches no more, kills what runs, and prints one JSON document with all
updates as soon as every task has ended, or when it is told once more. Then it waits for the end
of stdin and leaves. Of the styles, ``new`` is partition-aware, ``old`` is not, and ``group`` is and
launches task groups on default executors, of which it names a few again and again.
"""

import argparse
import contextlib
import getpass
import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pymesos

from integration.frameworks.director import TERMINAL

#: Kind → command, and how it ends if nobody interferes.
KINDS = {
    "finishes": ("true", "TASK_FINISHED"),
    "works": ("sleep {seconds}", "TASK_FINISHED"),
    "fails": ("sleep {seconds}; exit 3", "TASK_FAILED"),
    "dies": ("kill -KILL $$", "TASK_FAILED"),
    "is killed": ("sleep 1000", "TASK_KILLED"),
}
#: How a framework launches, and what it can.
STYLES = {"new": ["PARTITION_AWARE"], "old": [], "group": ["PARTITION_AWARE"]}
#: Of a task, and of a default executor.
_CPUS, _MEM_MB = 0.05, 16.0
_EXECUTOR_MEM_MB = 32.0
#: Default executors that groups are given to, and most tasks of a group.
_EXECUTORS = 5
_GROUP = 3
#: Seconds without an update after which a task is asked for, between two such questions, between
#: two kills of one task.
_QUIET_S = 6.0
_RECONCILE_S = 3.0
_KILL_AGAIN_S = 3.0
_TICK_S = 0.25
#: Names of one reason, older and newer.
_IS_BACK = frozenset(("REASON_SLAVE_REREGISTERED", "REASON_AGENT_REREGISTERED"))
#: Times that a master is asked in the end for tasks that run although they were given up.
_LAST_QUESTIONS = 2


@dataclass
class Update:
    """What came about a task."""

    state: str
    source: str
    reason: str
    message: str
    #: Seconds since the start.
    at_s: float

    @property
    def final(self) -> bool:
        """Whether the task has ended for good.

        Who is not partition-aware is told TASK_LOST when an agent is unreachable; it may come back
        with the task (spec ``agent-master`` 6.9, 7.1). What a master says of a task that it does
        not know, on an agent that is there, is final: TASK_GONE or TASK_LOST, from masters before
        1.5 TASK_UNKNOWN.
        """
        if self.foretold:
            return False
        if self.source == "SOURCE_MASTER":
            if self.message.endswith("unknown to the agent"):
                return True
            return self.state in TERMINAL - {"TASK_LOST"}
        return self.state in TERMINAL

    @property
    def foretold(self) -> bool:
        """Whether updates of the agent are to follow, which end in this state if it is terminal.

        When an agent is there again its master tells the newest state that it has of each task
        (6.3), then and when it is asked; the agent sends all that was not acknowledged after that
        (11.2).
        """
        asked = self.message.endswith("Latest task state")
        return self.source == "SOURCE_MASTER" and (asked or self.reason in _IS_BACK)


@dataclass
class Story:
    """All of one task."""

    kind: str
    #: When it was launched, and when it is to be killed.
    launched_s: float
    kill_s: float | None
    updates: list[Update] = field(default_factory=list)
    agent_id: Any = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected of it: it has ended, or was given up."""
        if any(update.final for update in self.updates):
            return True
        return bool(self.updates) and self.updates[-1].state in TERMINAL

    @property
    def last_s(self) -> float:
        """When it was heard of; that nobody knows it is no news."""
        known = [update.at_s for update in self.updates if update.state != "TASK_UNKNOWN"]
        return known[-1] if known else self.launched_s


class Crowd(pymesos.Scheduler):  # type: ignore[misc]
    """The scheduler; its callbacks run in the driver's thread, one at a time."""

    def __init__(self, style: str, seed: int, flock: int) -> None:
        self._style = style
        self._random = random.Random(seed)
        self._flock = flock
        self._start = time.monotonic()
        self.lock = threading.Lock()
        self.stories: dict[str, Story] = {}
        self.stopping = False
        #: How often a master was asked for all tasks.
        self.questions = 0
        self.registrations = 0
        self.errors: list[str] = []

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def unfinished(self) -> dict[str, Story]:
        """Tasks that have not ended."""
        with self.lock:
            return {name: story for name, story in self.stories.items() if not story.ended}

    def registered(self, driver: Any, framework_id: Any, master_info: Any) -> None:
        """First registration."""
        self.registrations += 1

    def reregistered(self, driver: Any, master_info: Any) -> None:
        """Registration after the master was lost."""
        self.registrations += 1

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802
        """Launch some if there are too few."""
        for offer in offers:
            tasks = [] if self.stopping else list(self._tasks(offer))
            with _unlucky():
                if not tasks:
                    driver.declineOffer(offer["id"], {"refuse_seconds": 0.5})
                elif self._style == "group":
                    groups = list(self._groups(offer, tasks))
                    driver.acceptOffers(offer["id"], groups, {"refuse_seconds": 0.2})
                else:
                    driver.launchTasks(offer["id"], tasks, {"refuse_seconds": 0.2})

    def statusUpdate(self, driver: Any, update: Any) -> None:  # noqa: N802
        """Keep book, acknowledge."""
        with self.lock:
            story = self.stories[update["task_id"]["value"]]
            story.updates.append(
                Update(
                    update["state"],
                    update.get("source", ""),
                    update.get("reason", ""),
                    update.get("message", ""),
                    round(self.now(), 3),
                )
            )
            story.agent_id = update.get("agent_id", story.agent_id)
        if update.get("uuid"):
            with _unlucky():
                driver.acknowledgeStatusUpdate(update)

    def error(self, driver: Any, message: str) -> None:
        """The framework was refused."""
        self.errors.append(message)

    def processHeartBeat(self, driver: Any) -> None:  # noqa: N802
        """Nothing to do."""

    def tick(self, driver: Any) -> None:
        """Kill whose time has come, ask for those who are quiet."""
        now = self.now()
        quiet = []
        for name, story in self.unfinished().items():
            due = now if self.stopping and story.kill_s is None else story.kill_s
            if due is not None and due <= now:
                story.kill_s = now + _KILL_AGAIN_S
                with _unlucky():
                    driver.killTask({"value": name})
            if now - max(story.last_s, story.launched_s) > _QUIET_S:
                quiet.append((name, story))
        if self.stopping and now - self._asked_all_s > _RECONCILE_S:
            # Old masters do not tell that they have a task again that they had called lost.
            self._asked_all_s = now
            call = {"type": "RECONCILE", "framework_id": {"value": driver.framework_id}}
            with _unlucky():
                driver._send(call | {"reconcile": {}})
                self.questions += 1
        if quiet and now - self._asked_s > _RECONCILE_S:
            self._asked_s = now
            statuses = [
                {"task_id": {"value": name}}
                | ({"agent_id": story.agent_id} if story.agent_id else {})
                for name, story in quiet
            ]
            # Not by the driver's own method, which leaves out the agent: about a task that neither
            # of them knows the master then says nothing final.
            call = {"type": "RECONCILE", "framework_id": {"value": driver.framework_id}}
            with _unlucky():
                driver._send(call | {"reconcile": {"tasks": statuses}})

    _asked_s = 0.0
    _asked_all_s = 0.0

    def report(self) -> dict[str, Any]:
        """Return all that is known."""
        with self.lock:
            stories = dict(self.stories)
        return {
            "registrations": self.registrations,
            "errors": self.errors,
            "tasks": {
                name: {
                    "kind": story.kind,
                    "launched_s": round(story.launched_s, 3),
                    "updates": [vars(update) for update in story.updates],
                }
                for name, story in stories.items()
            },
        }

    def _tasks(self, offer: Any) -> Iterator[dict[str, object]]:
        amounts = {
            resource["name"]: resource["scalar"]["value"]
            for resource in offer["resources"]
            if resource["type"] == "SCALAR"
        }
        # Each task of a group may have an executor of its own.
        cpus, mem_mb = _CPUS, _MEM_MB
        if self._style == "group":
            cpus, mem_mb = 2 * cpus, mem_mb + _EXECUTOR_MEM_MB
        room = int(min(amounts.get("cpus", 0) / cpus, amounts.get("mem", 0) / mem_mb))
        room = min(room, self._flock - len(self.unfinished()))
        for _ in range(max(0, room)):
            kind = self._random.choice(list(KINDS))
            seconds = round(self._random.uniform(0.2, 6.0), 2)
            name = f"{self._style}-{len(self.stories):05}"
            now = self.now()
            kill_s = now + seconds if kind == "is killed" else None
            with self.lock:
                self.stories[name] = Story(kind, now, kill_s, agent_id=offer["agent_id"])
            yield {
                "name": name,
                "task_id": {"value": name},
                "agent_id": offer["agent_id"],
                "command": {"value": KINDS[kind][0].format(seconds=seconds)},
                "resources": _resources(_CPUS, _MEM_MB),
            }

    def _groups(self, offer: Any, tasks: list[dict[str, object]]) -> Iterator[dict[str, object]]:
        while tasks:
            size = self._random.randint(1, _GROUP)
            group, tasks = tasks[:size], tasks[size:]
            executor = {
                "type": "DEFAULT",
                "executor_id": {"value": f"executor-{self._random.randrange(_EXECUTORS)}"},
                "framework_id": offer["framework_id"],
                "resources": _resources(_CPUS, _EXECUTOR_MEM_MB),
            }
            yield {
                "type": "LAUNCH_GROUP",
                "launch_group": {"executor": executor, "task_group": {"tasks": group}},
            }


def _resources(cpus: float, mem_mb: float) -> list[dict[str, object]]:
    # Masters want so much of each executor.
    amounts = {"cpus": cpus, "mem": mem_mb, "disk": 32.0}
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in amounts.items()
    ]


@contextlib.contextmanager
def _unlucky() -> Iterator[None]:
    """A call that meets no master is lost, and the driver ends with an exception of a callback."""
    try:
        yield
    except Exception as error:  # pymesos raises what its HTTP connection does, and RuntimeError
        print(f"lost call: {error!r}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the framework; returns the exit code."""
    parser = argparse.ArgumentParser(description="Many short tasks.")
    parser.add_argument("master", help="host:port")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flock", type=int, default=10, help="tasks at a time")
    parser.add_argument("--style", choices=STYLES, default="new")
    options = parser.parse_args()
    crowd = Crowd(options.style, options.seed, options.flock)
    framework = {
        "user": getpass.getuser(),
        "name": "crowd",
        "failover_timeout": 3600.0,
        "checkpoint": True,
        "capabilities": [{"type": name} for name in STYLES[options.style]],
    }
    driver = pymesos.MesosSchedulerDriver(
        crowd, framework, options.master, failover=True, implicit_acknowledgements=False
    )
    told = threading.Event()
    pressed = threading.Event()
    left = threading.Event()

    def listen() -> None:
        for _ in sys.stdin:
            (pressed if told.is_set() else told).set()
        left.set()

    threading.Thread(target=listen, daemon=True).start()
    driver.start()
    try:
        while not left.is_set():
            # The driver ends if it meets a master that has not opened its endpoints yet.
            with _unlucky():
                if driver.aborted:
                    driver.start()
                crowd.stopping = told.is_set()
                crowd.tick(driver)
                quiet = not crowd.unfinished() and crowd.questions > _LAST_QUESTIONS
                if crowd.stopping and (pressed.is_set() or quiet):
                    break
                time.sleep(_TICK_S)
        print(json.dumps(crowd.report()), flush=True)
        left.wait()
    finally:
        driver.stop()
        driver.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
