# SPDX-License-Identifier: Apache-2.0
"""Checks of tasks from their first run to what the agent is told of them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.executor.conftest import Skip, Start
from tests.executor.fake_agent import EXECUTOR, Ask, FakeAgent, shell_task

CHECKED = v1.TaskStatus.REASON_TASK_CHECK_STATUS_UPDATED
HEALTH = v1.TaskStatus.REASON_TASK_HEALTH_CHECK_STATUS_UPDATED
KILLING = v1.FrameworkInfo.Capability.TASK_KILLING_STATE
LAUNCH = agent_pb2.Call.LAUNCH_CONTAINER
SESSION = agent_pb2.Call.LAUNCH_NESTED_CONTAINER_SESSION
WAIT = agent_pb2.Call.WAIT_NESTED_CONTAINER
KILL = agent_pb2.Call.KILL_NESTED_CONTAINER
REMOVE = agent_pb2.Call.REMOVE_NESTED_CONTAINER
#: Seconds that nobody waits for.
NEVER_S = 10_000.0


def checked(
    script: str, *, interval_s: float = 0.01, timeout_s: float = 0, task_id: str = EXECUTOR
) -> v1.TaskInfo:
    """A task with a check."""
    task = shell_task("sleep 1000", task_id)
    task.check.type = v1.CheckInfo.COMMAND
    task.check.command.command.value = script
    _schedule(task.check, interval_s, timeout_s)
    return task


def watched(
    script: str, failures: int, *, interval_s: float = 0.01, task_id: str = EXECUTOR
) -> v1.TaskInfo:
    """A task with a health check."""
    task = shell_task("sleep 1000", task_id)
    task.health_check.type = v1.HealthCheck.COMMAND
    task.health_check.command.value = script
    task.health_check.consecutive_failures = failures
    task.health_check.grace_period_seconds = 0
    _schedule(task.health_check, interval_s, 0)
    return task


def _schedule(info: v1.CheckInfo | v1.HealthCheck, interval_s: float, timeout_s: float) -> None:
    info.delay_seconds = 0
    info.interval_seconds = interval_s
    info.timeout_seconds = timeout_s


def next_update(agent: FakeAgent) -> v1.TaskStatus:
    status = agent.call(api.Call.UPDATE).update.status
    agent.acknowledge(status)
    return status


def test_a_check_tells_its_exit_codes(agent: FakeAgent, start: Start) -> None:
    """What is new of them, in statuses that are else the last one."""
    executor = start()
    agent.start_task(checked("echo x >> runs; exit $(($(wc -l < runs) / 3))"))
    first = next_update(agent)
    assert (first.state, first.reason) == (v1.TASK_RUNNING, CHECKED)
    assert first.check_status.command.exit_code == 0
    assert not first.HasField("healthy")
    second = next_update(agent)
    assert second.check_status.command.exit_code == 1
    assert second.uuid != first.uuid
    agent.kill()
    while (status := next_update(agent)).state == v1.TASK_RUNNING:
        assert status.reason == CHECKED
    assert status.state == v1.TASK_KILLED
    assert status.check_status.HasField("command")
    assert not status.check_status.command.HasField("exit_code")
    assert executor.wait(agent) == 0


def test_how_a_command_of_a_check_is_run(agent: FakeAgent, start: Start) -> None:
    executor = start(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="a.b.c", MINE="of the executor")
    task = checked("cat; env; echo to stdout; exit 4", interval_s=NEVER_S)
    variables = task.check.command.command.environment.variables
    variables.add(name="OWN", value="of the check")
    secret = variables.add(name="SECRET", type=v1.Environment.Variable.SECRET)
    secret.secret.type = v1.Secret.VALUE
    task.command.environment.variables.add(name="TASKS", value="x")
    agent.start_task(task)
    assert next_update(agent).check_status.command.exit_code == 4
    said = executor.output("stderr").splitlines()
    assert {"MINE=of the executor", "OWN=of the check", "to stdout"} <= set(said)
    assert not [line for line in said if line.startswith(("TASKS=", "SECRET=", "MESOS_EXECUTOR_A"))]
    agent.kill()
    assert next_update(agent).state == v1.TASK_KILLED
    assert executor.wait(agent) == 0


def test_commands_that_tell_nothing(agent: FakeAgent, start: Start, skip: Skip) -> None:
    """One that takes too long dies with all that it started; so does one that is killed."""
    executor = start()
    script = "echo x >> runs; [ $(wc -l < runs) = 1 ] && exit 5; sleep 5000 & echo $! > pid; wait"
    task = checked(script, interval_s=90, timeout_s=90)
    agent.start_task(task)
    assert next_update(agent).check_status.command.exit_code == 5
    skip()
    path = os.path.join(executor.sandbox, "pid")
    agent.serve(lambda: os.path.exists(path) and os.path.getsize(path) > 1)
    skip()
    lost = next_update(agent)
    assert not lost.check_status.command.HasField("exit_code")
    assert "Command timed out after 90secs" in executor.output("stderr")
    with open(path, encoding="ascii") as file:
        pid = int(file.read())
    agent.serve(lambda: not _runs(pid))
    agent.kill()
    assert next_update(agent).state == v1.TASK_KILLED
    assert executor.wait(agent) == 0


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_unhealthy_task_is_killed(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(watched("exit 1", failures=3), KILLING)
    for _ in range(3):
        status = next_update(agent)
        assert (status.state, status.reason) == (v1.TASK_RUNNING, HEALTH)
        assert status.healthy is False
    assert next_update(agent).state == v1.TASK_KILLING
    killed = next_update(agent)
    assert (killed.state, killed.healthy) == (v1.TASK_KILLED, False)
    assert not killed.HasField("reason")
    assert executor.wait(agent) == 0


def test_a_task_that_recovers(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(watched("echo x >> runs; [ $(wc -l < runs) -ne 2 ]", failures=5))
    assert [next_update(agent).healthy for _ in range(3)] == [True, False, True]
    agent.kill()
    killed = next_update(agent)
    assert killed.state == v1.TASK_KILLED
    assert not killed.HasField("healthy")
    assert executor.wait(agent) == 0


def test_check_and_health_check_of_one_task(agent: FakeAgent, start: Start) -> None:
    """None of them takes back what the other one told."""
    executor = start()
    task = checked("exit 3", interval_s=NEVER_S)
    task.health_check.CopyFrom(watched("true", 1, interval_s=NEVER_S).health_check)
    agent.start_task(task)
    both = [next_update(agent) for _ in range(2)]
    assert {status.reason for status in both} == {CHECKED, HEALTH}
    assert both[1].healthy
    assert both[1].check_status.command.exit_code == 3
    agent.kill()
    assert next_update(agent).state == v1.TASK_KILLED
    assert executor.wait(agent) == 0


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_checks_without_commands(agent: FakeAgent, start: Start, listening: int) -> None:
    executor = start()
    task = shell_task("sleep 1000")
    task.check.type = v1.CheckInfo.TCP
    task.check.tcp.port = listening
    _schedule(task.check, NEVER_S, 0)
    task.health_check.type = v1.HealthCheck.HTTP
    task.health_check.http.port = 0
    task.health_check.consecutive_failures = 1000
    task.health_check.grace_period_seconds = 0
    _schedule(task.health_check, NEVER_S, 0)
    agent.start_task(task)
    both = {status.reason: status for status in (next_update(agent), next_update(agent))}
    assert both[CHECKED].check_status.tcp.succeeded
    assert both[HEALTH].healthy is False
    agent.kill()
    assert next_update(agent).state == v1.TASK_KILLED
    assert executor.wait(agent) == 0


# The default executor.


def run_task(agent: FakeAgent, task: v1.TaskInfo) -> tuple[v1.ContainerID, Ask]:
    """Have the only task of a group run; return its container and the wait for it."""
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed(KILLING)
    agent.launch_group(task)
    assert next_update(agent).state == v1.TASK_STARTING
    launch = agent.ask(LAUNCH)
    launch.answer()
    assert next_update(agent).state == v1.TASK_RUNNING
    wait = agent.ask(WAIT)
    return launch.call.launch_container.container_id, wait


def run_session(agent: FakeAgent, exit_status: int | None) -> v1.ContainerID:
    """Have a command of a check run; return its container."""
    session = agent.ask(SESSION)
    session.answer()
    wait = agent.ask(WAIT)
    container = session.call.launch_nested_container_session.container_id
    assert wait.call.wait_nested_container.container_id == container
    wait.end(exit_status)
    return container


def test_commands_run_in_the_container_of_the_task(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="a.b.c")
    container, end = run_task(agent, checked("./check", task_id="a"))
    session = agent.ask(SESSION)
    for header in (
        "Content-Type: application/x-protobuf",
        "Accept: application/recordio",
        "Message-Accept: application/x-protobuf",
        "Authorization: Bearer a.b.c",
    ):
        assert f"\r\n{header}\r\n" in session.head + "\r\n"
    launch = session.call.launch_nested_container_session
    assert launch.command.value == "./check"
    assert launch.container_id.value.startswith("check-")
    assert launch.container_id.parent == container
    said = agent_pb2.ProcessIO(type=agent_pb2.ProcessIO.DATA)
    said.data.type = agent_pb2.ProcessIO.Data.STDOUT
    said.data.data = b"a word from the check\n"
    record = said.SerializeToString()
    session.answer(200, str(len(record)).encode() + b"\n" + record)
    agent.ask(WAIT).end(7 << 8)
    status = next_update(agent)
    assert (status.reason, status.check_status.command.exit_code) == (CHECKED, 7)
    assert status.container_status.container_id == container
    assert "a word from the check" in executor.output("stderr")
    # What it has left is removed before the next one; none of these says anything.
    remove = agent.ask(REMOVE)
    assert remove.call.remove_nested_container.container_id == launch.container_id
    remove.answer(500, "Nested container has not terminated yet")
    agent.ask(REMOVE).answer()
    agent.ask(SESSION).answer(400, "no")
    agent.ask(WAIT).answer(404)
    agent.ask(REMOVE).answer()
    run_session(agent, int(signal.SIGKILL))
    agent.ask(REMOVE).answer()
    run_session(agent, 0)
    assert next_update(agent).check_status.command.exit_code == 0
    end.end(0)
    # The run that is under way by now does not count.
    last = next_update(agent)
    assert last.state == v1.TASK_FINISHED
    assert not last.check_status.command.HasField("exit_code")
    assert executor.wait(agent) == 0


def test_a_command_that_takes_too_long(agent: FakeAgent, start_default: Start, skip: Skip) -> None:
    executor = start_default()
    task = checked("sleep 1000", interval_s=NEVER_S, timeout_s=90, task_id="a")
    task.health_check.CopyFrom(watched("sleep 1000", 1).health_check)
    task.ClearField("check")
    task.health_check.timeout_seconds = 90
    _, end = run_task(agent, task)
    session = agent.ask(SESSION)
    skip()
    wait = agent.ask(WAIT)
    # The agent kills a session whose client has gone.
    agent.serve(lambda: session.peer not in agent.peers)
    wait.end(int(signal.SIGKILL))
    assert next_update(agent).healthy is False
    assert "Command timed out after 90secs" in executor.output("stderr")
    assert next_update(agent).state == v1.TASK_KILLING
    agent.ask(KILL).answer()
    end.end(int(signal.SIGTERM))
    killed = next_update(agent)
    assert (killed.state, killed.healthy) == (v1.TASK_KILLED, False)
    assert executor.wait(agent) == 0


def test_checks_pause_while_the_agent_is_away(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default(
        MESOS_CHECKPOINT="1",
        MESOS_RECOVERY_TIMEOUT="1mins",
        MESOS_SUBSCRIPTION_BACKOFF_MAX="100ms",
    )
    run_task(agent, checked("./check", interval_s=NEVER_S, task_id="a"))
    run_session(agent, 1 << 8)
    assert next_update(agent).check_status.command.exit_code == 1
    agent.drop()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    end = agent.ask(WAIT)
    # At once, and what was known is known.
    agent.ask(REMOVE).answer()
    run_session(agent, 2 << 8)
    assert next_update(agent).check_status.command.exit_code == 2
    end.end(0)
    assert next_update(agent).state == v1.TASK_FINISHED
    assert executor.wait(agent) == 0


def test_checks_of_the_network(agent: FakeAgent, start_default: Start, listening: int) -> None:
    executor = start_default()
    task = shell_task("sleep 1000", "a")
    task.check.type = v1.CheckInfo.TCP
    task.check.tcp.port = listening
    _schedule(task.check, NEVER_S, 0)
    _, end = run_task(agent, task)
    assert next_update(agent).check_status.tcp.succeeded
    end.end(0)
    assert next_update(agent).state == v1.TASK_FINISHED
    assert executor.wait(agent) == 0
