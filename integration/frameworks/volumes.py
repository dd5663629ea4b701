# SPDX-License-Identifier: Apache-2.0
"""A v1 framework that reserves, makes a volume, uses it in tasks, and gives all of it back."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from mesos_compat.cli.connect import peer_of
from mesos_compat.libprocess.http_client import HttpClient
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.scheduler import scheduler_pb2 as api
from mesos_compat.v1.scheduler_client import SchedulerClient

ROLE = "db"
Operation = v1.Offer.Operation


def scalar(name: str, amount: float, *, reserved: bool = False) -> v1.Resource:
    """Return a resource for our role."""
    made = v1.Resource(name=name, type=v1.Value.SCALAR)
    made.scalar.value = amount
    made.allocation_info.role = ROLE
    if reserved:
        made.reservations.add(type="DYNAMIC", role=ROLE)
    return made


def volume(mode: v1.Volume.Mode = v1.Volume.RW, *, shared: bool = False) -> v1.Resource:
    """Return a persistent volume."""
    made = scalar("disk", 32.0, reserved=True)
    made.disk.persistence.id = "v1"
    made.disk.volume.container_path = "data"
    made.disk.volume.mode = mode
    if shared:
        made.shared.SetInParent()
    return made


class VolumeFramework:
    """One step after the other; each waits for an offer that has what it needs."""

    def __init__(self, client: HttpClient, master: str, *, feedback: bool) -> None:
        self._client = SchedulerClient(client, peer_of(master))
        self._events: AsyncGenerator[api.Event, None] | None = None
        self._id = v1.FrameworkID()
        self._feedback = feedback
        #: Those that were not taken, by id.
        self._offers: dict[str, v1.Offer] = {}
        #: States that were told, by operation id and by task id.
        self.operations: dict[str, list[str]] = {}
        self.tasks: dict[str, list[str]] = {}

    async def subscribe(self) -> None:
        """Begin."""
        framework = v1.FrameworkInfo(user="root", name="volumes", checkpoint=True)
        framework.roles.append(ROLE)
        for kind in ("MULTI_ROLE", "RESERVATION_REFINEMENT", "SHARED_RESOURCES"):
            framework.capabilities.add(type=kind)
        self._events = self._client.subscribe(framework)
        await self._until(lambda event: event.type == api.Event.SUBSCRIBED)

    async def close(self) -> None:
        """Leave for good."""
        await self._call(api.Call(type=api.Call.TEARDOWN))
        if self._events is not None:
            await self._events.aclose()

    async def operate(self, operation: Operation, name: str) -> None:
        """Accept an offer for one operation; wait for its end if the master tells it."""
        offer = await self._offer(*_consumed(operation))
        if self._feedback:
            operation.id.value = name
        await self._accept(offer, operation)
        if self._feedback:
            await self._until(lambda _: "OPERATION_FINISHED" in self.operations.get(name, ()))

    async def run(self, name: str, command: str, *resources: v1.Resource) -> str:
        """Run a task to its end; return its last state."""
        operation = Operation(type=Operation.LAUNCH)
        task = operation.launch.task_infos.add(name=name)
        task.task_id.value = name
        task.command.value = command
        task.resources.extend([scalar("cpus", 0.1), scalar("mem", 32.0), *resources])
        ends = ("FINISHED", "FAILED", "ERROR", "LOST", "KILLED", "GONE", "DROPPED")
        reason: int = v1.TaskStatus.REASON_INVALID_OFFERS
        # Offers of an agent are taken back when it is gone, maybe while they are accepted.
        while reason == v1.TaskStatus.REASON_INVALID_OFFERS:
            self.tasks.pop(name, None)
            offer = await self._offer(*task.resources)
            task.agent_id.CopyFrom(offer.agent_id)
            await self._accept(offer, operation)
            last = await self._until(
                lambda _: any(s.removeprefix("TASK_") in ends for s in self.tasks.get(name, ()))
            )
            reason = last.update.status.reason
        return self.tasks[name][-1]

    async def _offer(self, *needed: v1.Resource) -> v1.Offer:
        """Return an offer with all that is ``needed``; it may have come already."""

        def fitting() -> list[v1.Offer]:
            return [
                offer
                for offer in self._offers.values()
                if all(any(_covers(has, wanted) for has in offer.resources) for wanted in needed)
            ]

        while not fitting():
            for offer_id in list(self._offers):
                offer = self._offers.pop(offer_id)
                call = api.Call(type=api.Call.DECLINE)
                call.decline.offer_ids.append(offer.id)
                call.decline.filters.refuse_seconds = 0.0
                await self._call(call)
            await self._until(lambda _: bool(self._offers))
        return self._offers.pop(fitting()[0].id.value)

    async def _accept(self, offer: v1.Offer, operation: Operation) -> None:
        call = api.Call(type=api.Call.ACCEPT)
        call.accept.offer_ids.append(offer.id)
        call.accept.operations.append(operation)
        call.accept.filters.refuse_seconds = 0.0
        await self._call(call)

    async def _until(self, wanted: Callable[[api.Event], bool]) -> api.Event:
        assert self._events is not None
        async with asyncio.timeout(60):
            async for event in self._events:
                await self._note(event)
                if wanted(event):
                    return event
        raise AssertionError("the master ended the stream")

    async def _note(self, event: api.Event) -> None:
        if event.type == api.Event.SUBSCRIBED:
            self._id.CopyFrom(event.subscribed.framework_id)
        elif event.type == api.Event.OFFERS:
            self._offers |= {offer.id.value: offer for offer in event.offers.offers}
        elif event.type == api.Event.RESCIND:
            self._offers.pop(event.rescind.offer_id.value, None)
        elif event.type == api.Event.UPDATE:
            status = event.update.status
            self.tasks.setdefault(status.task_id.value, []).append(v1.TaskState.Name(status.state))
            if status.HasField("uuid"):
                call = api.Call(type=api.Call.ACKNOWLEDGE)
                call.acknowledge.agent_id.CopyFrom(status.agent_id)
                call.acknowledge.task_id.CopyFrom(status.task_id)
                call.acknowledge.uuid = status.uuid
                await self._call(call)
        elif event.type == api.Event.UPDATE_OPERATION_STATUS:
            told = event.update_operation_status.status
            states = self.operations.setdefault(told.operation_id.value, [])
            states.append(v1.OperationState.Name(told.state))
            if told.HasField("uuid"):
                call = api.Call(type=api.Call.ACKNOWLEDGE_OPERATION_STATUS)
                acknowledged = call.acknowledge_operation_status
                acknowledged.agent_id.CopyFrom(told.agent_id)
                acknowledged.operation_id.CopyFrom(told.operation_id)
                acknowledged.uuid = told.uuid.value
                await self._call(call)

    async def _call(self, call: api.Call) -> None:
        call.framework_id.CopyFrom(self._id)
        await self._client.call(call)


def _consumed(operation: Operation) -> list[v1.Resource]:
    """Return what an offer must have for an operation on one disk."""
    match operation.type:
        case Operation.RESERVE:
            return [scalar("disk", operation.reserve.resources[0].scalar.value)]
        case Operation.UNRESERVE:
            return list(operation.unreserve.resources)
        case Operation.CREATE:
            size = operation.create.volumes[0].scalar.value
            return [scalar("disk", size, reserved=True)]
        case Operation.DESTROY:
            return list(operation.destroy.volumes)
    raise AssertionError(operation)


def _covers(has: v1.Resource, wanted: v1.Resource) -> bool:
    """Whether one resource is enough of the same kind; how a volume is used does not count."""
    return (
        has.name == wanted.name
        and has.scalar.value >= wanted.scalar.value
        and len(has.reservations) == len(wanted.reservations)
        and has.disk.persistence.id == wanted.disk.persistence.id
    )
