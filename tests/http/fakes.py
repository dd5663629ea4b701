# SPDX-License-Identifier: Apache-2.0
"""An agent as HTTP handlers see it, with a state made of golden documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containerizer.api import LaunchOutcome
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.state import (
    AgentPhase,
    AgentState,
    Executor,
    ExecutorPhase,
    Framework,
    Task,
    TaskPlace,
)
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model import jsonpb
from mesos_compat.model.evolve import devolve
from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId, TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from tests.agent.machine.driver import config as machine_config

GOLDEN = Path(__file__).parent.parent / "golden" / "http"


def golden(name: str) -> Any:
    """Read a golden JSON document."""
    return json.loads((GOLDEN / name).read_text())


class FakeStream:
    """Output of a container: ends with ``end``, or breaks."""

    def __init__(self, records: Sequence[bytes], end: asyncio.Event | None = None) -> None:
        self._records = records
        self._end = end
        self.broken: ContainerError | None = None
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for record in self._records:
            yield record
        if self._end is not None:
            await self._end.wait()
        if self.broken is not None:
            raise self.broken

    async def aclose(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class FakeAnswer:
    status: int
    text: str = ""


class FakeContainerizer:
    """Knows what tests put into it, and what it was asked for."""

    def __init__(self) -> None:
        self.usages: dict[ContainerId, pb.ResourceStatistics] = {}
        self.statuses: dict[ContainerId, pb.ContainerStatus] = {}
        #: Containers beside those with a status.
        self.known: set[ContainerId] = set()
        self.launched: dict[ContainerId, slave.ContainerConfig] = {}
        self.outcome = LaunchOutcome.SUCCESS
        #: What a launch waits for.
        self.gate: asyncio.Event | None = None
        self.terminations: dict[ContainerId, asyncio.Future[slave.ContainerTermination]] = {}
        self.signals: list[tuple[ContainerId, int]] = []
        self.removed: list[ContainerId] = []
        self.destroyed: list[ContainerId] = []
        #: What a destroy waits for.
        self.destroy_gate: asyncio.Event | None = None
        self.pruned: list[pb.Image] = []
        self.streams: dict[ContainerId, FakeStream] = {}
        self.received: list[bytes] = []
        self.answer = FakeAnswer(200)
        self.operations: list[tuple[str, ContainerId | None]] = []
        #: Raised by the verb of this name.
        self.failures: dict[str, ContainerError] = {}

    def _fail(self, verb: str) -> None:
        if verb in self.failures:
            raise self.failures[verb]

    async def recover(self, known: Sequence[slave.ContainerState]) -> None:
        raise NotImplementedError

    async def launch(
        self,
        container_id: ContainerId,
        config: slave.ContainerConfig,
        environment: Mapping[str, str],
        pid_checkpoint_path: str | None = None,
    ) -> LaunchOutcome:
        assert environment == {}
        assert pid_checkpoint_path is None
        self.known.add(container_id)
        self.launched[container_id] = config
        if self.gate is not None:
            await self.gate.wait()
        self._fail("launch")
        return self.outcome

    async def update(
        self,
        container_id: ContainerId,
        requests: Sequence[pb.Resource],
        limits: Mapping[str, float],
    ) -> None:
        raise NotImplementedError

    async def usage(self, container_id: ContainerId) -> pb.ResourceStatistics:
        if container_id not in self.usages:
            raise ContainerError(f"Unknown container {container_id}")
        return self.usages[container_id]

    async def status(self, container_id: ContainerId) -> pb.ContainerStatus:
        if container_id not in self.statuses:
            raise ContainerError(f"Unknown container {container_id}")
        return self.statuses[container_id]

    async def wait(self, container_id: ContainerId) -> slave.ContainerTermination | None:
        self._fail("wait")
        ended = self.terminations.get(container_id)
        return None if ended is None else await asyncio.shield(ended)

    async def destroy(
        self, container_id: ContainerId, termination: slave.ContainerTermination | None = None
    ) -> slave.ContainerTermination | None:
        self.destroyed.append(container_id)
        if self.destroy_gate is not None:
            await self.destroy_gate.wait()
        self.known.discard(container_id)
        self._fail("destroy")
        return None

    async def kill(self, container_id: ContainerId, signal: int) -> bool:
        self._fail("kill")
        self.signals.append((container_id, signal))
        return container_id in self.known

    def containers(self) -> frozenset[ContainerId]:
        return frozenset(self.statuses) | self.known

    def pending(self) -> list[tuple[str, ContainerId | None]]:
        return self.operations

    def is_standalone(self, container_id: ContainerId) -> bool:
        return container_id.root.value.startswith("alone")

    async def attach_output(self, container_id: ContainerId, media_type: str) -> FakeStream:
        self._fail("attach")
        return self.streams[container_id]

    async def attach_input(
        self, container_id: ContainerId, media_type: str, calls: AsyncIterable[bytes]
    ) -> FakeAnswer:
        self._fail("attach")
        async for call in calls:
            self.received.append(call)
        return self.answer

    async def remove(self, container_id: ContainerId) -> None:
        self._fail("remove")
        self.removed.append(container_id)

    async def prune_images(self, excluded: Sequence[pb.Image]) -> None:
        self._fail("prune_images")
        self.pruned += excluded

    async def close(self) -> None:
        raise NotImplementedError


class FakePort:
    """Implements AgentPort; submitted events are collected."""

    def __init__(self, state: AgentState, flags: Mapping[str, str] | None = None) -> None:
        self.state = state
        self.flags = dict(flags or {})
        self.containerizer = FakeContainerizer()
        self.metrics = Metrics()
        self.files: dict[str, str] = {}
        self.events: list[Event] = []
        #: Called with each submitted event, as the agent's loop would react to it.
        self.reactions: list[Any] = []

    def submit(self, event: Event) -> None:
        self.events.append(event)
        for reaction in self.reactions:
            reaction(event)


def agent_state(info: pb.SlaveInfo, agent_id: str = "", **more: Any) -> AgentState:
    """Make the state of a registered agent."""
    config = machine_config(info=info, capabilities=(1, 2, 3, 4, 5, 6, 7, 8))
    return AgentState(
        config=config,
        resource_version_uuid=b"u" * 16,
        phase=AgentPhase.RUNNING,
        agent_id=AgentId(agent_id),
        **more,
    )


def _v1(kind: type[Any], value: Any) -> Any:
    return jsonpb.from_value(kind, value)


def golden_state(prefix: str = "v1_") -> AgentState:
    """Make the state that the golden documents of one running command task show."""
    shown = golden("get_state.json")
    agent_info = golden(f"{prefix}GET_AGENT.json")["get_agent"]["agent_info"]
    info = devolve(_v1(v1.AgentInfo, agent_info), pb.SlaveInfo)
    state = agent_state(
        info, shown["id"], start_time=shown["start_time"], master_hostname="localhost"
    )
    document = golden(f"{prefix}GET_STATE.json")["get_state"]
    framework_info = document["get_frameworks"]["frameworks"][0]["framework_info"]
    framework = Framework(devolve(_v1(v1.FrameworkInfo, framework_info), pb.FrameworkInfo))
    executor_info = document["get_executors"]["executors"][0]["executor_info"]
    view = shown["frameworks"][0]["executors"][0]
    executor = Executor(
        info=devolve(_v1(v1.ExecutorInfo, executor_info), pb.ExecutorInfo),
        framework_id=framework.framework_id,
        container_id=ContainerId(view["container"]),
        directory=view["directory"],
        user="root",
        generated=True,
        phase=ExecutorPhase.RUNNING,
        stream_id=1,
    )
    executor.launched = {
        TaskId(item["task_id"]["value"]): task_of(item)
        for item in document["get_tasks"]["launched_tasks"]
    }
    framework.add_executor(executor)
    state.frameworks[framework.framework_id] = framework
    return state


def task_of(document: Any, place: TaskPlace = TaskPlace.LAUNCHED) -> Task:
    """Make a task of its v1 JSON."""
    message = devolve(_v1(v1.Task, document), pb.Task)
    info = pb.TaskInfo(
        name=message.name,
        task_id=message.task_id,
        slave_id=message.slave_id,
        resources=message.resources,
    )
    for name in ("container", "labels", "discovery", "health_check"):
        if message.HasField(name):
            getattr(info, name).CopyFrom(getattr(message, name))
    made = Task(info, place, message.state)
    made.statuses = list(message.statuses)
    if message.HasField("status_update_state"):
        made.status_update_state = message.status_update_state
        made.status_update_uuid = message.status_update_uuid
    return made


FRAMEWORK = FrameworkId("F")
EXECUTOR = ExecutorId("E")


def small_state(phase: ExecutorPhase = ExecutorPhase.RUNNING) -> AgentState:
    """Make a state with the executor E of the framework F and nothing else."""
    state = agent_state(pb.SlaveInfo(hostname="h"), "S0", start_time=1.0)
    framework = Framework(pb.FrameworkInfo(user="root", name="n", id=pb.FrameworkID(value="F")))
    executor = Executor(
        info=pb.ExecutorInfo(executor_id=pb.ExecutorID(value="E")),
        framework_id=FRAMEWORK,
        container_id=ContainerId("c"),
        directory="/d",
        user=None,
        generated=False,
        phase=phase,
    )
    framework.add_executor(executor)
    state.frameworks[FRAMEWORK] = framework
    return state
