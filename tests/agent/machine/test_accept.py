# SPDX-License-Identifier: Apache-2.0
"""Tasks from the master: ignored, refused, run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesos_compat.agent.machine import effects, events
from mesos_compat.agent.machine.state import ExecutorPhase
from mesos_compat.agent.machine.tokens import ExecutorTokens
from mesos_compat.model import jwt
from mesos_compat.model.ids import ExecutorId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from tests.agent.machine.driver import AGENT, FRAMEWORK, MASTER, Driver, framework, run, task

PARTITION_AWARE = pb.FrameworkInfo.Capability.PARTITION_AWARE


@pytest.fixture
def agent() -> Driver:
    """A registered agent."""
    driver = Driver()
    driver.register()
    return driver


def no_framework_id(message: messages.RunTaskMessage) -> None:
    message.framework.ClearField("id")


def other_agent(message: messages.RunTaskMessage) -> None:
    message.task.slave_id.value = "other"


def climbing_id(message: messages.RunTaskMessage) -> None:
    message.task.task_id.value = "../../etc"


def climbing_executor(message: messages.RunTaskMessage) -> None:
    message.task.CopyFrom(task("t1", executor=".."))


def neither(message: messages.RunTaskMessage) -> None:
    message.task.ClearField("command")


def both(message: messages.RunTaskMessage) -> None:
    message.task.executor.CopyFrom(task("x", executor="e").executor)


@pytest.mark.parametrize(
    "spoil", [no_framework_id, other_agent, climbing_id, climbing_executor, neither, both]
)
def test_ignored_without_an_update(
    agent: Driver, spoil: Callable[[messages.RunTaskMessage], None]
) -> None:
    message = run()
    spoil(message)
    agent.run_task(message)
    assert all(isinstance(effect, effects.Log) for effect in agent.effects)
    assert not agent.state.frameworks


def test_a_stranger_runs_nothing(agent: Driver) -> None:
    agent.feed(events.RunTask("master@10.0.0.9:5050", run()))
    assert not agent.state.frameworks


def expect(agent: Driver, state: pb.TaskState, reason: int, text: str, executor: bool) -> None:
    """The one update that was sent."""
    (status,) = agent.updates()
    assert pb.TaskState.Name(status.state) == pb.TaskState.Name(state)
    assert status.reason == reason
    assert status.message == text
    assert status.source == pb.TaskStatus.SOURCE_SLAVE
    assert status.HasField("executor_id") == executor
    assert len(status.uuid) == 16


@pytest.mark.parametrize("aware", [False, True])
def test_outdated_resources(agent: Driver, aware: bool) -> None:
    message = run(of=framework(*([PARTITION_AWARE] if aware else [])))
    message.resource_version_uuids[0].uuid.value = b"x" * 16
    agent.run_task(message)
    state = pb.TASK_DROPPED if aware else pb.TASK_LOST
    reason = pb.TaskStatus.REASON_INVALID_OFFERS
    expect(agent, state, reason, "Task assumes outdated resource state", True)
    (exited,) = agent.sent(messages.ExitedExecutorMessage)
    assert (exited.executor_id.value, exited.status) == ("t1", -1)
    assert not agent.state.frameworks
    assert not agent.state.streams


@pytest.mark.parametrize(
    ("name", "isolator", "text"),
    [
        (
            "cpus",
            "cgroups/mem",
            "CPU limits can only be set on tasks launched in Mesos containers when the agent has"
            " loaded the 'cgroups/cpu' isolator",
        ),
        (
            "mem",
            "cgroups/cpu",
            "Memory limits can only be set on tasks launched in Mesos containers when the agent has"
            " loaded the 'cgroups/mem' isolator",
        ),
    ],
)
def test_limits_need_their_isolator(name: str, isolator: str, text: str) -> None:
    agent = Driver(isolation=frozenset({isolator}))
    agent.register()
    message = run()
    message.task.limits[name].value = 2.0
    agent.run_task(message)
    expect(agent, pb.TASK_LOST, pb.TaskStatus.REASON_GC_ERROR, text, False)


def test_unknown_reservation(agent: Driver) -> None:
    message = run()
    reservation = message.task.resources[0].reservations.add()
    reservation.type = pb.Resource.ReservationInfo.DYNAMIC
    reservation.role = "web"
    agent.run_task(message)
    expect(
        agent,
        pb.TASK_LOST,
        pb.TaskStatus.REASON_RESOURCES_UNKNOWN,
        "The checkpointed resources being used by the task or task group are unknown to the agent",
        True,
    )


def test_known_reservation(agent: Driver) -> None:
    reserved = pb.Resource(name="cpus", type=pb.Value.SCALAR)
    reserved.scalar.value = 1.0
    reservation = reserved.reservations.add()
    reservation.type = pb.Resource.ReservationInfo.DYNAMIC
    reservation.role = "web"
    agent.feed(events.CheckpointResources(MASTER, (reserved,)))
    message = run()
    message.task.resources[0].reservations.append(reservation)
    message.task.resources[0].allocation_info.role = "web"
    agent.run_task(message)
    assert len(agent.every(effects.MakeSandbox)) == 1


def test_what_is_left_to_garbage_collection_is_used_again(agent: Driver) -> None:
    agent.run_task(run(task("t1", executor="e1")))
    work_dir = agent.state.config.work_dir
    home = f"slaves/{AGENT}/frameworks/{FRAMEWORK}"
    assert agent.last(effects.MakeSandbox).kept == (
        f"{work_dir}/{home}/executors/e1",
        f"{work_dir}/meta/{home}/executors/e1",
        f"{work_dir}/{home}",
        f"{work_dir}/meta/{home}",
    )


def test_a_persistent_volume_is_refused(agent: Driver) -> None:
    message = run()
    disk = message.task.resources.add(name="disk", type=pb.Value.SCALAR)
    disk.scalar.value = 10.0
    disk.allocation_info.role = "web"
    reservation = disk.reservations.add()
    reservation.type = pb.Resource.ReservationInfo.DYNAMIC
    reservation.role = "web"
    disk.disk.persistence.id = "v"
    disk.disk.volume.container_path = "v"
    disk.disk.volume.mode = pb.Volume.RW
    agent.run_task(message)
    (status,) = agent.updates()
    assert status.reason == pb.TaskStatus.REASON_RESOURCES_UNKNOWN


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_nonsense_resources(agent: Driver, amount: float) -> None:
    agent.run_task(run(task(cpus=amount)))
    (status,) = agent.updates()
    assert status.state == pb.TASK_ERROR
    assert status.message.startswith("Task uses invalid resources: ")


@pytest.mark.parametrize("launch_executor", [True, False, None])
def test_a_command_task_needs_an_executor_of_its_own(
    agent: Driver, launch_executor: bool | None
) -> None:
    agent.run_task(run())
    agent.run_task(run(launch_executor=launch_executor))
    expect(
        agent,
        pb.TASK_LOST,
        pb.TaskStatus.REASON_TASK_INVALID,
        "Cannot reuse an already existing executor for a command task",
        True,
    )
    assert not agent.sent(messages.ExitedExecutorMessage)
    assert agent.executor().phase is ExecutorPhase.REGISTERING


def test_master_wants_a_new_executor_but_there_is_one(agent: Driver) -> None:
    agent.run_task(run(task("t1", executor="e")))
    agent.run_task(run(task("t2", executor="e")))
    expect(
        agent,
        pb.TASK_LOST,
        pb.TaskStatus.REASON_EXECUTOR_TERMINATED,
        "Master wants to launch executor, but one already exists",
        True,
    )
    assert agent.executor("e").phase is ExecutorPhase.TERMINATING
    assert not agent.sent(messages.ExitedExecutorMessage)


def test_master_counts_on_an_executor_that_is_not_there(agent: Driver) -> None:
    agent.run_task(run(task("t1", executor="e"), launch_executor=False))
    expect(
        agent,
        pb.TASK_LOST,
        pb.TaskStatus.REASON_EXECUTOR_TERMINATED,
        "No executor is expected to launch and there is none running",
        True,
    )
    assert not agent.sent(messages.ExitedExecutorMessage)


def test_an_ending_executor_takes_no_task(agent: Driver) -> None:
    agent.run_task(run(task("t1", executor="e")))
    agent.feed(events.ShutdownExecutor(MASTER, FRAMEWORK, ExecutorId("e")))
    agent.run_task(run(task("t2", executor="e"), launch_executor=None))
    expect(
        agent,
        pb.TASK_LOST,
        pb.TaskStatus.REASON_EXECUTOR_TERMINATED,
        "Executor terminating",
        False,
    )


def test_a_failed_sandbox_refuses_the_task(agent: Driver) -> None:
    agent.run_task(run(task("t1", executor="e")))
    text = "Failed to create executor directory '/x': No such user 'nobody here'"
    agent.feed(events.SandboxMade(*agent.key("e"), text))
    expect(agent, pb.TASK_LOST, pb.TaskStatus.REASON_EXECUTOR_TERMINATED, text, True)
    assert len(agent.sent(messages.ExitedExecutorMessage)) == 1
    assert not agent.state.frameworks


def test_old_masters_leave_roles_and_versions_out(agent: Driver) -> None:
    message = run(launch_executor=None)
    del message.resource_version_uuids[:]
    for resource in message.task.resources:
        resource.ClearField("allocation_info")
        resource.role = "*"
    agent.run_task(message)
    (queued,) = agent.executor().queued.values()
    assert [r.allocation_info.role for r in queued.info.resources] == ["*", "*"]
    assert message.task.resources[0].role == "*", "what others made is not changed"


def test_the_generated_executor(agent: Driver) -> None:
    info = task()
    info.command.value = "sleep 100; echo done"
    info.command.user = "nobody"
    info.container.type = pb.ContainerInfo.MESOS
    info.container.mesos.image.type = pb.Image.DOCKER
    info.container.mesos.image.docker.name = "busybox"
    info.kill_policy.grace_period.nanoseconds = 3_000_000_000
    agent.run_task(run(info))
    executor = agent.executor()
    made = executor.info
    assert made.name == "Command Executor (Task: t1) (Command: sh -c 'sleep 100; e...')"
    assert made.source == "t1"
    assert list(made.command.arguments) == [
        "mesos-executor",
        "--launcher_dir=/launcher",
        "--sandbox_directory=/mnt/mesos/sandbox",
        "--user=nobody",
    ]
    assert made.command.value == "/launcher/mesos-executor"
    assert made.shutdown_grace_period.nanoseconds == 5_000_000_000
    assert executor.user == "nobody"
    assert [(r.name, r.scalar.value) for r in made.resources] == [("cpus", 0.1), ("mem", 32.0)]


@pytest.mark.parametrize(
    ("shell", "value", "arguments", "shown"),
    [
        (True, "sleep 8", [], "sh -c 'sleep 8'"),
        (True, "0123456789abcde", [], "sh -c '0123456789abcde'"),
        (True, "0123456789abcdef", [], "sh -c '0123456789ab...'"),
        (True, None, [], "NO COMMAND"),
        (False, "ls", [], "[ls, ]"),
        (False, "ls", ["ls", "-l"], "[ls, ls, -l]"),
        (False, "/usr/bin/sleep", ["sleep", "5"], "[/usr/bin/sle...]"),
        (False, None, ["x"], "NO EXECUTABLE"),
    ],
)
def test_names_of_generated_executors(
    agent: Driver, shell: bool, value: str | None, arguments: list[str], shown: str
) -> None:
    info = task()
    info.command.Clear()
    info.command.shell = shell
    if value is not None:
        info.command.value = value
    info.command.arguments.extend(arguments)
    agent.run_task(run(info))
    assert agent.executor().info.name == f"Command Executor (Task: t1) (Command: {shown})"


def test_what_a_container_is_launched_with(agent: Driver) -> None:
    agent.run_task(run())
    agent.launched()
    launch = next(e for e in agent.all if isinstance(e, effects.Launch))
    config = launch.config
    assert config.directory == (
        f"/work/slaves/{AGENT}/frameworks/{FRAMEWORK}/executors/t1/runs/{launch.container_id}"
    )
    assert {r.name: r.scalar.value for r in config.resources} == {"cpus": 1.1, "mem": 96.0}
    assert config.resources == config.executor_info.resources
    assert config.command_info == config.executor_info.command
    assert config.task_info.task_id.value == "t1"
    assert config.user == "root"
    assert list(launch.environment.items()) == [
        ("LIBPROCESS_IP", "127.0.0.1"),
        ("LIBPROCESS_PORT", "0"),
        ("MESOS_FRAMEWORK_ID", FRAMEWORK),
        ("MESOS_EXECUTOR_ID", "t1"),
        ("MESOS_DIRECTORY", config.directory),
        ("MESOS_SLAVE_ID", AGENT),
        ("MESOS_SLAVE_PID", "slave(1)@127.0.0.1:5051"),
        ("MESOS_AGENT_ENDPOINT", "127.0.0.1:5051"),
        ("MESOS_CHECKPOINT", "0"),
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
    ]


def test_checkpointing_frameworks_tell_executors_more(agent: Driver) -> None:
    of = framework()
    of.checkpoint = True
    agent.run_task(run(of=of))
    agent.launched()
    launch = next(e for e in agent.all if isinstance(e, effects.Launch))
    assert launch.environment["MESOS_CHECKPOINT"] == "1"
    assert launch.environment["MESOS_RECOVERY_TIMEOUT"] == "15mins"
    assert launch.environment["MESOS_SUBSCRIPTION_BACKOFF_MAX"] == "2secs"


def test_a_run_of_an_executor_gets_its_token() -> None:
    key = b"a key of the agent"
    agent = Driver(executor_tokens=ExecutorTokens(key))
    agent.register()
    agent.run_task(run())
    agent.launched()
    launch = next(e for e in agent.all if isinstance(e, effects.Launch))
    name, token = list(launch.environment.items())[-1]
    assert name == "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
    assert jwt.decode(token, key, 0.0) == {
        "fid": FRAMEWORK,
        "eid": "t1",
        "cid": str(launch.container_id),
    }
    assert "key" not in repr(agent.state.config.executor_tokens)


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("custom", [False, True])
def test_who_is_told_of_the_domain_socket(image: bool, custom: bool) -> None:
    """All but custom executors in an image, who cannot see it."""
    agent = Driver(domain_socket="/run/mesos/agent.sock")
    agent.register()
    info = task("t1", executor="e") if custom else task("t1")
    container = info.executor.container if custom else info.container
    container.type = pb.ContainerInfo.MESOS
    if image:
        container.mesos.image.type = pb.Image.DOCKER
        container.mesos.image.docker.name = "busybox"
    agent.run_task(run(info))
    agent.launched("e" if custom else "t1")
    launch = next(e for e in agent.all if isinstance(e, effects.Launch))
    told = launch.environment.get("MESOS_DOMAIN_SOCKET")
    assert told == (None if image and custom else "/run/mesos/agent.sock")


def test_without_switch_user_nobody_owns_the_sandbox() -> None:
    agent = Driver(switch_user=False)
    agent.register()
    agent.run_task(run())
    assert agent.last(effects.MakeSandbox).user is None
