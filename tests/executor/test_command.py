# SPDX-License-Identifier: Apache-2.0
"""The command executor against an agent: the sequences recorded from upstream's."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from containerizer.linux import proc
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.executor.conftest import Skip, Start
from tests.executor.fake_agent import FakeAgent, RunningExecutor, shell_task

KILLING = v1.FrameworkInfo.Capability.TASK_KILLING_STATE


def ends(agent: FakeAgent, task: v1.TaskInfo, state: int) -> v1.TaskStatus:
    """Run ``task`` to its end, which has to be ``state``."""
    agent.start_task(task)
    return agent.update(state)


@pytest.mark.parametrize(
    ("command", "state", "message"),
    [
        ("true", v1.TASK_FINISHED, "Command exited with status 0"),
        ("exit 3", v1.TASK_FAILED, "Command exited with status 3"),
        ("kill -SEGV $$", v1.TASK_FAILED, "Command terminated with signal Segmentation fault"),
        ("kill -TERM $$", v1.TASK_FAILED, "Command terminated with signal Terminated"),
        ("nosuchcommand-x", v1.TASK_FAILED, "Command exited with status 127"),
    ],
)
def test_ends(agent: FakeAgent, start: Start, command: str, state: int, message: str) -> None:
    executor = start()
    status = ends(agent, shell_task(f"ulimit -c 0; {command}"), state)
    assert (status.message, status.HasField("reason")) == (message, False)
    assert executor.wait(agent) == 0
    assert re.search(rf"\] {message} \(pid: \d+\)\n", executor.output("stderr"))


@pytest.mark.parametrize("name", ["nosuchcommand-x", "/nosuch/path", "./nosuch"])
def test_a_program_that_is_not_there(agent: FakeAgent, start: Start, name: str) -> None:
    executor = start()
    task = shell_task(name)
    task.command.shell = False
    status = ends(agent, task, v1.TASK_FAILED)
    assert status.message == "Command exited with status 1"
    assert executor.wait(agent) == 0
    assert f"Failed to execute '{name}': No such file or directory" in executor.output("stderr")


def test_statuses_are_complete_and_lines_are_those_known(agent: FakeAgent, start: Start) -> None:
    executor = start()
    subscribe = agent.request()
    assert subscribe.head.startswith("POST /slave(1)/api/v1/executor HTTP/1.1\r\n")
    assert "Accept: application/x-protobuf" in subscribe.head
    assert "Authorization" not in subscribe.head
    assert subscribe.call.HasField("subscribe")
    assert (subscribe.call.framework_id.value, subscribe.call.executor_id.value) == ("f-0000", "t")
    agent.subscribed()
    agent.launch(shell_task("echo out; echo err >&2"))
    before = time.time()
    seen = [agent.update(s) for s in (v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED)]
    assert len({status.uuid for status in seen}) == 3
    for status in seen:
        assert len(status.uuid) == 16
        assert status.source == v1.TaskStatus.SOURCE_EXECUTOR
        assert status.executor_id.value == "t"
        assert abs(status.timestamp - before) < 60
        assert not status.HasField("agent_id")
        assert not status.HasField("check_status")
    assert executor.wait(agent) == 0
    assert executor.output() == "out\n"
    lines = executor.output("stderr")
    assert "err\n" in lines
    expected = [
        "Received SUBSCRIBED event",
        "Subscribed executor on agent.example",
        "Received LAUNCH event",
        "Starting task t",
        r"Forked command at \d+",
        r"Command exited with status 0 \(pid: \d+\)",
    ]
    glog = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] "
    assert re.search(".*".join(glog + line + "\n" for line in expected), lines, re.DOTALL)


def test_all_updates_go_out_without_waiting_for_acknowledgements(
    agent: FakeAgent, start: Start
) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    agent.launch(shell_task("true"))
    states = (v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED)
    for status in [agent.update(state, acknowledge=False) for state in states]:
        agent.acknowledge(status)
    assert executor.wait(agent) == 0


def test_environment_precedence(agent: FakeAgent, start: Start) -> None:
    executor = start(
        '--task_environment={"variables":[{"name":"B","value":"img"},{"name":"A","value":"img"}]}',
        MESOS_EXECUTOR_AUTHENTICATION_TOKEN="secret",
        MINE="1",
        B="exec",
    )
    task = shell_task("env; pwd")
    task.command.environment.variables.add(name="B", value="task")
    task.command.environment.variables.add(name="MESOS_CHECKPOINT", value="x")
    hidden = task.command.environment.variables.add(name="S")
    hidden.type = v1.Environment.Variable.SECRET
    hidden.secret.type = v1.Secret.VALUE
    ends(agent, task, v1.TASK_FINISHED)
    executor.wait(agent)
    lines = executor.output().splitlines()
    shown = dict(line.split("=", 1) for line in lines[:-1])
    assert shown["A"] == "img"
    assert shown["B"] == "task"
    assert shown["MINE"] == "1"
    assert shown["MESOS_CHECKPOINT"] == "x"
    assert shown["MESOS_ALLOCATION_ROLE"] == "web"
    assert shown["MESOS_EXECUTOR_ID"] == "t"
    assert "S" not in shown
    assert "MESOS_EXECUTOR_AUTHENTICATION_TOKEN" not in shown
    assert lines[-1] == executor.sandbox
    assert executor.output("stderr").count("Overwriting environment variable 'B'") == 2


def test_token_goes_with_every_call(agent: FakeAgent, start: Start) -> None:
    start(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="a.b.c")
    assert "Authorization: Bearer a.b.c\r\n" in agent.request().head
    agent.subscribed()
    agent.launch(shell_task("true"))
    assert "Authorization: Bearer a.b.c" in agent.request().head


def test_the_images_command_wins(agent: FakeAgent, start: Start) -> None:
    executor = start(
        '--task_command={"shell":false,"value":"echo","arguments":["echo","from","image"]}'
    )
    task = shell_task("")
    task.command.Clear()
    task.command.shell = False
    ends(agent, task, v1.TASK_FINISHED)
    executor.wait(agent)
    assert executor.output() == "from image\n"


@pytest.mark.parametrize("shell", [True, False])
def test_a_command_without_value_ends_the_executor(
    agent: FakeAgent, start: Start, shell: bool
) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    task = shell_task("")
    task.command.ClearField("value")
    task.command.shell = shell
    agent.launch(task)
    agent.update(v1.TASK_STARTING)
    assert executor.wait(agent) == 1
    assert not agent.requests


def test_unusable_environment_fails_the_task(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    task = shell_task("true")
    task.command.environment.variables.add(name="a=b", value="c")
    agent.launch(task)
    agent.update(v1.TASK_STARTING)
    assert "a=b" in agent.update(v1.TASK_FAILED).message
    assert executor.wait(agent) == 0


def test_a_second_task_is_refused(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(shell_task("sleep 1000"))
    second = shell_task("true")
    second.task_id.value = "other"
    agent.launch(second)
    refused = agent.update(v1.TASK_FAILED)
    assert refused.task_id.value == "other"
    assert refused.message == 'Attempted to run multiple tasks using a "command" executor'
    agent.kill()
    agent.update(v1.TASK_KILLED)
    assert executor.wait(agent) == 0


def test_a_check_shows_in_every_status(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    task = shell_task("true")
    task.check.type = v1.CheckInfo.TCP
    task.check.tcp.port = 1
    agent.launch(task)
    for state in (v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED):
        status = agent.update(state)
        assert status.check_status.type == v1.CheckInfo.TCP
        assert status.check_status.HasField("tcp")
    executor.wait(agent)


# Killing.


def test_kill(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(shell_task("sleep 1000"))
    agent.kill()
    status = agent.update(v1.TASK_KILLED)
    assert status.message == "Command terminated with signal Terminated"
    assert executor.wait(agent) == 0
    lines = executor.output("stderr")
    assert "Received kill for task t with grace period of 3secs" in lines
    assert "Scheduling escalation to SIGKILL in 3secs from now" in lines


def test_kill_is_shown_to_those_who_want_it_and_a_clean_exit_is_still_a_kill(
    agent: FakeAgent, start: Start
) -> None:
    executor = start()
    agent.start_task(
        shell_task("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"), KILLING
    )
    agent.serve(lambda: executor.output() == "up\n")
    agent.kill()
    agent.kill()
    agent.update(v1.TASK_KILLING)
    assert agent.update(v1.TASK_KILLED).message == "Command exited with status 0"
    assert executor.wait(agent) == 0


def test_escalation_reaches_what_the_task_left_behind(agent: FakeAgent, start: Start) -> None:
    executor = start()
    task = shell_task("trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 1; done")
    task.kill_policy.grace_period.nanoseconds = 50_000_000
    agent.start_task(task)
    agent.serve(lambda: executor.output().endswith("\n"))
    orphan = int(executor.output())
    agent.kill()
    status = agent.update(v1.TASK_KILLED)
    assert status.message == "Command terminated with signal Killed"
    assert executor.wait(agent) == 0
    lines = executor.output("stderr")
    assert re.search(r"\[ \n-\+- \d+ sh -c trap '' TERM; .* \n", lines)
    assert f"--- {orphan} sleep 1000 " in lines
    assert re.search(r"Process (\d+) did not terminate after 50ms, sending SIGKILL", lines)
    agent.serve(lambda: proc.is_zombie_or_gone(orphan))


def test_a_second_kill_can_only_shorten(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(shell_task("trap '' TERM; echo up; while :; do sleep 1; done"))
    agent.serve(lambda: executor.output() == "up\n")
    agent.kill(1000)
    agent.kill(2000)
    agent.kill(0.02)
    assert agent.update(v1.TASK_KILLED).message == "Command terminated with signal Killed"
    assert executor.wait(agent) == 0
    assert executor.output("stderr").count("Sending SIGTERM") == 1


def test_kill_of_another_task_is_ignored(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(shell_task("sleep 0.05"))
    agent.kill(task_id="other")
    agent.update(v1.TASK_FINISHED)
    assert executor.wait(agent) == 0


def test_max_completion_time(agent: FakeAgent, start: Start) -> None:
    executor = start()
    task = shell_task("sleep 1000")
    task.max_completion_time.nanoseconds = 50_000_000
    agent.start_task(task, KILLING)
    status = agent.update(v1.TASK_FAILED)
    assert status.reason == v1.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED
    assert status.message == "Command terminated with signal Terminated"
    assert executor.wait(agent) == 0
    assert "Task t has a max completion time of 50ms" in executor.output("stderr")


def test_shutdown_kills_with_what_is_left_of_the_grace_period(
    agent: FakeAgent, start: Start
) -> None:
    executor = start(MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="2050ms")
    agent.start_task(shell_task("trap '' TERM; echo up; while :; do sleep 1; done"))
    agent.serve(lambda: executor.output() == "up\n")
    agent.shutdown()
    assert agent.update(v1.TASK_KILLED).message == "Command terminated with signal Killed"
    assert executor.wait(agent) == 0
    assert "Scheduling escalation to SIGKILL in 50ms from now" in executor.output("stderr")


def test_shutdown_without_a_task(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.shutdown()
    assert executor.wait(agent) == 0


def test_a_group_is_refused(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    event = api.Event(type=api.Event.LAUNCH_GROUP)
    event.launch_group.task_group.SetInParent()
    agent.send(event)
    assert executor.wait(agent) == 0


def test_on_a_kernel_without_pidfds(
    agent: FakeAgent, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    for command, state in (("true", v1.TASK_FINISHED), ("sleep 0.05; exit 1", v1.TASK_FAILED)):
        executor = start()
        ends(agent, shell_task(command), state)
        assert executor.wait(agent) == 0


# Losing the agent.


def lasting(start: Start) -> RunningExecutor:
    return start(
        MESOS_CHECKPOINT="1",
        MESOS_RECOVERY_TIMEOUT="1mins",
        MESOS_SUBSCRIPTION_BACKOFF_MAX="20ms",
    )


def release(agent: FakeAgent, executor: RunningExecutor) -> None:
    """Let a task go on that reads from its ``fifo``."""
    fifo = Path(executor.sandbox, "fifo")
    agent.serve(fifo.exists)
    fifo.write_text("x\n")


def test_without_checkpointing_a_lost_agent_ends_the_task(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.start_task(shell_task("sleep 1000"))
    agent.drop()
    agent.listener.listen(0)
    assert executor.wait(agent) == 0
    assert "Command terminated with signal Terminated" in executor.output("stderr")


def test_no_agent_at_all(agent: FakeAgent, start: Start) -> None:
    executor = start(MESOS_SLAVE_PID="slave(1)@127.0.0.1:1")
    assert executor.wait(agent) == 0


def test_the_agent_returns(agent: FakeAgent, start: Start) -> None:
    executor = lasting(start)
    agent.start_task(shell_task("mkfifo fifo; read x < fifo; exit 7"))
    agent.drop()
    again = agent.call(api.Call.SUBSCRIBE).subscribe
    assert not again.unacknowledged_tasks
    assert not again.unacknowledged_updates
    agent.subscribed()
    release(agent, executor)
    assert agent.update(v1.TASK_FAILED).message == "Command exited with status 7"
    assert executor.wait(agent) == 0


def test_what_was_not_acknowledged_is_told_again(agent: FakeAgent, start: Start) -> None:
    executor = lasting(start)
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    agent.launch(shell_task("true"))
    states = [v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED]
    first = [agent.update(state, acknowledge=False) for state in states]
    agent.drop()
    again = agent.call(api.Call.SUBSCRIBE).subscribe
    assert [task.task_id.value for task in again.unacknowledged_tasks] == ["t"]
    assert [update.status for update in again.unacknowledged_updates] == first
    agent.subscribed()
    agent.acknowledge(first[0])
    agent.acknowledge(first[1])
    agent.end_stream()
    again = agent.call(api.Call.SUBSCRIBE).subscribe
    assert not again.unacknowledged_tasks
    assert [update.status for update in again.unacknowledged_updates] == first[2:]
    agent.subscribed()
    agent.acknowledge(first[2])
    assert executor.wait(agent) == 0


def test_an_update_made_while_subscribing_follows(agent: FakeAgent, start: Start) -> None:
    executor = lasting(start)
    agent.start_task(shell_task("mkfifo fifo; read x < fifo"))
    agent.drop()
    agent.call(api.Call.SUBSCRIBE)
    release(agent, executor)
    agent.serve(lambda: "exited with" in executor.output("stderr"))
    agent.subscribed()
    agent.update(v1.TASK_FINISHED)
    assert executor.wait(agent) == 0


def test_a_recovery_that_takes_too_long(agent: FakeAgent, start: Start) -> None:
    executor = start(
        MESOS_CHECKPOINT="1",
        MESOS_RECOVERY_TIMEOUT="50ms",
        MESOS_SUBSCRIPTION_BACKOFF_MAX="10ms",
    )
    agent.start_task(shell_task("sleep 1000"))
    agent.listener.close()
    agent.drop()
    agent.listener = socket.create_server(("127.0.0.1", 0))
    assert executor.wait(agent) == 0
    assert "Recovery timeout exceeded" in executor.output("stderr")


def test_a_starting_agent_gets_the_update_later(
    agent: FakeAgent, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesos_compat.executor.client.RETRY_S", 0.02)
    agent.refuse[api.Call.SUBSCRIBE] = deque([(503, "starting")])
    agent.refuse[api.Call.UPDATE] = deque([(503, "Agent has not finished recovery")])
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    agent.launch(shell_task("sleep 1000"))
    refused = agent.update(v1.TASK_STARTING, acknowledge=False)
    agent.update(v1.TASK_RUNNING)
    again = agent.update(v1.TASK_STARTING)
    assert again.uuid == refused.uuid
    agent.kill()
    agent.update(v1.TASK_KILLED)
    assert executor.wait(agent) == 0


def test_a_refusal_is_an_error_in_the_log(agent: FakeAgent, start: Start) -> None:
    agent.refuse[api.Call.SUBSCRIBE] = deque([(400, "Framework cannot be found")])
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    wanted = "Error: Received unexpected '400 No' (Framework cannot be found) for SUBSCRIBE"
    agent.serve(
        lambda: os.path.exists(executor.sandbox + "/stderr") and wanted in executor.output("stderr")
    )


def test_the_last_acknowledgement_is_not_waited_for_for_ever(
    agent: FakeAgent, start: Start, skip: Skip
) -> None:
    executor = start()
    agent.start_task(shell_task("true"))
    agent.update(v1.TASK_FINISHED, acknowledge=False)
    skip()
    assert executor.wait(agent) == 1
    assert "Did not receive ACK for the terminal status update" in executor.output("stderr")


@pytest.mark.parametrize("ended", [False, True])
def test_after_a_shutdown_the_acknowledgement_is_not_waited_for_long(
    agent: FakeAgent, start: Start, monkeypatch: pytest.MonkeyPatch, ended: bool, skip: Skip
) -> None:
    monkeypatch.setattr("mesos_compat.executor.program.ACK_TIMEOUT_S", 1000.0)
    executor = start(MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="1000secs")
    agent.start_task(shell_task("true" if ended else "sleep 1000"))
    if ended:
        agent.update(v1.TASK_FINISHED, acknowledge=False)
    agent.shutdown()
    if not ended:
        agent.update(v1.TASK_KILLED, acknowledge=False)
    skip()
    assert executor.wait(agent) == 0


def test_an_executor_that_outlives_its_shutdown_kills_itself(
    agent: FakeAgent, start: Start, monkeypatch: pytest.MonkeyPatch, skip: Skip
) -> None:
    monkeypatch.setattr("mesos_compat.executor.program.SHUTDOWN_ACK_TIMEOUT_S", 1000.0)
    monkeypatch.setattr("mesos_compat.executor.program.ACK_TIMEOUT_S", 1000.0)
    executor = start(MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="50secs")
    agent.start_task(shell_task("sleep 1000"))
    agent.shutdown()
    agent.update(v1.TASK_KILLED, acknowledge=False)
    skip()
    assert executor.wait(agent) == -9


def test_garbage_is_a_disconnection(agent: FakeAgent, start: Start) -> None:
    executor = start()
    agent.call(api.Call.SUBSCRIBE)
    assert agent.stream is not None
    agent.stream.socket.sendall(b"5\r\nx\nabc\r\n")
    assert executor.wait(agent) == 0
    assert "unusable event" in executor.output("stderr")


def test_domain_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    agent = FakeAgent(socket.AF_UNIX, "agent.sock")
    (tmp_path / "s").mkdir()
    path = str(tmp_path / "agent.sock")
    executor = RunningExecutor(agent, str(tmp_path / "s"), [], {"MESOS_DOMAIN_SOCKET": path})
    try:
        assert agent.request().head.startswith("POST /slave(1)/api/v1/executor ")
        agent.subscribed()
        agent.launch(shell_task("true"))
        for state in (v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED):
            agent.update(state)
        assert executor.wait(agent) == 0
    finally:
        executor.stop()
        agent.close()


# Starting up.


@pytest.mark.parametrize(
    ("arguments", "environ", "why"),
    [
        (["--nosuch=1"], {}, "Failed to load unknown flag 'nosuch'"),
        (["--task_command={"], {}, "Failed to load flag 'task_command'"),
        (["--task_environment=[]"], {}, "Expecting a JSON object"),
        (["--no-nosuch"], {}, "Failed to load unknown flag 'nosuch'"),
        (["--user"], {}, "Failed to load non-boolean flag 'user': Missing value"),
        (["--no-user"], {}, "Failed to load non-boolean flag 'user' via 'no-user'"),
        (["--user=a", "--user=a"], {}, "Flag 'user' is already loaded"),
        (["--quiet=x"], {}, "Failed to load boolean flag 'quiet' with value 'x'"),
        (["--logging_level=x"], {}, "'x' is not a valid logging level"),
        (["--task_supplementary_groups=1,x"], {}, "'x' is no group id"),
        ([], {"MESOS_SLAVE_PID": ""}, "Expecting 'MESOS_SLAVE_PID' to be set"),
        ([], {"MESOS_SLAVE_PID": "nonsense"}, "Failed to parse MESOS_SLAVE_PID"),
        ([], {"MESOS_FRAMEWORK_ID": ""}, "Expecting 'MESOS_FRAMEWORK_ID' to be set"),
        ([], {"MESOS_CHECKPOINT": "1"}, "Expecting 'MESOS_RECOVERY_TIMEOUT' to be set"),
        ([], {"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5s"}, "Unknown duration unit 's'"),
    ],
)
def test_bad_starts(
    agent: FakeAgent, start: Start, arguments: list[str], environ: dict[str, str], why: str
) -> None:
    executor = start(*arguments, **environ)
    assert executor.wait(agent) == 1
    assert why in executor.output("stderr")


def test_as_a_program_of_its_own(agent: FakeAgent, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "MESOS_SLAVE_PID": agent.upid,
        "MESOS_FRAMEWORK_ID": "f-0000",
        "MESOS_EXECUTOR_ID": "t",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "mesos_compat.executor.command", "--launcher_dir=/x"],
        cwd=tmp_path,
        env=environ,
        start_new_session=True,
    ) as process:
        agent.start_task(shell_task("pwd > out"))
        agent.update(v1.TASK_FINISHED)
        assert process.wait(10) == 0
    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"


def test_help(agent: FakeAgent, start: Start) -> None:
    executor = start("--help")
    assert executor.wait(agent) == 0
    assert "--task_environment=VALUE" in executor.output()
