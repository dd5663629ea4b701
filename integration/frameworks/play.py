# SPDX-License-Identifier: Apache-2.0
"""A framework that speaks libprocess messages, with one executor that does, too, on one agent."""

from __future__ import annotations

import getpass
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from integration.frameworks.v0 import V0Process, scheduler
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

_PROJECT = Path(__file__).parent.parent.parent
#: The command of the executor beside this.
PYTHON = f"exec {sys.executable} -m integration.frameworks.v0_executor"


class Play:
    """A framework with one executor on one agent."""

    def __init__(self, one: V0Process, agent: UPID, command: str) -> None:
        self.one = one
        self.agent = agent
        self.command = command
        self.framework_id = pb.FrameworkID()
        self.agent_id = pb.SlaveID()
        #: UUIDs of the updates that came.
        self._seen: set[bytes] = set()

    async def register(self, checkpoint: bool) -> None:
        """Become a framework."""
        framework = pb.FrameworkInfo(
            user=getpass.getuser(), name="v0", role="*", checkpoint=checkpoint
        )
        framework.failover_timeout = 60.0
        self.one.send(messages.RegisterFrameworkMessage(framework=framework))
        _, registered = await self.one.next(messages.FrameworkRegisteredMessage)
        self.framework_id.CopyFrom(registered.framework_id)

    async def go_over(self, master: str) -> None:
        """Be the same framework at another master."""
        framework = pb.FrameworkInfo(
            user=getpass.getuser(), name="v0", role="*", checkpoint=True, failover_timeout=60.0
        )
        framework.id.CopyFrom(self.framework_id)
        self.one.peer = UPID.parse(f"master@{master}")
        self.one.link()
        self.one.received.clear()
        self.one.send(messages.ReregisterFrameworkMessage(framework=framework, failover=True))
        await self.one.next(messages.FrameworkRegisteredMessage)

    async def launch(self, *names: str, command: str = "", image: str = "") -> None:
        """Start tasks on an offer that stands: of the executor, or with a command of their own,
        which may be in a Docker image.
        """
        offer = await self._offer()
        self.agent_id.CopyFrom(offer.slave_id)
        made = messages.LaunchTasksMessage(framework_id=self.framework_id)
        made.filters.refuse_seconds = 0.0
        made.offer_ids.add().CopyFrom(offer.id)
        for name in names:
            made.tasks.append(self._task(name, command, image))
        self.one.send(made)

    async def _offer(self) -> pb.Offer:
        while True:
            _, offered = await self.one.next(messages.ResourceOffersMessage)
            offer = offered.offers[0]
            rescinded = [
                message.offer_id.value
                for _, message in self.one.received
                if isinstance(message, messages.RescindResourceOfferMessage)
            ]
            if offer.id.value not in rescinded:
                return offer

    def _task(self, name: str, command: str, image: str) -> pb.TaskInfo:
        made = pb.TaskInfo(name=name)
        made.task_id.value = name
        made.slave_id.CopyFrom(self.agent_id)
        _use(made.resources)
        if command:
            made.command.value = command
            if image:
                made.container.type = pb.ContainerInfo.MESOS
                made.container.mesos.image.type = pb.Image.DOCKER
                made.container.mesos.image.docker.name = image
            return made
        made.executor.executor_id.value = "talker"
        made.executor.framework_id.CopyFrom(self.framework_id)
        made.executor.command.value = self.command
        made.executor.command.environment.variables.add(name="PYTHONPATH", value=str(_PROJECT))
        _use(made.executor.resources)
        return made

    async def reaches(self, task: str, state: pb.TaskState) -> pb.TaskStatus:
        """Wait for the next update of a task and acknowledge it; those that are repeated, too."""
        while True:
            _, message = await self.one.next(
                messages.StatusUpdateMessage,
                lambda m: m.update.status.task_id.value == task,
            )
            done = messages.StatusUpdateAcknowledgementMessage(uuid=message.update.uuid)
            done.slave_id.CopyFrom(message.update.slave_id)
            done.framework_id.CopyFrom(self.framework_id)
            done.task_id.value = task
            self.one.send(done)
            if message.update.uuid not in self._seen:
                self._seen.add(message.update.uuid)
                assert message.update.status.state == state, message.update.status
                return message.update.status

    def report(self, task: str, pid: str) -> messages.StatusUpdateMessage:
        """An update that somebody could send."""
        made = messages.StatusUpdateMessage(pid=pid)
        update = made.update
        update.framework_id.CopyFrom(self.framework_id)
        update.executor_id.value = "talker"
        update.slave_id.CopyFrom(self.agent_id)
        update.timestamp, update.uuid = 1.0, uuid.uuid4().bytes
        update.status.task_id.value = task
        update.status.state = pb.TASK_RUNNING
        update.status.slave_id.CopyFrom(self.agent_id)
        return made

    def kill(self, task: str) -> None:
        """Ask the master for the end of a task."""
        made = messages.KillTaskMessage()
        made.framework_id.CopyFrom(self.framework_id)
        made.task_id.value = task
        self.one.send(made)

    def say(self, data: str) -> None:
        """Tell the executor something, past the master."""
        made = messages.FrameworkToExecutorMessage(data=data.encode())
        made.slave_id.CopyFrom(self.agent_id)
        made.framework_id.CopyFrom(self.framework_id)
        made.executor_id.value = "talker"
        self.one.send(made, self.agent)

    async def hears(self, data: str) -> None:
        """Wait for what the executor answers."""
        _, message = await self.one.next(messages.ExecutorToFrameworkMessage)
        assert message.data.decode() == data

    async def is_turned_away(self, message: type[messages.RegisterExecutorMessage]) -> None:
        """Somebody else says that it is the executor."""
        made = message()
        made.framework_id.CopyFrom(self.framework_id)
        made.executor_id.value = "talker"
        async with V0Process("executor(1)", str(self.agent)).running() as foreign:
            foreign.send(made)
            sender, _ = await foreign.next(messages.ShutdownExecutorMessage)
            assert sender == str(self.agent)

    def unregister(self) -> None:
        """End the framework."""
        self.one.send(messages.UnregisterFrameworkMessage(framework_id=self.framework_id))


def _use(resources: Any) -> None:
    for kind, value in (("cpus", 0.1), ("mem", 64.0)):
        resource = resources.add(name=kind, type=pb.Value.SCALAR, role="*")
        resource.scalar.value = value
        resource.allocation_info.role = "*"


@asynccontextmanager
async def play(
    master: str, agent: UPID, command: str, checkpoint: bool = True
) -> AsyncIterator[Play]:
    async with scheduler("scheduler-1", master) as one:
        made = Play(one, agent, command)
        await made.register(checkpoint)
        yield made
