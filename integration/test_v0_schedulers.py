# SPDX-License-Identifier: Apache-2.0
"""Schedulers that speak libprocess messages: data goes to them without the master, fail over."""

import asyncio
import getpass
import sys
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.frameworks.v0 import V0Process, scheduler
from integration.processes import eventually
from integration.scene import Scene
from mesos_compat.libprocess.upid import UPID
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parent.parent


def framework() -> pb.FrameworkInfo:
    return pb.FrameworkInfo(
        user=getpass.getuser(), name="v0", role="*", checkpoint=True, failover_timeout=60.0
    )


def talker(offer: pb.Offer) -> pb.TaskInfo:
    """A task for the executor of another test, which answers what it is told."""
    made = pb.TaskInfo(name="task")
    made.task_id.value = "task"
    made.slave_id.CopyFrom(offer.slave_id)
    made.executor.type = pb.ExecutorInfo.CUSTOM
    made.executor.executor_id.value = "talker"
    made.executor.framework_id.CopyFrom(offer.framework_id)
    module = "integration.frameworks.conversation"
    made.executor.command.value = f"exec {sys.executable} -m {module} executor"
    made.executor.command.environment.variables.add(name="PYTHONPATH", value=str(PROJECT))
    for resources in (made.resources, made.executor.resources):
        for name, value in (("cpus", 0.1), ("mem", 64.0)):
            resource = resources.add(name=name, type=pb.Value.SCALAR, role="*")
            resource.scalar.value = value
            resource.allocation_info.role = "*"
    return made


async def launch(one: V0Process) -> pb.FrameworkID:
    one.send(messages.RegisterFrameworkMessage(framework=framework()))
    _, registered = await one.next(messages.FrameworkRegisteredMessage)
    _, offered = await one.next(messages.ResourceOffersMessage)
    launching = messages.LaunchTasksMessage(framework_id=registered.framework_id)
    launching.filters.refuse_seconds = 60.0
    launching.offer_ids.add().CopyFrom(offered.offers[0].id)
    launching.tasks.add().CopyFrom(talker(offered.offers[0]))
    one.send(launching)
    return registered.framework_id


async def update(
    one: V0Process, state: pb.TaskState, acknowledge: bool = True
) -> messages.StatusUpdateMessage:
    _, message = await one.next(
        messages.StatusUpdateMessage, lambda m: m.update.status.state == state
    )
    if acknowledge:
        done = messages.StatusUpdateAcknowledgementMessage(uuid=message.update.uuid)
        done.slave_id.CopyFrom(message.update.slave_id)
        done.framework_id.CopyFrom(message.update.framework_id)
        done.task_id.CopyFrom(message.update.status.task_id)
        one.send(done)
    return message


async def talk(one: V0Process, agent: UPID, about: messages.StatusUpdate) -> None:
    """Data goes to the executor and comes back, past the master in both directions."""
    data = messages.FrameworkToExecutorMessage(data=b"hello")
    data.slave_id.CopyFrom(about.slave_id)
    data.framework_id.CopyFrom(about.framework_id)
    data.executor_id.value = "talker"
    one.send(data, agent)
    sender, answer = await one.next(messages.ExecutorToFrameworkMessage)
    assert sender == str(agent)
    assert answer.data == b"you said hello"


def kept_pid(agent: OurAgent) -> str:
    [file] = Path(agent.work_dir, "meta").rglob("framework.pid")
    return file.read_text()


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
async def test_a_scheduler_fails_over(version: str, scene: Scene) -> None:
    master = scene.master(version)
    agent = scene.agent(master, executor_shutdown_grace_period="1secs")
    pid = UPID.parse(agent.state()["pid"])
    async with scheduler("scheduler-1", master.address) as first:
        framework_id = await launch(first)
        started = await update(first, pb.TASK_STARTING)
        assert started.pid == str(pid)
        await talk(first, pid, started.update)
        assert kept_pid(agent) == str(first.upid)
        unacknowledged = await update(first, pb.TASK_RUNNING, acknowledge=False)
        async with scheduler("scheduler-2", master.address) as second:
            again = messages.ReregisterFrameworkMessage(framework=framework(), failover=True)
            again.framework.id.CopyFrom(framework_id)
            second.send(again)
            # The agent repeats it at once, because its framework has another scheduler now.
            repeated = await update(second, pb.TASK_RUNNING)
            assert repeated.update.uuid == unacknowledged.update.uuid
            await talk(second, pid, repeated.update)
            assert kept_pid(agent) == str(second.upid)
            second.send(messages.UnregisterFrameworkMessage(framework_id=framework_id))
            # In a thread: the message has not left yet.
            await asyncio.to_thread(
                eventually,
                lambda: agent.state()["frameworks"] == [],
                20,
                "the framework to be gone",
            )
