# SPDX-License-Identifier: Apache-2.0
"""What the default executor decides, without any agent."""

from __future__ import annotations

import gc
import signal
from collections.abc import Sequence
from typing import TypeVar

import pytest

from mesos_compat.executor.checks import Health
from mesos_compat.executor.groups import (
    AcceptTask,
    Alarm,
    ConnectGroup,
    DropAlarm,
    Effect,
    GroupTask,
    LaunchNested,
    LeaveAgent,
    LinkSandbox,
    ReleaseTask,
    RunningGroup,
    SetAlarm,
    SignalNested,
    StartChecks,
    StopChecks,
    TaskGroups,
    TellNews,
    TellStatus,
    WaitNested,
)
from mesos_compat.executor.nested import Answer
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from tests.executor.fake_agent import shell_task

T = TypeVar("T")

MODERN = ("TASK_KILLING_STATE", "PARTITION_AWARE")
OK = Answer(200)
EXIT_0, EXIT_3 = 0, 3 << 8
TERMINATED = int(signal.SIGTERM)


def ended(exit_status: int | None = EXIT_0, **fields: object) -> Answer:
    """What the agent says to a wait."""
    response = agent_pb2.Response(type=agent_pb2.Response.WAIT_NESTED_CONTAINER)
    made = response.wait_nested_container
    made.SetInParent()
    if exit_status is not None:
        made.exit_status = exit_status
    for name, value in fields.items():
        setattr(made, name, value)
    return Answer(200, response.SerializeToString())


class Play:
    """One executor, and everything that it was told to do."""

    def __init__(self, *capabilities: str, container_ip: str | None = "10.0.0.1") -> None:
        self.groups = TaskGroups(container_ip)
        self.capabilities = capabilities
        self.members: dict[str, GroupTask] = {}
        self.group = RunningGroup()
        self.launches: dict[str, agent_pb2.Call] = {}
        self.subscribe()

    def subscribe(self) -> list[Effect]:
        capabilities = [v1.FrameworkInfo.Capability(type=name) for name in self.capabilities]
        return self.groups.subscribed(v1.ContainerID(value="root"), capabilities)

    def accept(self, *tasks: v1.TaskInfo) -> list[Effect]:
        made = self.groups.launch([(task, f"c-{task.task_id.value}") for task in tasks])
        for effect in made:
            if isinstance(effect, AcceptTask):
                self.members[effect.member.task_id] = effect.member
            elif isinstance(effect, ConnectGroup):
                self.group = effect.group
        return made

    def connect(self) -> list[Effect]:
        made = self.groups.connected(self.group, established=True)
        for effect in made:
            if isinstance(effect, LaunchNested):
                self.launches[effect.member.task_id] = effect.call
        return made

    def start(self, *tasks: v1.TaskInfo) -> None:
        """Go to TASK_RUNNING."""
        self.accept(*tasks)
        self.connect()
        for task in tasks:
            self.answer(task.task_id.value)

    def answer(self, name: str, answer: Answer = OK) -> list[Effect]:
        return self.groups.launched(self.members[name], answer)

    def end(self, name: str, answer: Answer) -> list[Effect]:
        return self.groups.waited(self.members[name], answer)

    def kill(self, name: str, policy: v1.KillPolicy | None = None) -> list[Effect]:
        return self.groups.kill(name, policy or v1.KillPolicy())


