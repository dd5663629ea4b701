# SPDX-License-Identifier: Apache-2.0
"""A framework that a test directs: the v1 scheduler API in plain JSON, without any code of ours."""

import contextlib
import getpass
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integration.subscription import Record, Subscription, post

PATH = "/api/v1/scheduler"
TERMINAL = frozenset(
    (
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_LOST",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
    )
)
#: What frameworks of today ask for.
MODERN = ("PARTITION_AWARE", "TASK_KILLING_STATE", "MULTI_ROLE", "RESERVATION_REFINEMENT")
OLD = ("RESERVATION_REFINEMENT", "MULTI_ROLE")


def scalar(name: str, value: float, **fields: Any) -> Record:
    """A resource."""
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **fields}


def needs(cpus: float = 0.1, mem: float = 32, role: str = "*") -> list[Record]:
    """Resources of one task, allocated to ``role``."""
    allocated = {"allocation_info": {"role": role}}
    return [scalar("cpus", cpus, **allocated), scalar("mem", mem, **allocated)]


def shell(task_id: str, script: str, **fields: Any) -> Record:
    """A task of the command executor."""
    return {
        "name": task_id,
        "task_id": {"value": task_id},
        "resources": needs(),
        "command": {"value": script},
        **fields,
    }


def _have_room(offered: Sequence[Record], needed: Sequence[Record]) -> bool:
    return all(_sum(offered, name) > _sum(needed, name) - 1e-6 for name in ("cpus", "mem", "disk"))


def _sum(resources: Sequence[Record], name: str) -> float:
    return float(sum(r["scalar"]["value"] for r in resources if r["name"] == name))


