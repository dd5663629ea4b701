# SPDX-License-Identifier: Apache-2.0
"""A default executor whose agent is killed at each step of a group, and comes back.

Each step is a call of the executor: the agent dies before it does what it was asked, or before it
answers. Whatever it was, each task ends once, in an order that makes sense, and so do its
containers and the executor.
"""

from __future__ import annotations

import signal
from collections import deque
from dataclasses import dataclass, field

import pytest

from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.executor.conftest import Start
from tests.executor.fake_agent import Ask, FakeAgent, shell_task

KILLING = v1.FrameworkInfo.Capability.TASK_KILLING_STATE
CHECKPOINTING = {
    "MESOS_CHECKPOINT": "1",
    "MESOS_RECOVERY_TIMEOUT": "10mins",
    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "100ms",
}
#: Steps of a group of two, of which one finishes and the other is killed.
STEPS = 12
STARTED = (v1.TASK_STARTING, v1.TASK_RUNNING)
ENDS = (v1.TASK_FINISHED, v1.TASK_FAILED, v1.TASK_KILLED)
#: In which order a task may get there, if it gets there.
ORDER = (*STARTED, v1.TASK_KILLING)


class AgentDiedError(Exception):
    """The agent was killed."""


@dataclass
class Agent:
    """What an agent does about one group; what it keeps outlives it."""

    fake: FakeAgent
    #: The step at which it dies, and whether what was asked is done.
    at: int
    done: bool
    steps: int = 0
    #: Exit statuses by container; of those that run there is none.
    containers: dict[str, int | None] = field(default_factory=dict)
    waits: dict[str, list[Ask]] = field(default_factory=dict)
    #: By UUID.
    heard: dict[bytes, v1.TaskStatus] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    asked_to_kill: bool = False

    def states(self, task: str) -> list[v1.TaskState]:
        """All that was told of a task."""
        return [s.state for s in self.heard.values() if s.task_id.value == task]

    def update(self, status: v1.TaskStatus) -> None:
        """Keep an update, and say so; a step."""
        died = self._step()
        if not died or self.done:
            self.tasks[status.task_id.value] = status.container_status.container_id.value
            self.heard.setdefault(status.uuid, status)
        if died:
            raise AgentDiedError
        self.fake.acknowledge(status)

    def asked(self, ask: Ask) -> None:
        """Do what the executor asks for; a step."""
        died = self._step()
        if not died or self.done:
            self._do(ask, answer=not died)
        if died:
            raise AgentDiedError

    def go_on(self) -> None:
        """What happens by itself: the first task finishes, then the other is not wanted."""
        if self.states("b")[-1:] == [v1.TASK_RUNNING] and v1.TASK_RUNNING in self.states("a"):
            self._end(self.tasks["a"], 0)
        ended = any(state in ENDS for state in self.states("a"))
        if ended and self.states("b")[-1:] == [v1.TASK_RUNNING] and not self.asked_to_kill:
            self.asked_to_kill = True
            self.fake.kill(task_id="b")

    def start_again(self) -> None:
        """Another process: it knows what was written down."""
        self.fake.drop()
        self.fake.requests.clear()
        self.fake.asked.clear()
        self.waits.clear()
        self.asked_to_kill = False
        subscribe = self.fake.call(api.Call.SUBSCRIBE).subscribe
        self.fake.subscribed(KILLING)
        for each in subscribe.unacknowledged_updates:
            self.update(each.status)

    def _step(self) -> bool:
        self.steps += 1
        return self.steps == self.at

    def _do(self, ask: Ask, answer: bool) -> None:
        if ask.call.type == agent_pb2.Call.LAUNCH_CONTAINER:
            self.containers[ask.call.launch_container.container_id.value] = None
            if answer:
                ask.answer()
        elif ask.call.type == agent_pb2.Call.WAIT_NESTED_CONTAINER:
            container = ask.call.wait_nested_container.container_id.value
            if not answer:
                return
            if container not in self.containers:
                ask.answer(404)
            else:
                self.waits.setdefault(container, []).append(ask)
                self._tell(container)
        else:
            assert ask.call.type == agent_pb2.Call.KILL_NESTED_CONTAINER
            kill = ask.call.kill_nested_container
            container = kill.container_id.value
            found = container in self.containers
            if answer:
                ask.answer(200 if found else 404)
            if found:
                self._end(container, kill.signal)

    def _end(self, container: str, wait_status: int) -> None:
        if self.containers[container] is None:
            self.containers[container] = wait_status
        self._tell(container)

    def _tell(self, container: str) -> None:
        status = self.containers[container]
        if status is not None:
            for ask in self.waits.pop(container, []):
                ask.end(status)


def play(fake: FakeAgent, start_default: Start, at: int, done: bool) -> int:
    """Have a group run, and its agent die at a step; return how many there were."""
    agent = Agent(fake, at, done)
    executor = start_default(**CHECKPOINTING)
    fake.call(api.Call.SUBSCRIBE)
    fake.subscribed(KILLING)
    fake.launch_group(shell_task("sleep 100", "a"), shell_task("sleep 100", "b"))
    while True:
        fake.serve(lambda: bool(fake.requests or fake.asked) or executor.gone())
        try:
            if fake.requests:
                call = fake.requests.popleft().call
                assert call.type == api.Call.UPDATE
                agent.update(call.update.status)
            elif fake.asked:
                agent.asked(fake.asked.pop(0))
            else:
                break
            agent.go_on()
        except AgentDiedError:
            agent.start_again()
            agent.go_on()
    assert executor.wait(fake) == 0, executor.output("stderr")
    for task in ("a", "b"):
        states = deque(agent.states(task))
        assert states.pop() in ENDS
        assert list(states) == [state for state in ORDER if state in states]
    assert None not in agent.containers.values()
    if at > STEPS:
        assert agent.states("a") == [*STARTED, v1.TASK_FINISHED]
        assert agent.states("b") == [*STARTED, v1.TASK_KILLING, v1.TASK_KILLED]
        assert agent.containers[agent.tasks["b"]] == signal.SIGTERM
    return agent.steps


def test_there_are_so_many_steps(agent: FakeAgent, start_default: Start) -> None:
    assert play(agent, start_default, STEPS + 1, done=False) == STEPS


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("at", range(1, STEPS + 1))
def test_a_kill_at_each_step(agent: FakeAgent, start_default: Start, at: int, done: bool) -> None:
    assert play(agent, start_default, at, done) >= at
