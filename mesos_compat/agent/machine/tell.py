# SPDX-License-Identifier: Apache-2.0
"""What executors are told, each in the way that it speaks: events on a stream, or messages.

Who is not connected hears nothing; a shutdown reaches also those that an earlier process knew.

Source: spec ``executors`` 1.7, 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.agent.machine.checkpoints import NO_PID
from mesos_compat.agent.machine.effects import CloseExecutorStream, Send, SendToExecutor
from mesos_compat.agent.machine.state import AgentState, Executor, Framework, Task
from mesos_compat.agent.machine.turn import Turn
from mesos_compat.model.evolve import evolve
from mesos_compat.model.ids import TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as v1_executor


def registered(turn: Turn, framework: Framework, executor: Executor) -> None:
    """Tell who the executor works for."""
    state = turn.state
    if executor.stream_id is not None:
        event = v1_executor.Event(type=v1_executor.Event.SUBSCRIBED)
        body = event.subscribed
        body.executor_info.CopyFrom(evolve(executor.info, v1.ExecutorInfo))
        body.framework_info.CopyFrom(evolve(framework.info, v1.FrameworkInfo))
        body.agent_info.CopyFrom(evolve(state.info(), v1.AgentInfo))
        body.container_id.CopyFrom(evolve(executor.container_id.message(), v1.ContainerID))
        turn.do(SendToExecutor(executor.stream_id, event))
        return
    made = messages.ExecutorRegisteredMessage(slave_info=state.info())
    made.executor_info.CopyFrom(executor.info)
    made.framework_id.value = framework.framework_id
    made.framework_info.CopyFrom(framework.info)
    made.slave_id.value = _agent_id(state)
    turn.do(Send(executor.pid, made))


def reregistered(turn: Turn, executor: Executor) -> None:
    """Tell an executor that speaks libprocess that it is known here."""
    made = messages.ExecutorReregisteredMessage(slave_info=turn.state.info())
    made.slave_id.value = _agent_id(turn.state)
    turn.do(Send(executor.pid, made))


def reconnect(turn: Turn, executor: Executor) -> None:
    """Ask an executor of an earlier process to come back."""
    made = messages.ReconnectExecutorMessage()
    made.slave_id.value = _agent_id(turn.state)
    turn.do(Send(executor.recovered_pid, made))


def launch(turn: Turn, framework: Framework, executor: Executor, task: Task) -> None:
    """Give a connected executor a task."""
    if executor.stream_id is not None:
        event = v1_executor.Event(type=v1_executor.Event.LAUNCH)
        event.launch.task.CopyFrom(evolve(task.info, v1.TaskInfo))
        turn.do(SendToExecutor(executor.stream_id, event))
        return
    made = messages.RunTaskMessage(pid=framework.pid or NO_PID)
    made.framework.CopyFrom(framework.info)
    made.task.CopyFrom(task.info)
    turn.do(Send(executor.pid, made))


def launch_group(turn: Turn, executor: Executor, group: Sequence[Task]) -> None:
    """Give an executor with a stream several tasks at once; there is no message for that."""
    assert executor.stream_id is not None, "only streams carry groups"
    event = v1_executor.Event(type=v1_executor.Event.LAUNCH_GROUP)
    for task in group:
        event.launch_group.task_group.tasks.append(evolve(task.info, v1.TaskInfo))
    turn.do(SendToExecutor(executor.stream_id, event))


def kill(turn: Turn, executor: Executor, task_id: TaskId, policy: pb.KillPolicy | None) -> None:
    """Ask for the end of a task."""
    if executor.stream_id is not None:
        event = v1_executor.Event(type=v1_executor.Event.KILL)
        event.kill.task_id.value = task_id
        if policy is not None:
            event.kill.kill_policy.CopyFrom(evolve(policy, v1.KillPolicy))
        turn.do(SendToExecutor(executor.stream_id, event))
    elif executor.pid:
        made = messages.KillTaskMessage()
        made.framework_id.value = executor.framework_id
        made.task_id.value = task_id
        if policy is not None:
            made.kill_policy.CopyFrom(policy)
        turn.do(Send(executor.pid, made))


def data(turn: Turn, executor: Executor, sent: bytes) -> None:
    """Pass on what the framework has to say."""
    if executor.stream_id is not None:
        event = v1_executor.Event(type=v1_executor.Event.MESSAGE)
        event.message.data = sent
        turn.do(SendToExecutor(executor.stream_id, event))
    elif executor.pid:
        made = messages.FrameworkToExecutorMessage(data=sent)
        made.slave_id.value = _agent_id(turn.state)
        made.framework_id.value = executor.framework_id
        made.executor_id.value = executor.executor_id
        turn.do(Send(executor.pid, made))


def acknowledged(turn: Turn, executor: Executor, update: messages.StatusUpdate) -> None:
    """Tell an executor with a stream, if it has one, that an update is safe."""
    if executor.stream_id is not None:
        event = v1_executor.Event(type=v1_executor.Event.ACKNOWLEDGED)
        event.acknowledged.task_id.CopyFrom(v1.TaskID(value=update.status.task_id.value))
        event.acknowledged.uuid = update.uuid
        turn.do(SendToExecutor(executor.stream_id, event))


def acknowledged_at(turn: Turn, pid: str, update: messages.StatusUpdate) -> None:
    """Tell whoever sent an update as a message that it is safe."""
    made = messages.StatusUpdateAcknowledgementMessage(uuid=update.uuid)
    made.slave_id.value = _agent_id(turn.state)
    made.framework_id.CopyFrom(update.framework_id)
    made.task_id.CopyFrom(update.status.task_id)
    turn.do(Send(pid, made))


def shut_down(turn: Turn, executor: Executor) -> None:
    """Tell an executor to end."""
    if executor.stream_id is not None:
        event = v1_executor.Event(type=v1_executor.Event.SHUTDOWN)
        turn.do(SendToExecutor(executor.stream_id, event))
    elif executor.pid or executor.recovered_pid:
        turned_away(turn, executor.pid or executor.recovered_pid)


def turned_away(turn: Turn, pid: str) -> None:
    """Tell to end whoever says that it is an executor."""
    turn.do(Send(pid, messages.ShutdownExecutorMessage()))


def stream_turned_away(turn: Turn, stream_id: int) -> None:
    """The same to who subscribed."""
    turn.do(
        SendToExecutor(stream_id, v1_executor.Event(type=v1_executor.Event.SHUTDOWN)),
        CloseExecutorStream(stream_id),
    )


def _agent_id(state: AgentState) -> str:
    assert state.agent_id is not None, "only a registered agent has executors"
    return state.agent_id