class Director:
    """One framework; acknowledges every update unless told otherwise."""

    def __init__(
        self,
        master: str,
        *,
        capabilities: Sequence[str] = MODERN,
        roles: Sequence[str] = ("*",),
        checkpoint: bool = True,
        failover_timeout_s: float = 3600.0,
        framework_id: str | None = None,
        acknowledging: bool = True,
    ) -> None:
        self.master = master
        self.framework_id = framework_id
        self.acknowledging = acknowledging
        self.info: Record = {
            "user": getpass.getuser(),
            "name": "conformance",
            "roles": list(roles),
            "checkpoint": checkpoint,
            "failover_timeout": failover_timeout_s,
            "capabilities": [{"type": name} for name in capabilities],
        }
        #: In order of arrival, whatever the type.
        self.events: list[Record] = []
        #: Task id → its statuses in order of arrival.
        self.statuses: dict[str, list[Record]] = {}
        self.operations: dict[str, list[Record]] = {}
        self.offers: dict[str, Record] = {}
        self.subscriptions = 0
        self._stream_id = ""
        self._changed = threading.Condition()
        self._subscription = Subscription(master, PATH, self._subscribe, self._take, self._began)

    def start(self) -> "Director":
        """Subscribe and wait until the master has taken us."""
        self._subscription.start()
        self.wait(lambda: self.subscriptions > 0, "the framework to be subscribed")
        return self

    def close(self) -> None:
        """Hang up without a word."""
        self._subscription.close()

    def wait(self, probe: Callable[[], Any], subject: str, timeout_s: float = 60.0) -> Any:
        """Return the first true answer of ``probe``, which is asked after each event."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (answer := probe()):
                left = deadline - time.monotonic()
                errors = [event for event in self.events if event["type"] == "ERROR"]
                assert not errors, errors
                assert left > 0, f"waited {timeout_s} s for {subject}\n{self.describe()}"
                self._changed.wait(min(left, 1.0))
            return answer

    def describe(self) -> str:
        """What came, for messages."""
        lines = [
            f"{task_id}: "
            + " → ".join(f"{s['state']} {s.get('reason', '')} {s.get('message', '')}" for s in all_)
            for task_id, all_ in self.statuses.items()
        ]
        return "\n".join([f"subscription: {self._subscription.problem}", *lines])

    def states(self, task_id: str) -> list[str]:
        """States of a task as they came, repetitions of one left out."""
        found: list[str] = []
        for status in self.statuses.get(task_id, ()):
            if not found or found[-1] != status["state"]:
                found.append(status["state"])
        return found

    def until(self, task_id: str, state: str, timeout_s: float = 60.0) -> Record:
        """Wait for an update; returns the newest one with this state."""

        def probe() -> Record | None:
            came = self.statuses.get(task_id, [])
            found = [status for status in came if status["state"] == state]
            ended = {status["state"] for status in came} & (TERMINAL - {"TASK_LOST"})
            assert found or not ended, f"{task_id} ended without {state}\n{self.describe()}"
            return found[-1] if found else None

        status: Record = self.wait(probe, f"{state} of {task_id}", timeout_s)
        return status

    def offer(self, fits: Callable[[Record], bool] = lambda offer: True) -> Record:
        """Wait for an offer and take it out of the list."""

        def probe() -> Record | None:
            return next((offer for offer in self.offers.values() if fits(offer)), None)

        found: Record = self.wait(probe, "an offer")
        self.offers.pop(found["id"]["value"], None)
        return found

    def launch(self, *tasks: Record) -> Record:
        """Launch tasks on the next offer; returns it."""
        offer = self.offer()
        agent_id = offer["agent_id"]
        infos = [{**task, "agent_id": agent_id} for task in tasks]
        self.accept(offer, {"type": "LAUNCH", "launch": {"task_infos": infos}})
        return offer

    def launch_group(self, executor: Record, *tasks: Record) -> Record:
        """Launch a task group on the next offer with room for it; returns it."""
        needed = [r for wanted in (executor, *tasks) for r in wanted["resources"]]
        offer = self.offer(lambda offer: _have_room(offer["resources"], needed))
        infos = [{**task, "agent_id": offer["agent_id"]} for task in tasks]
        launch = {
            "executor": {**executor, "framework_id": offer["framework_id"]},
            "task_group": {"tasks": infos},
        }
        self.accept(offer, {"type": "LAUNCH_GROUP", "launch_group": launch})
        return offer

    def accept(self, offer: Record, *operations: Record) -> None:
        """Accept an offer; what it leaves over comes back at once."""
        accept = {
            "offer_ids": [offer["id"]],
            "operations": list(operations),
            "filters": {"refuse_seconds": 0.0},
        }
        self.call("ACCEPT", accept=accept)

    def kill(self, task_id: str, **fields: Any) -> None:
        """Ask for the end of a task."""
        self.call("KILL", kill={"task_id": {"value": task_id}, **fields})

    def reconcile(self, tasks: Mapping[str, str | None]) -> None:
        """Ask for the states of tasks (id → agent id); of all, if there is none."""
        asked = [
            {"task_id": {"value": task}} | ({"agent_id": {"value": agent}} if agent else {})
            for task, agent in tasks.items()
        ]
        self.call("RECONCILE", reconcile={"tasks": asked})

    def acknowledge(self, status: Record) -> None:
        """Acknowledge an update."""
        fields = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
        self.call("ACKNOWLEDGE", acknowledge=fields)

    def teardown(self) -> None:
        """End the framework with all its tasks."""
        self.call("TEARDOWN")

    def call(self, kind: str, **fields: Any) -> None:
        """Make a call."""
        body = {"type": kind, "framework_id": {"value": self.framework_id}, **fields}
        post(self.master, PATH, body, {"Mesos-Stream-Id": self._stream_id})

    def _subscribe(self) -> Record:
        subscribe: Record = {"framework_info": dict(self.info)}
        call: Record = {"type": "SUBSCRIBE", "subscribe": subscribe}
        if self.framework_id is not None:
            call["framework_id"] = {"value": self.framework_id}
            subscribe["framework_info"]["id"] = {"value": self.framework_id}
        return call

    def _began(self, headers: Mapping[str, str]) -> None:
        self._stream_id = headers.get("mesos-stream-id", "")

    def _take(self, event: Record) -> None:
        acknowledged = None
        with self._changed:
            self.events.append(event)
            match event["type"]:
                case "SUBSCRIBED":
                    self.framework_id = event["subscribed"]["framework_id"]["value"]
                    self.offers.clear()
                    self.subscriptions += 1
                case "OFFERS":
                    for offer in event["offers"]["offers"]:
                        self.offers[offer["id"]["value"]] = offer
                case "RESCIND":
                    self.offers.pop(event["rescind"]["offer_id"]["value"], None)
                case "UPDATE":
                    status = event["update"]["status"]
                    self.statuses.setdefault(status["task_id"]["value"], []).append(status)
                    acknowledged = status if status.get("uuid") else None
                case "UPDATE_OPERATION_STATUS":
                    status = event["update_operation_status"]["status"]
                    name = status.get("operation_id", {}).get("value", "")
                    self.operations.setdefault(name, []).append(status)
            self._changed.notify_all()
        if acknowledged is not None and self.acknowledging:
            # A master that ends now forgets this, and the update comes again.
            with contextlib.suppress(OSError, AssertionError):
                self.acknowledge(acknowledged)
