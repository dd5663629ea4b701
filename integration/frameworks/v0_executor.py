# SPDX-License-Identifier: Apache-2.0
"""An executor that speaks libprocess messages and behaves as the driver of upstream's library.

usage: python -m integration.frameworks.v0_executor

Tasks run until they are killed or a message says "finish TASK"; other messages are answered. What
happens is told on stdout, what the agent acknowledged, too.

Source: spec ``executors`` 2.1, 2.5.
"""

import asyncio
import os
import sys
import time
import uuid

from google.protobuf.message import Message

from integration.frameworks.v0 import V0Process
from mesos_compat.libprocess.upid import UPID
from mesos_compat.model.quantity import SECOND_NS, parse_duration
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages


class V0Executor(V0Process):
    """One run of an executor."""

    def __init__(self) -> None:
        env = os.environ
        super().__init__("executor(1)", env["MESOS_SLAVE_PID"], env["LIBPROCESS_IP"])
        self._agent_id = pb.SlaveID(value=env["MESOS_SLAVE_ID"])
        self._framework_id = pb.FrameworkID(value=env["MESOS_FRAMEWORK_ID"])
        self._executor_id = pb.ExecutorID(value=env["MESOS_EXECUTOR_ID"])
        self._checkpoint = env["MESOS_CHECKPOINT"] == "1"
        timeout = env.get("MESOS_RECOVERY_TIMEOUT", "15mins")
        self._recovery_timeout_s = parse_duration(timeout) / SECOND_NS
        self._connected = False
        self._updates: dict[bytes, messages.StatusUpdate] = {}
        self._tasks: dict[str, pb.TaskInfo] = {}
        self.over = asyncio.Event()

    def register(self) -> None:
        """Tell the agent who is there; that is done once."""
        made = messages.RegisterExecutorMessage()
        made.framework_id.CopyFrom(self._framework_id)
        made.executor_id.CopyFrom(self._executor_id)
        self.send(made)

    def exited(self, upid: UPID) -> None:
        """The agent is gone: for good, unless it keeps what it knows."""
        if not (self._connected and self._checkpoint):
            self._shut_down()
            return
        self._connected = False
        say("disconnected")
        asyncio.get_running_loop().call_later(self._recovery_timeout_s, self._give_up)

    def take(self, sender: str, message: Message) -> None:
        """Do what the agent wants."""
        match message:
            case messages.ExecutorRegisteredMessage():
                self._connected = True
                say("registered", message.executor_info.executor_id.value)
            case messages.ExecutorReregisteredMessage():
                self._connected = True
                say("reregistered")
            case messages.ReconnectExecutorMessage():
                self._come_back(UPID.parse(sender))
            case messages.RunTaskMessage() if self._connected:
                self._tasks[message.task.task_id.value] = message.task
                say("launch", message.task.task_id.value)
                self._report(message.task.task_id.value, pb.TASK_RUNNING)
            case messages.KillTaskMessage():
                say("kill", message.task_id.value)
                self._report(message.task_id.value, pb.TASK_KILLED)
            case messages.FrameworkToExecutorMessage() if self._connected:
                self._listen(message.data.decode())
            case messages.StatusUpdateAcknowledgementMessage():
                acknowledged = self._updates.pop(message.uuid, None)
                self._tasks.pop(message.task_id.value, None)
                if acknowledged is not None:
                    name = pb.TaskState.Name(acknowledged.status.state)
                    say("acknowledged", message.task_id.value, name)
            case messages.ShutdownExecutorMessage():
                self._shut_down()

    def _come_back(self, agent: UPID) -> None:
        self.peer = agent
        self.link()
        made = messages.ReregisterExecutorMessage()
        made.framework_id.CopyFrom(self._framework_id)
        made.executor_id.CopyFrom(self._executor_id)
        made.tasks.extend(self._tasks.values())
        made.updates.extend(self._updates.values())
        self.send(made)

    def _listen(self, data: str) -> None:
        say("message", data)
        if data.startswith("finish "):
            self._report(data.removeprefix("finish "), pb.TASK_FINISHED)
            return
        made = messages.ExecutorToFrameworkMessage(data=f"you said {data}".encode())
        made.slave_id.CopyFrom(self._agent_id)
        made.framework_id.CopyFrom(self._framework_id)
        made.executor_id.CopyFrom(self._executor_id)
        self.send(made)

    def _report(self, task: str, state: pb.TaskState) -> None:
        now, token = time.time(), uuid.uuid4().bytes
        made = messages.StatusUpdateMessage(pid=str(self.upid))
        update = made.update
        update.framework_id.CopyFrom(self._framework_id)
        update.executor_id.CopyFrom(self._executor_id)
        update.slave_id.CopyFrom(self._agent_id)
        update.timestamp, update.uuid = now, token
        status = update.status
        status.task_id.value, status.state = task, state
        status.slave_id.CopyFrom(self._agent_id)
        status.timestamp, status.uuid = now, token
        self._updates[token] = update
        self.send(made)

    def _give_up(self) -> None:
        if not self._connected:
            self._shut_down()

    def _shut_down(self) -> None:
        say("shutdown")
        self.over.set()


def say(*words: str) -> None:
    """Tell on stdout."""
    print(*words, flush=True)


async def main() -> None:
    """Run until the agent wants the end."""
    async with V0Executor().running() as executor:
        executor.register()
        await executor.over.wait()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
