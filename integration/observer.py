# SPDX-License-Identifier: Apache-2.0
"""The master as judge: its operator events are recorded, its state, counters and log are asked."""

import re
import threading
from collections.abc import Iterable
from typing import Any

from integration.frameworks.director import TERMINAL
from integration.master import RealMaster
from integration.processes import eventually, get_json, post_json
from integration.subscription import Record, Subscription

#: Lines of a master that found something that must not be.
_ABORT = re.compile(r"^(F\d{4} .*|\*\*\* (Aborted|SIG\w+) .*|.*Check failed.*)$", re.MULTILINE)
#: Of terminal states only these come from the master about tasks that may come back.
_GIVEN_UP = frozenset(("TASK_LOST", "TASK_UNREACHABLE"))
#: An agent that comes back sends what is not acknowledged at once, and again with each framework
#: that the master tells it of (spec ``agent-master`` 9.4): all but the first find the task gone.
_CAME_BACK = re.compile(r"re-?regist\w+ agent", re.IGNORECASE)
#: Counters of messages that the master could do nothing with.
_INVALID = (
    "master/invalid_executor_to_framework_messages",
    "master/invalid_operation_status_updates",
)
_INVALID_UPDATES = "master/invalid_status_updates"


class Observer:
    """What one master, over all its starts, has seen."""

    def __init__(self, master: RealMaster) -> None:
        self.master = master
        #: Operator events, of all starts, without heartbeats.
        self.events: list[Record] = []
        self._lock = threading.Lock()
        self._subscription = Subscription(
            master.address, "/api/v1", lambda: {"type": "SUBSCRIBE"}, self._take
        )

    def start(self) -> "Observer":
        """Subscribe and wait for the first record."""
        self._subscription.start()
        eventually(lambda: self.of("SUBSCRIBED"), 60, "the operator event stream")
        return self

    def close(self) -> None:
        """Hang up."""
        self._subscription.close()

    def of(self, kind: str) -> list[Record]:
        """Events of one type, in order; their content only."""
        with self._lock:
            found = [event for event in self.events if event["type"] == kind]
        return [event.get(kind.lower(), {}) for event in found]

    def states(self, task_id: str) -> list[str]:
        """States of a task by the master's updates, repetitions of one left out."""
        found: list[str] = []
        for event in self.of("TASK_UPDATED"):
            if event["status"]["task_id"]["value"] == task_id:
                state = event["state"]
                if not found or found[-1] != state:
                    found.append(state)
        return found

    def metrics(self) -> dict[str, float]:
        """Return /metrics/snapshot."""
        found = get_json(self.master.address, "/metrics/snapshot")
        assert isinstance(found, dict), self.master.tail()
        return found

    def counters(self, *names: str) -> dict[str, float]:
        """Return the named counters, ``master/`` in front of them left out."""
        found = self.metrics()
        return {name: found[f"master/{name}"] for name in names}

    def agents(self) -> list[Record]:
        """Return GET_AGENTS."""
        answer = post_json(self.master.address, "/api/v1", {"type": "GET_AGENTS"})
        agents: list[Record] = answer["get_agents"].get("agents", [])
        return agents

    def tasks(self) -> dict[str, Record]:
        """Return task id → task of the running frameworks, as /state has it."""
        return {task["id"]: task for task in _tasks(self.master.state(), "frameworks")}

    def wait_for_agent(self, **wanted: object) -> Record:
        """Wait until the only agent of /state has these values; returns it."""
        seen: list[Record] = []

        def probe() -> bool:
            seen[:] = self.master.state()["slaves"]
            return len(seen) == 1 and all(seen[0].get(k) == v for k, v in wanted.items())

        try:
            eventually(probe, 60, f"an agent with {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}, there is {seen}") from None
        return seen[0]

    def judge(self, *, idle: bool = True) -> None:
        """Fail unless all that the master saw is as it may be.

        With ``idle`` nothing runs any more: no task, no executor, all resources free.
        """
        assert self.master.running, f"the master ended\n{self.master.tail()}"
        log = self.master.log_text()
        aborts = [match.group() for match in _ABORT.finditer(log)]
        assert not aborts, "\n".join(aborts)
        metrics = self.metrics()
        strict = _INVALID if _CAME_BACK.search(log) else (*_INVALID, _INVALID_UPDATES)
        invalid = {name: metrics[name] for name in strict if metrics.get(name)}
        assert not invalid, f"{invalid}\n{self.master.tail()}"
        for task_id in self._task_ids():
            states = self.states(task_id)
            ends = [state for state in states if state in TERMINAL - _GIVEN_UP]
            assert len(ends) <= 1, f"{task_id} ended more than once: {states}"
            if ends:
                assert states[-1] == ends[0], f"{task_id} goes on after its end: {states}"
        if idle:
            eventually(lambda: not self._unfinished(), 60, "the master to see nothing run")
            eventually(lambda: not self._used(), 60, "the master to have all resources free")

    def _unfinished(self) -> list[str]:
        """Tasks and executors of the master that still run, or whose end nobody acknowledged."""
        answer = post_json(self.master.address, "/api/v1", {"type": "GET_EXECUTORS"})
        executors = answer["get_executors"].get("executors", [])
        return [task["id"] for task in _tasks(self.master.state(), "frameworks", "tasks")] + [
            executor["executor_info"]["executor_id"]["value"] for executor in executors
        ]

    def _used(self) -> dict[str, Any]:
        agents = self.master.state()["slaves"]
        return {agent["id"]: agent["used_resources"] for agent in agents if _amounts(agent)}

    def _task_ids(self) -> Iterable[str]:
        return {event["status"]["task_id"]["value"] for event in self.of("TASK_UPDATED")}

    def _take(self, event: Record) -> None:
        if event["type"] != "HEARTBEAT":
            with self._lock:
                self.events.append(event)


def _tasks(state: Record, frameworks: str, *keys: str) -> Iterable[Record]:
    for framework in state[frameworks]:
        for key in keys or ("tasks", "completed_tasks", "unreachable_tasks"):
            yield from framework.get(key, ())


def _amounts(agent: Record) -> dict[str, float]:
    used = agent["used_resources"]
    return {name: value for name, value in used.items() if value not in (0, 0.0, "")}