def task(name: str, **fields: object) -> v1.TaskInfo:
    made = shell_task("sleep 100", name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def statuses(effects: Sequence[Effect]) -> list[tuple[str, str, str | None]]:
    """Return task, state and message of the statuses told."""
    return [
        (effect.member.task_id, v1.TaskState.Name(effect.state), effect.message)
        for effect in effects
        if isinstance(effect, TellStatus)
    ]


def of(kind: type[T], effects: Sequence[Effect]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


# Launch.


def test_a_group_is_launched_step_by_step() -> None:
    play = Play(*MODERN)
    accepted = play.accept(task("a"), task("b"))
    a, b = play.members["a"], play.members["b"]
    assert accepted == [AcceptTask(a), AcceptTask(b), ConnectGroup(play.group)]
    assert (a.container_id.value, a.container_id.parent.value) == ("c-a", "root")
    connected = play.connect()
    assert statuses(connected) == [("a", "TASK_STARTING", None), ("b", "TASK_STARTING", None)]
    assert [type(effect) for effect in connected] == [
        TellStatus,
        LaunchNested,
        TellStatus,
        LaunchNested,
    ]
    assert play.answer("b") == []
    assert play.answer("a") == [
        LinkSandbox(a),
        TellStatus(a, v1.TASK_RUNNING),
        LinkSandbox(b),
        TellStatus(b, v1.TASK_RUNNING),
        WaitNested(a),
        WaitNested(b),
    ]


def test_what_the_agent_is_asked_to_launch() -> None:
    """As in the recording of upstream's executor."""
    play = Play()
    info = task("a")
    info.command.environment.variables.add(name="A", value="b")
    info.limits["mem"].value = 64
    play.accept(info)
    play.connect()
    call = play.launches["a"]
    assert call.type == agent_pb2.Call.LAUNCH_CONTAINER
    launch = call.launch_container
    variables = [(each.name, each.value) for each in launch.command.environment.variables]
    assert variables == [
        ("A", "b"),
        ("MESOS_CONTAINER_IP", "10.0.0.1"),
        ("MESOS_ALLOCATION_ROLE", "web"),
    ]
    assert launch.command.value == "sleep 100"
    assert list(launch.resources) == list(info.resources)
    assert launch.limits["mem"].value == 64
    assert not launch.HasField("container")
    # The task itself is not touched: the agent may be told of it again.
    assert len(info.command.environment.variables) == 1


def test_a_task_without_command_and_address() -> None:
    play = Play(container_ip=None)
    info = task("a")
    info.ClearField("command")
    info.ClearField("resources")
    play.accept(info)
    play.connect()
    launch = play.launches["a"].launch_container
    assert launch.HasField("command")
    assert not launch.command.HasField("value")
    assert not launch.command.environment.variables


def test_volumes_of_a_task_are_shown_to_it() -> None:
    play = Play()
    info = task("a")
    for name, mode in (("data", v1.Volume.RW), ("logs", v1.Volume.RO)):
        resource = info.resources.add(name="disk", type=v1.Value.SCALAR)
        resource.disk.volume.container_path = name
        resource.disk.volume.mode = mode
    play.accept(info)
    play.connect()
    container = play.launches["a"].launch_container.container
    assert container.type == v1.ContainerInfo.MESOS
    made = [
        (each.container_path, each.mode, each.source.sandbox_path.path)
        for each in container.volumes
    ]
    assert made == [("data", v1.Volume.RW, "data"), ("logs", v1.Volume.RO, "logs")]
    [kind] = {each.source.type for each in container.volumes}
    assert kind == v1.Volume.Source.SANDBOX_PATH
    assert container.volumes[0].source.sandbox_path.type == v1.Volume.Source.SandboxPath.PARENT


@pytest.mark.parametrize(("capabilities", "state"), [(MODERN, "TASK_DROPPED"), ((), "TASK_LOST")])
@pytest.mark.parametrize("away", [False, True])
def test_without_agent_a_group_is_dropped(
    capabilities: tuple[str, ...], state: str, away: bool
) -> None:
    play = Play(*capabilities)
    play.accept(task("a"), task("b"))
    if away:
        play.groups.disconnected()
    made = play.groups.connected(play.group, established=away)
    assert statuses(made) == [("a", state, None), ("b", state, None)]
    assert of(LeaveAgent, made) == [LeaveAgent(final=False)]
    assert len(of(ReleaseTask, made)) == 2


def test_a_launch_that_is_refused() -> None:
    """Its text becomes the message, and the others are killed."""
    play = Play(*MODERN)
    play.accept(task("a"), task("b"), task("c"))
    play.connect()
    play.answer("a", Answer(400, b"no such image"))
    play.answer("c", Answer(500))
    answered = play.answer("b")
    assert statuses(answered) == [("b", "TASK_RUNNING", None)]
    assert len(of(WaitNested, answered)) == 3
    gone = play.end("a", Answer(404, b"Container cannot be found"))
    assert statuses(gone) == [("a", "TASK_FAILED", "no such image"), ("b", "TASK_KILLING", None)]
    # There is nothing to kill of the other one that failed.
    b = play.members["b"]
    assert of(SignalNested, gone) == [SignalNested(b, signal.SIGTERM)]
    assert of(SetAlarm, gone) == [SetAlarm(b, Alarm.ESCALATION, 3.0)]
    assert statuses(play.end("c", ended(None))) == [
        ("c", "TASK_FAILED", "Failed to launch container: 500")
    ]
    last = play.end("b", ended(TERMINATED))
    message = "Command terminated with signal Terminated"
    assert statuses(last) == [("b", "TASK_KILLED", message)]
    assert of(LeaveAgent, last) == [LeaveAgent(final=False)]


def test_a_launch_without_answer_is_the_end_of_its_group() -> None:
    play = Play(*MODERN)
    play.start(task("other"))
    play.accept(task("a"), task("b"))
    play.connect()
    play.groups.disconnected()
    play.answer("a", Answer.none("connection reset"))
    made = play.answer("b", Answer.none("connection reset"))
    assert statuses(made) == []
    assert [(s.member.task_id, s.number) for s in of(SignalNested, made)] == [
        ("a", signal.SIGKILL),
        ("b", signal.SIGKILL),
    ]
    assert [wait.member.task_id for wait in of(WaitNested, play.subscribe())] == ["other", "a", "b"]
    message = "Failed to launch container: connection reset"
    for name, answer in (("a", Answer(404)), ("b", ended(int(signal.SIGKILL)))):
        assert statuses(play.end(name, answer)) == [(name, "TASK_FAILED", message)]
    assert play.members["other"] in play.groups


# The end.


def test_who_finishes_does_not_disturb_the_others() -> None:
    play = Play(*MODERN)
    play.start(task("a"), task("b"))
    made = play.end("a", ended())
    assert made == [
        TellStatus(play.members["a"], v1.TASK_FINISHED, "Command exited with status 0"),
        ReleaseTask(play.members["a"]),
    ]
    assert of(LeaveAgent, play.end("b", ended())) == [LeaveAgent(final=False)]


@pytest.mark.parametrize("killing_state", [False, True])
def test_who_fails_takes_its_group_along(killing_state: bool) -> None:
    play = Play(*(MODERN if killing_state else ()))
    play.start(task("other"))
    play.start(task("a"), task("b"), task("c"))
    made = play.end("a", ended(EXIT_3))
    expected = [("a", "TASK_FAILED", "Command exited with status 3")]
    if killing_state:
        expected += [("b", "TASK_KILLING", None), ("c", "TASK_KILLING", None)]  # type: ignore[list-item]
    assert statuses(made) == expected
    assert [signalled.member.task_id for signalled in of(SignalNested, made)] == ["b", "c"]
    # Nobody is killed twice, and the other group not at all.
    assert of(SignalNested, play.end("b", ended(TERMINATED))) == []
    last = play.end("c", ended())
    assert statuses(last) == [("c", "TASK_KILLED", "Command exited with status 0")]
    assert of(LeaveAgent, last) == []
    assert play.members["other"] in play.groups


def test_what_the_agent_knows_of_an_end() -> None:
    play = Play()
    play.start(task("a"))
    limitation = v1.TaskResourceLimitation()
    limitation.resources.add(name="mem", type=v1.Value.SCALAR).scalar.value = 32
    response = agent_pb2.Response(type=agent_pb2.Response.WAIT_NESTED_CONTAINER)
    wait = response.wait_nested_container
    wait.exit_status = int(signal.SIGKILL)
    wait.state = v1.TASK_FAILED
    wait.reason = v1.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    wait.message = "too much"
    wait.limitation.CopyFrom(limitation)
    [told] = of(TellStatus, play.end("a", Answer(200, response.SerializeToString())))
    assert told == TellStatus(
        play.members["a"],
        v1.TASK_FAILED,
        "Command terminated with signal Killed: too much",
        v1.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY,
        limitation,
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(404), "Unable to retrieve command's termination information"),
        (ended(None), "Command terminated with unknown status"),
    ],
)
def test_an_end_that_nobody_saw(answer: Answer, message: str) -> None:
    play = Play()
    play.start(task("a"))
    assert statuses(play.end("a", answer)) == [("a", "TASK_FAILED", message)]


