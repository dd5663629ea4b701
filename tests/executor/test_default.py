# SPDX-License-Identifier: Apache-2.0
"""The default executor and an agent that a test plays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mesos_compat.base import http1, recordio
from mesos_compat.executor import default
from mesos_compat.executor.groups import ConnectGroup, LaunchNested, TaskGroups
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.executor.conftest import Skip, Start
from tests.executor.fake_agent import Ask, FakeAgent, RunningExecutor, shell_task
from tests.test_house_rules import ROOT

KILLING = v1.FrameworkInfo.Capability.TASK_KILLING_STATE
LAUNCH = agent_pb2.Call.LAUNCH_CONTAINER
WAIT = agent_pb2.Call.WAIT_NESTED_CONTAINER
KILL = agent_pb2.Call.KILL_NESTED_CONTAINER

CHECKPOINTING = {
    "MESOS_CHECKPOINT": "1",
    "MESOS_RECOVERY_TIMEOUT": "1mins",
    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "100ms",
}


def updates(agent: FakeAgent, count: int, acknowledge: bool = True) -> list[tuple[str, str]]:
    """Wait for updates; return task and state of each."""
    found = []
    for _ in range(count):
        status = agent.call(api.Call.UPDATE).update.status
        found.append((status.task_id.value, v1.TaskState.Name(status.state)))
        if acknowledge:
            agent.acknowledge(status)
    return found


def run_group(agent: FakeAgent, *names: str) -> dict[str, Ask]:
    """Launch a group and have all of it run; return the waits by task."""
    agent.launch_group(*(shell_task("sleep 100", name) for name in names))
    assert updates(agent, len(names)) == [(name, "TASK_STARTING") for name in names]
    owners = {}
    for ask in [agent.ask(LAUNCH) for _ in names]:
        launch = ask.call.launch_container
        owners[launch.container_id.value] = launch
        ask.answer()
    assert updates(agent, len(names)) == [(name, "TASK_RUNNING") for name in names]
    waits = [agent.ask(WAIT) for _ in names]
    by_id = {wait.call.wait_nested_container.container_id.value: wait for wait in waits}
    assert by_id.keys() == owners.keys()
    # Containers are launched in the order of their tasks, but may arrive in any.
    return {name: by_id[container] for name, container in zip(names, owners, strict=True)}


def begin(agent: FakeAgent, *names: str) -> dict[str, Ask]:
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed(KILLING)
    return run_group(agent, *names)


def test_a_group_from_beginning_to_end(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default(MESOS_EXECUTOR_AUTHENTICATION_TOKEN="a.b.c", LIBPROCESS_IP="10.1.2.3")
    subscribe = agent.request()
    assert "Authorization: Bearer a.b.c\r\n" in subscribe.head
    agent.subscribed(KILLING)
    agent.launch_group(shell_task("sleep 100", "a"))
    starting = agent.call(api.Call.UPDATE).update.status
    assert starting.state == v1.TASK_STARTING
    container = starting.container_status.container_id
    assert container.parent.value == "c-0"
    agent.acknowledge(starting)
    launch = agent.ask(LAUNCH)
    assert launch.head.startswith("POST /slave(1)/api/v1 HTTP/1.1\r\n")
    for header in (
        "Content-Type: application/x-protobuf",
        "Accept: application/x-protobuf",
        "Authorization: Bearer a.b.c",
    ):
        assert f"{header}\r\n" in launch.head + "\r\n"
    assert launch.call.launch_container.container_id == container
    variables = launch.call.launch_container.command.environment.variables
    assert [(each.name, each.value) for each in variables] == [
        ("MESOS_CONTAINER_IP", "10.1.2.3"),
        ("MESOS_ALLOCATION_ROLE", "web"),
    ]
    launch.answer()
    assert agent.update(v1.TASK_RUNNING).container_status.container_id == container
    link = os.path.join(executor.sandbox, "tasks", "a")
    assert os.readlink(link) == f"{executor.sandbox}/containers/{container.value}"
    wait = agent.ask(WAIT)
    # On the same connection: there is one for each container.
    assert wait.peer is launch.peer
    wait.end(0)
    finished = agent.update(v1.TASK_FINISHED)
    assert finished.message == "Command exited with status 0"
    assert finished.source == v1.TaskStatus.SOURCE_EXECUTOR
    assert finished.container_status.container_id == container
    assert executor.wait(agent) == 0


def test_who_fails_takes_the_others_along(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default()
    waits = begin(agent, "a", "b")
    waits["a"].end(5 << 8)
    told = updates(agent, 2)
    assert told == [("a", "TASK_FAILED"), ("b", "TASK_KILLING")]
    kill = agent.ask(KILL)
    assert kill.call.kill_nested_container.signal == signal.SIGTERM
    kill.answer()
    waits["b"].end(int(signal.SIGTERM))
    assert updates(agent, 1) == [("b", "TASK_KILLED")]
    assert executor.wait(agent) == 0


def test_a_kill_escalates_until_it_succeeds(
    agent: FakeAgent, start_default: Start, skip: Skip
) -> None:
    executor = start_default()
    waits = begin(agent, "a")
    agent.kill(grace_s=90, task_id="a")
    assert updates(agent, 1) == [("a", "TASK_KILLING")]
    agent.ask(KILL).answer()
    for status in (500, 200):
        skip()
        kill = agent.ask(KILL)
        assert kill.call.kill_nested_container.signal == signal.SIGKILL
        kill.answer(status)
    waits["a"].end(int(signal.SIGKILL))
    assert agent.update(v1.TASK_KILLED).message == "Command terminated with signal Killed"
    assert executor.wait(agent) == 0


def test_another_group_keeps_the_executor(
    agent: FakeAgent, start_default: Start, skip: Skip
) -> None:
    """Even if it was about to leave, and the first group was acknowledged late."""
    executor = start_default()
    waits = begin(agent, "a")
    waits["a"].end(0)
    last = agent.update(v1.TASK_FINISHED, acknowledge=False)
    again = run_group(agent, "b")
    skip()
    agent.acknowledge(last)
    again["b"].end(0)
    assert updates(agent, 1) == [("b", "TASK_FINISHED")]
    assert executor.wait(agent) == 0


def test_the_agent_is_restarted(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default(**CHECKPOINTING)
    waits = begin(agent, "a", "b")
    waits["a"].end(0)
    agent.update(v1.TASK_FINISHED, acknowledge=False)
    agent.launch_group(shell_task("sleep 100", "c"))
    agent.call(api.Call.UPDATE)
    agent.ask(LAUNCH)
    agent.drop()
    subscribe = agent.call(api.Call.SUBSCRIBE).subscribe
    assert [task.task_id.value for task in subscribe.unacknowledged_tasks] == ["c"]
    told = [(u.status.task_id.value, u.status.state) for u in subscribe.unacknowledged_updates]
    assert told == [("a", v1.TASK_FINISHED), ("c", v1.TASK_STARTING)]
    agent.subscribed(KILLING)
    for update in subscribe.unacknowledged_updates:
        agent.acknowledge(update.status)
    # The launch has failed for all that is known; the container may be there all the same.
    kill = agent.ask(KILL)
    assert kill.call.kill_nested_container.signal == signal.SIGKILL
    kill.answer(404)
    names = {waits["b"].call.wait_nested_container.container_id.value: "b"}
    states: dict[str, str] = {}
    while len(states) < 2:
        # A wait of before the new subscription may be asked again.
        agent.serve(lambda: bool(agent.requests) or any(a.call.type == WAIT for a in agent.asked))
        if agent.requests:
            states |= updates(agent, 1)
            continue
        wait = agent.ask(WAIT)
        if names.get(wait.call.wait_nested_container.container_id.value) == "b":
            wait.end(3 << 8)
        else:
            wait.answer(404)
    assert states == {"b": "TASK_FAILED", "c": "TASK_FAILED"}
    assert executor.wait(agent) == 0


def test_an_agent_that_is_still_recovering(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default(**CHECKPOINTING)
    begin(agent, "a")
    agent.drop()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    agent.ask(WAIT).answer(503, "Agent has not finished recovery")
    agent.ask(WAIT).end(0)
    assert updates(agent, 1) == [("a", "TASK_FINISHED")]
    assert executor.wait(agent) == 0


def test_the_agent_is_gone_for_good(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default()
    begin(agent, "a")
    agent.drop()
    assert executor.wait(agent) == 0


def test_shutdown(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default(MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="1000secs")
    waits = begin(agent, "a", "b")
    agent.shutdown()
    assert updates(agent, 2) == [("a", "TASK_KILLING"), ("b", "TASK_KILLING")]
    for _ in range(2):
        agent.ask(KILL).answer()
    for wait in waits.values():
        wait.end(int(signal.SIGTERM))
    assert {state for _, state in updates(agent, 2)} == {"TASK_KILLED"}
    assert executor.wait(agent) == 0


def test_after_a_shutdown_the_acknowledgement_is_not_waited_for_long(
    agent: FakeAgent, start_default: Start, skip: Skip
) -> None:
    executor = start_default(MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD="1000secs")
    waits = begin(agent, "a")
    agent.shutdown()
    updates(agent, 1)
    agent.ask(KILL).answer()
    waits["a"].end(int(signal.SIGTERM))
    agent.update(v1.TASK_KILLED, acknowledge=False)
    skip()
    assert executor.wait(agent) == 0


def test_the_last_acknowledgement_is_not_waited_for_for_ever(
    agent: FakeAgent, start_default: Start, skip: Skip
) -> None:
    executor = start_default()
    begin(agent, "a")["a"].end(0)
    agent.update(v1.TASK_FINISHED, acknowledge=False)
    skip()
    assert executor.wait(agent) == 0
    assert "Did not receive ACK for the terminal status update" in executor.output("stderr")


def test_a_task_alone_is_refused(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default()
    agent.call(api.Call.SUBSCRIBE)
    agent.subscribed()
    agent.launch(shell_task("true"))
    assert executor.wait(agent) == 0
    assert "LAUNCH event is not supported" in executor.output("stderr")


def test_names_that_are_no_file_names(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default()
    begin(agent, "../x")["../x"].end(0)
    assert updates(agent, 1) == [("../x", "TASK_FINISHED")]
    assert executor.wait(agent) == 0
    assert sorted(os.listdir(executor.sandbox)) == ["stderr", "stdout"]


def test_an_id_that_comes_again(agent: FakeAgent, start_default: Start) -> None:
    executor = start_default()
    begin(agent, "a")["a"].end(0)
    agent.update(v1.TASK_FINISHED, acknowledge=False)
    again = run_group(agent, "a")["a"]
    name = again.call.wait_nested_container.container_id.value
    assert os.readlink(os.path.join(executor.sandbox, "tasks", "a")).endswith(name)
    again.end(0)
    agent.update(v1.TASK_FINISHED)


def test_domain_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    agent = FakeAgent(socket.AF_UNIX, "agent.sock")
    (tmp_path / "s").mkdir()
    environ = {"MESOS_DOMAIN_SOCKET": str(tmp_path / "agent.sock")}
    executor = RunningExecutor(agent, str(tmp_path / "s"), [], environ, grouped=True)
    try:
        wait = begin(agent, "a")["a"]
        assert wait.head.startswith("POST /slave(1)/api/v1 ")
        wait.end(0)
        agent.update(v1.TASK_FINISHED)
        assert executor.wait(agent) == 0
    finally:
        executor.stop()
        agent.close()


@pytest.mark.parametrize(
    ("arguments", "environ", "why"),
    [
        (["--rootfs=/"], {}, "Failed to load unknown flag 'rootfs'"),
        (["--logging_level=x"], {}, "'x' is not a valid logging level"),
        ([], {"MESOS_SLAVE_PID": ""}, "Expecting 'MESOS_SLAVE_PID' to be set"),
        ([], {"MESOS_CHECKPOINT": "1"}, "Expecting 'MESOS_RECOVERY_TIMEOUT' to be set"),
    ],
)
def test_bad_starts(
    agent: FakeAgent,
    start_default: Start,
    arguments: list[str],
    environ: dict[str, str],
    why: str,
) -> None:
    executor = start_default(*arguments, **environ)
    assert executor.wait(agent) == 1
    assert why in executor.output("stderr")


def test_as_a_program_of_its_own(agent: FakeAgent, tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "MESOS_SLAVE_PID": agent.upid,
        "MESOS_FRAMEWORK_ID": "f-0000",
        "MESOS_EXECUTOR_ID": "t",
    }
    program = [sys.executable, "-m", "mesos_compat.executor.default", "--launcher_dir=/x"]
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "Expecting 'MESOS_SANDBOX' to be set in the environment\n",
    )
    environ["MESOS_SANDBOX"] = str(tmp_path)
    with subprocess.Popen(program, cwd=tmp_path, env=environ, start_new_session=True) as process:
        begin(agent, "a")["a"].end(0)
        agent.update(v1.TASK_FINISHED)
        assert process.wait(10) == 0


def test_the_address_of_tasks() -> None:
    own = default.address_of(os.fsencode(socket.gethostname()))
    assert default.container_ip({"LIBPROCESS_IP": "10.0.0.9"}) == "10.0.0.9"
    assert default.container_ip({"LIBPROCESS_IP": "0.0.0.0"}) == own
    assert default.container_ip({}) == own
    assert default.address_of(b"localhost") == "127.0.0.1"
    assert default.address_of(b"no such host") is None


def test_upstreams_executor_asks_for_the_same() -> None:
    """From the recorded LAUNCH_GROUP to the recorded calls, but for random ids."""
    flows = ROOT.parent / "shared" / "golden" / "flows"
    if not flows.is_dir():
        pytest.skip("the recordings are not here")
    decoder = recordio.Decoder(1 << 20)
    events: list[api.Event] = []
    for part in _parts(flows / "25-http-client-to-agent.responses.bin", responses=True):
        if isinstance(part, bytes):
            events += map(api.Event.FromString, decoder.feed(part))
    subscribed = next(each.subscribed for each in events if each.type == api.Event.SUBSCRIBED)
    launch = next(each.launch_group for each in events if each.type == api.Event.LAUNCH_GROUP)
    recorded = []
    for part in _parts(flows / "08-http-client-to-agent.requests.bin", responses=False):
        if isinstance(part, bytes):
            recorded.append(agent_pb2.Call.FromString(part))
    ids = [call.launch_container.container_id.value for call in recorded]
    groups = TaskGroups("127.0.0.1")
    groups.subscribed(subscribed.container_id, subscribed.framework_info.capabilities)
    *_, connect = groups.launch(zip(launch.task_group.tasks, ids, strict=True))
    assert isinstance(connect, ConnectGroup)
    made = groups.connected(connect.group, established=True)
    assert [effect.call for effect in made if isinstance(effect, LaunchNested)] == recorded


def _parts(path: Path, *, responses: bool) -> list[http1.Part]:
    return http1.MessageReader(responses=responses).feed(path.read_bytes())
