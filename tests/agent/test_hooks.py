# SPDX-License-Identifier: Apache-2.0
"""Hooks: what they change, in which order, and what becomes of those that misbehave."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from mesos_compat.agent import hooks as hooks_module
from mesos_compat.agent.hooks import Hook, Hooks, create_hooks
from mesos_compat.agent.machine import effects, events
from mesos_compat.base import plugins
from mesos_compat.base.errors import FlagError, InvariantError
from mesos_compat.base.plugins import Parameters
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.resources import parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.agent.machine.driver import FRAMEWORK, Driver, config, run, task


class Recording(Hook):
    """Adds its name wherever it can, to what it is shown."""

    def __init__(self, name: str = "r") -> None:
        self.name = name
        self.told: list[object] = []

    @classmethod
    def create(cls, parameters: Parameters) -> Recording:
        return cls(dict(parameters).get("name", "r"))

    def resources(self, agent: pb.SlaveInfo) -> list[pb.Resource]:
        return [*agent.resources, *parse_resources(f"{self.name}:1")]

    def attributes(self, agent: pb.SlaveInfo) -> list[pb.Attribute]:
        made = pb.Attribute(name=self.name, type=pb.Value.TEXT)
        made.text.value = "x"
        return [*agent.attributes, made]

    def task_labels(
        self,
        task: pb.TaskInfo,
        executor: pb.ExecutorInfo,
        framework: pb.FrameworkInfo,
        agent: pb.SlaveInfo,
    ) -> pb.Labels:
        task.labels.labels.add(key=self.name, value=executor.executor_id.value)
        assert framework.id.value == FRAMEWORK
        assert agent.id.value
        return task.labels

    def executor_environment(self, executor: pb.ExecutorInfo) -> pb.Environment:
        executor.command.environment.variables.add(name=self.name, value="1")
        return executor.command.environment

    def task_status(self, framework_id: pb.FrameworkID, status: pb.TaskStatus) -> pb.TaskStatus:
        status.labels.labels.add(key=self.name)
        status.state = pb.TASK_ERROR
        return status

    def post_fetch(self, container_id: pb.ContainerID, directory: str) -> None:
        self.told.append((container_id.value, directory))

    def remove_executor(self, framework: pb.FrameworkInfo, executor: pb.ExecutorInfo) -> None:
        self.told.append((framework.id.value, executor.executor_id.value))
        framework.Clear()


def both() -> Hooks:
    return Hooks([("a", Recording("a")), ("b", Recording("b"))])


def keys(labels: pb.Labels) -> list[str]:
    return [label.key for label in labels.labels]


def test_the_agent_is_decorated() -> None:
    before = config().info
    made = both().agent_info(before)
    assert [r.name for r in made.resources][-2:] == ["a", "b"]
    assert all(r.HasField("allocation_info") is False for r in made.resources)
    assert [a.name for a in made.attributes] == ["rack", "zone", "a", "b"]
    assert before == config().info


def decorated() -> Driver:
    """A registered agent with hooks and a running command executor."""
    driver = Driver(decorators=both())
    driver.register()
    made = task()
    made.labels.labels.add(key="own")
    variable = made.command.environment.variables.add(name="USER_SET", value="u")
    variable = made.command.environment.variables.add(name="S")
    variable.type = pb.Environment.Variable.SECRET
    driver.run_task(run(made))
    return driver


def test_labels_and_environment_of_a_task() -> None:
    agent = decorated()
    agent.feed(events.SandboxMade(*agent.key(), ""))
    launch = agent.last(effects.Launch)
    assert keys(launch.config.task_info.labels) == ["own", "a", "b"]
    # upstream makes the executor up before it asks the hooks
    assert keys(launch.config.executor_info.labels) == ["own"]
    assert {name: launch.environment.get(name) for name in ("a", "b", "USER_SET", "S")} == {
        "a": "1",
        "b": "1",
        "USER_SET": "u",
        "S": None,
    }
    assert launch.environment["MESOS_EXECUTOR_ID"] == "t1"


def test_statuses_of_executor_and_agent_are_decorated() -> None:
    agent = decorated()
    agent.launched()
    agent.subscribed()
    agent.reports(pb.TASK_RUNNING, 1)
    (status,) = agent.updates()
    assert (status.state, keys(status.labels)) == (pb.TASK_RUNNING, ["a", "b"])
    agent.acknowledge()
    agent.terminated(status=9)
    (status,) = agent.updates()
    assert (status.state, keys(status.labels)) == (pb.TASK_FAILED, ["a", "b"])
    agent.acknowledge()
    told = agent.last(effects.TellRemoved)
    assert told.executor.executor_id.value == "t1"
    assert told.framework.id.value == FRAMEWORK
    twice = run(task("t2", executor="gone"), launch_executor=False)
    agent.run_task(twice)
    (status,) = agent.updates()
    assert keys(status.labels) == ["a", "b"]


def test_without_hooks_nobody_is_told() -> None:
    agent = Driver()
    agent.register()
    agent.run_task(run())
    agent.launched()
    agent.terminated()
    agent.settle()
    agent.acknowledge()
    assert agent.every(effects.TellRemoved) == []
    assert Hooks([]).executor_environment(pb.ExecutorInfo()) == {}


def test_hooks_are_told_and_own_what_they_get() -> None:
    hook = Recording()
    framework = pb.FrameworkInfo(user="u", name="n")
    framework.id.value = "f"
    executor = pb.ExecutorInfo()
    executor.executor_id.value = "e"
    told = Hooks([("r", hook), ("s", hook)])
    told.post_fetch(ContainerId("c"), "/sandbox")
    told.remove_executor(framework, executor)
    assert hook.told == [("c", "/sandbox")] * 2 + [("f", "e")] * 2
    assert framework.id.value == "f"


def slow(*_: Any) -> None:
    time.sleep(60)


def answers(what: object) -> Callable[..., Any]:
    def answer(*_: Any) -> Any:
        if isinstance(what, BaseException):
            raise what
        return what

    return answer


VERBS = ("resources", "attributes", "task_labels", "executor_environment", "task_status")


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (answers(KeyError("x")), "KeyError: 'x'"),
        (answers(SystemExit(1)), "SystemExit: 1"),
        (slow, "TimeoutError: it did not return within 0.3 s"),
        (answers([3]), "TypeError"),
        (answers("nonsense"), "TypeError"),
        (answers(None), None),
    ],
)
def test_misbehaving_hooks_are_skipped(
    behaviour: Callable[..., Any], text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Hook()
    for verb in VERBS:
        setattr(bad, verb, behaviour)
    made = Hooks([("bad", bad), ("good", Recording("g"))], limit_s=0.3)
    info = made.agent_info(config().info)
    assert (info.resources[-1].name, info.attributes[-1].name) == ("g", "g")
    status = pb.TaskStatus(state=pb.TASK_RUNNING)
    status.task_id.value = "t"
    assert keys(made.task_status("f", status).labels) == ["g"]
    executor = pb.ExecutorInfo()
    executor.executor_id.value = "e"
    assert made.executor_environment(executor) == {"g": "1"}
    framework = pb.FrameworkInfo(user="u", name="n")
    framework.id.value = FRAMEWORK
    agent = pb.SlaveInfo(hostname="h")
    agent.id.value = "a"
    labels = made.task_labels(task(), executor, framework, agent)
    assert keys(labels) == ["g"]
    failures = [r.getMessage() for r in caplog.records if "Hook 'bad' failed in" in r.getMessage()]
    assert len(failures) == (0 if text is None else len(VERBS))
    assert all(text in failure for failure in failures if text is not None)


def test_unusable_resources_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    bad = Hook()
    negative = parse_resources("cpus:1")[0]
    negative.scalar.value = -1
    for answer in ([pb.Resource()], [negative], [None]):
        bad.resources = answers(answer)  # type: ignore[method-assign]
        assert Hooks([("bad", bad)]).agent_info(config().info) == config().info
    assert caplog.text.count("Hook 'bad' failed in") == 3


def test_our_own_bugs_pass() -> None:
    bad = Hook()
    bad.post_fetch = answers(InvariantError("ours"))  # type: ignore[method-assign]
    with pytest.raises(InvariantError):
        Hooks([("bad", bad)]).post_fetch(ContainerId("c"), "/")


class RefusingHook(Hook):
    """Cannot be created."""

    @classmethod
    def create(cls, parameters: Parameters) -> RefusingHook:
        raise ValueError("no")


class NothingHook(Hook):
    """Creates nothing."""

    @classmethod
    def create(cls, parameters: Parameters) -> Any:
        return None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hooks_for_test")
    module.__dict__.update(Good=Recording, Bad=RefusingHook, Empty=NothingHook, Odd=len)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    points = [
        EntryPoint(name.lower(), f"hooks_for_test:{name}", hooks_module.GROUP)
        for name in ("Good", "Bad", "Empty", "Odd", "Gone")
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


def test_hooks_are_created_in_order(installed: None) -> None:
    made = create_hooks("good,", {"good": (("name", "p"),)})
    assert len(made) == 1
    executor = pb.ExecutorInfo()
    executor.executor_id.value = "e"
    assert made.executor_environment(executor) == {"p": "1"}
    assert len(create_hooks("", {})) == 0


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("good,good", "Hook module 'good' already loaded"),
        ("nosuch", "No hook module named 'nosuch' available"),
        ("bad", "Failed to create hook 'bad': ValueError: no"),
        ("empty", "Failed to create hook 'empty': NothingHook.create returned NoneType"),
        ("odd", "Failed to create hook 'odd': <built-in function len> is no hook"),
        ("gone", "Failed to create hook 'gone': Failed to load plug-in 'gone' of"),
    ],
)
def test_refusals(installed: None, names: str, text: str) -> None:
    with pytest.raises(FlagError) as caught:
        create_hooks(names, {})
    assert str(caught.value).startswith(f"Error installing hooks: {text}")