def test_a_killed_container_that_is_gone() -> None:
    play = Play()
    play.start(task("a"))
    play.kill("a")
    assert statuses(play.end("a", Answer(404))) == [("a", "TASK_KILLED", None)]


@pytest.mark.parametrize("answer", [Answer.none("reset"), Answer(503, b"recovering")])
def test_a_wait_is_repeated(answer: Answer) -> None:
    play = Play()
    play.start(task("a"))
    a = play.members["a"]
    assert play.end("a", answer) == [SetAlarm(a, Alarm.WAIT, 1.0)]
    assert play.groups.wait(a) == [WaitNested(a)]
    # Not while the agent is away; when it comes back it is asked again.
    play.groups.disconnected()
    assert play.end("a", answer) == []
    assert play.groups.wait(a) == []
    assert play.subscribe() == [WaitNested(a)]


@pytest.mark.parametrize("answer", [Answer(401), Answer(500, b"broken"), Answer(200, b"\xff")])
def test_an_agent_that_does_not_know_is_left(answer: Answer) -> None:
    play = Play()
    play.start(task("a"))
    assert play.end("a", answer) == [LeaveAgent(final=True)]
    assert play.accept(task("b")) == []


def test_answers_about_what_has_ended_are_late() -> None:
    play = Play()
    play.start(task("a"))
    play.end("a", ended())
    a = play.members["a"]
    assert play.end("a", ended()) == []
    assert play.groups.escalate(a) == []
    assert play.groups.complete(a) == []
    assert play.groups.wait(a) == []
    assert play.groups.signalled(a, signal.SIGKILL, Answer(404)) == []


def test_nothing_is_kept_of_what_has_ended() -> None:
    """Executors live long, and do not look for garbage."""
    play = Play(*MODERN)
    gc.collect()
    gc.disable()
    try:
        before = _kept()
        for number in range(5):
            names = [f"{number}a", f"{number}b", f"{number}c"]
            play.start(*map(task, names))
            play.kill(names[0])
            for name in names:
                play.end(name, ended(TERMINATED))
            play.accept(task("dropped"))
            play.groups.connected(play.group, established=False)
        play.members.clear()
        play.launches.clear()
        play.group = RunningGroup()
        assert _kept() == before
    finally:
        gc.enable()


def _kept() -> int:
    return sum(isinstance(each, GroupTask | RunningGroup) for each in gc.get_objects())


# Kill.


def test_a_kill_escalates() -> None:
    play = Play(*MODERN)
    play.start(task("a"))
    a = play.members["a"]
    assert play.kill("a") == [
        DropAlarm(a, Alarm.COMPLETION),
        StopChecks(a),
        SetAlarm(a, Alarm.ESCALATION, 3.0),
        TellStatus(a, v1.TASK_KILLING),
        SignalNested(a, signal.SIGTERM),
    ]
    assert play.groups.signalled(a, signal.SIGTERM, Answer(404)) == []
    assert play.groups.escalate(a) == [SignalNested(a, signal.SIGKILL)]
    assert play.groups.signalled(a, signal.SIGKILL, OK) == []
    again = play.groups.signalled(a, signal.SIGKILL, Answer.none("refused"))
    assert again == [SetAlarm(a, Alarm.ESCALATION, 1.0)]


def test_the_grace_period() -> None:
    own = task("a")
    own.kill_policy.grace_period.nanoseconds = 7_000_000_000
    asked = v1.KillPolicy()
    asked.grace_period.nanoseconds = 1_000_000_000
    play = Play()
    play.start(own, task("b"))
    assert of(SetAlarm, play.kill("a"))[0].seconds == 7.0
    assert of(SetAlarm, play.kill("b", asked))[0].seconds == 1.0


def test_kills_that_are_ignored() -> None:
    play = Play()
    play.start(task("a"))
    assert play.kill("nobody") == []
    assert play.kill("a") != []
    assert play.kill("a") == []


def test_a_killed_task_takes_its_group_along() -> None:
    play = Play(*MODERN)
    play.start(task("a"), task("b"))
    play.kill("a")
    made = play.end("a", ended(TERMINATED))
    assert statuses(made)[1:] == [("b", "TASK_KILLING", None)]


def test_a_kill_before_the_container_runs() -> None:
    """The agent gives the launch up, or the container is killed as soon as it is there."""
    play = Play(*MODERN)
    play.accept(task("a"), task("b"))
    play.connect()
    a, b = play.members["a"], play.members["b"]
    assert of(SignalNested, play.kill("a")) == [SignalNested(a, signal.SIGTERM)]
    assert of(SignalNested, play.kill("b")) == [SignalNested(b, signal.SIGTERM)]
    play.answer("a", Answer(400, b"destroyed during the launch"))
    made = play.answer("b")
    assert statuses(made) == []
    assert of(SignalNested, made) == [SignalNested(b, signal.SIGTERM)]
    assert statuses(play.end("a", Answer(404))) == [("a", "TASK_KILLED", None)]


def test_a_kill_that_ends_the_launch() -> None:
    play = Play()
    play.accept(task("a"))
    play.connect()
    play.kill("a")
    play.answer("a", Answer(400, b"destroyed during the launch"))
    killed = [("a", "TASK_KILLED", "destroyed during the launch")]
    assert statuses(play.end("a", ended(None))) == killed


def test_a_task_that_takes_too_long() -> None:
    limited = task("a")
    limited.max_completion_time.nanoseconds = 5_000_000_000
    play = Play(*MODERN)
    play.accept(limited)
    play.connect()
    a = play.members["a"]
    assert SetAlarm(a, Alarm.COMPLETION, 5.0) in play.answer("a")
    made = play.groups.complete(a)
    assert statuses(made) == []
    assert of(SetAlarm, made) == [SetAlarm(a, Alarm.ESCALATION, 0)]
    [told] = of(TellStatus, play.end("a", ended(TERMINATED)))
    assert told.state == v1.TASK_FAILED
    assert told.reason == v1.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED


# Checks.


def test_checks_go_on_until_the_task_is_killed() -> None:
    info = task("a")
    info.check.type = v1.CheckInfo.TCP
    play = Play()
    play.accept(info, task("b"))
    play.connect()
    a, b = play.members["a"], play.members["b"]
    play.answer("b")
    assert of(StartChecks, play.answer("a")) == [StartChecks(a)]
    found = v1.CheckStatusInfo(type=v1.CheckInfo.TCP)
    assert play.groups.checked(a, found) == [TellNews(a, found)]
    assert of(StopChecks, play.kill("a")) == [StopChecks(a)]
    assert play.groups.checked(a, found) == []
    assert play.groups.health_changed(a, Health(False, kill=True)) == []
    play.end("a", ended(TERMINATED))
    assert play.groups.checked(a, found) == []
    assert b in play.groups


def test_an_unhealthy_task_takes_its_group_along() -> None:
    """All that end after it are unhealthy, as with upstream."""
    own = task("a")
    own.health_check.type = v1.HealthCheck.TCP
    own.kill_policy.grace_period.nanoseconds = 7_000_000_000
    play = Play(*MODERN)
    play.start(own, task("b"))
    a = play.members["a"]
    assert play.groups.health_changed(a, Health(False)) == [TellNews(a, False)]
    made = play.groups.health_changed(a, Health(False, kill=True))
    assert made[0] == TellNews(a, False)
    assert of(SetAlarm, made) == [SetAlarm(a, Alarm.ESCALATION, 7.0)]
    for name in ("a", "b"):
        [told] = [
            effect
            for effect in of(TellStatus, play.end(name, ended(TERMINATED)))
            if effect.state == v1.TASK_KILLED
        ]
        assert told.healthy is False


# Shutdown.


def test_a_shutdown_kills_everything() -> None:
    play = Play(*MODERN)
    play.start(task("a"))
    play.start(task("b"), task("c"))
    play.kill("b")
    made = play.groups.shut_down()
    assert [signalled.member.task_id for signalled in of(SignalNested, made)] == ["a", "c"]
    assert play.groups.shut_down() == []
    assert play.accept(task("d")) == []
    assert play.kill("c") == []
    play.end("b", ended(TERMINATED))
    play.end("a", ended(TERMINATED))
    assert of(LeaveAgent, play.end("c", ended(TERMINATED))) == [LeaveAgent(final=True)]


@pytest.mark.parametrize("away", [False, True])
def test_a_shutdown_of_an_executor_without_tasks_or_agent(away: bool) -> None:
    play = Play()
    if away:
        play.start(task("a"))
        play.groups.disconnected()
    assert play.groups.shut_down() == [LeaveAgent(final=True)]


def test_a_shutdown_that_cannot_kill_gives_up() -> None:
    play = Play()
    play.start(task("a"))
    play.groups.shut_down()
    a = play.members["a"]
    assert play.groups.signalled(a, signal.SIGTERM, Answer(404)) == []
    assert play.groups.signalled(a, signal.SIGTERM, Answer(500)) == [LeaveAgent(final=True)]
