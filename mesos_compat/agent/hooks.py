# SPDX-License-Identifier: Apache-2.0
"""Hooks: plug-ins that the agent asks or tells at certain points of its work.

A hook is a class derived from ``Hook`` under the entry-point group ``mesos_compat.hooks``, named in
``--hooks``. All are called one after the other in that order, synchronously, within the step of the
agent that they are about: a hook has to be quick, and may touch nothing of the agent. What it gets
are copies. One that fails, takes too long or returns nonsense is logged and skipped.

Source: spec ``containerizer`` 18.2; upstream ``include/mesos/hook.hpp``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message

from mesos_compat.base import plugins
from mesos_compat.base.errors import FlagError, InvariantError
from mesos_compat.base.plugins import Group, Parameters, time_limit
from mesos_compat.model.ids import ContainerId
from mesos_compat.model.resources import Resources, upgrade_all
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
A = TypeVar("A")
T = TypeVar("T")

#: Entry points of hooks; the name is that in ``--hooks``.
GROUP = "mesos_compat.hooks"

#: Seconds after which a call is given up. The agent does nothing else meanwhile.
LIMIT_S = 5.0

_ERROR = "Error installing hooks: "


class Hook:
    """Base of all hooks; what is not overridden changes nothing.

    ``None`` as an answer leaves things as they are. Arguments belong to the hook.
    """

    @classmethod
    def create(cls, parameters: Parameters) -> Hook:
        """Make the hook; whatever is raised ends the start of the agent."""
        return cls()

    def resources(self, agent: pb.SlaveInfo) -> Sequence[pb.Resource] | None:
        """Return all resources of the agent. At start, before the registration."""
        return None

    def attributes(self, agent: pb.SlaveInfo) -> Sequence[pb.Attribute] | None:
        """Return all attributes of the agent. At start, before the registration."""
        return None

    def task_labels(
        self,
        task: pb.TaskInfo,
        executor: pb.ExecutorInfo,
        framework: pb.FrameworkInfo,
        agent: pb.SlaveInfo,
    ) -> pb.Labels | None:
        """Return all labels of a task that is going to be run."""
        return None

    def executor_environment(self, executor: pb.ExecutorInfo) -> pb.Environment | None:
        """Return the whole environment of the executor's command, for its container.

        It is laid over what the agent sets; variables of isolators and those that the framework
        set in the command are laid over it.
        """
        return None

    def task_status(
        self, framework_id: pb.FrameworkID, status: pb.TaskStatus
    ) -> pb.TaskStatus | None:
        """Return a status of which ``labels`` and ``container_status`` are taken, if set.

        For each update of a task, of executors and of the agent itself.
        """
        return None

    def post_fetch(self, container_id: pb.ContainerID, directory: str) -> None:
        """A container's sandbox has all its files; the command starts next. For every kind of
        container, without any URI, too.
        """

    def remove_executor(self, framework: pb.FrameworkInfo, executor: pb.ExecutorInfo) -> None:
        """An executor has ended and is about to be forgotten."""


class Hooks:
    """All hooks, in order."""

    def __init__(self, hooks: Sequence[tuple[str, Hook]], limit_s: float = LIMIT_S) -> None:
        self._hooks = tuple(hooks)
        self._limit_s = limit_s

    def __len__(self) -> int:
        return len(self._hooks)

    def agent_info(self, info: pb.SlaveInfo) -> pb.SlaveInfo:
        """Return ``info`` with the resources and attributes that the hooks want."""
        made = _copy(info)
        for name, hook in self._hooks:
            resources = self._ask(name, _resources, hook.resources, made)
            if resources is not None:
                del made.resources[:]
                made.resources.extend(resources)
        for name, hook in self._hooks:
            attributes = self._ask(name, _attributes, hook.attributes, made)
            if attributes is not None:
                del made.attributes[:]
                made.attributes.extend(attributes)
        return made

    def task_labels(
        self,
        task: pb.TaskInfo,
        executor: pb.ExecutorInfo,
        framework: pb.FrameworkInfo,
        agent: pb.SlaveInfo,
    ) -> pb.Labels:
        """Return the labels of a task."""
        made = _copy(task)
        for name, hook in self._hooks:
            labels = self._ask(
                name, partial(_of, pb.Labels), hook.task_labels, made, executor, framework, agent
            )
            if labels is not None:
                made.labels.CopyFrom(labels)
        return made.labels

    def executor_environment(self, executor: pb.ExecutorInfo) -> dict[str, str]:
        """Return the variables to be laid over those of the agent; none without hooks.

        Deviation: secrets among the framework's own variables are left out; upstream sets them to
        the empty text.
        """
        if not self._hooks:
            return {}
        made = _copy(executor)
        for name, hook in self._hooks:
            environment = self._ask(
                name, partial(_of, pb.Environment), hook.executor_environment, made
            )
            if environment is not None:
                made.command.environment.CopyFrom(environment)
        return {
            variable.name: variable.value
            for variable in made.command.environment.variables
            if variable.type != pb.Environment.Variable.SECRET
        }

    def task_status(self, framework_id: str, status: pb.TaskStatus) -> pb.TaskStatus:
        """Return ``status`` with the labels and container status that the hooks want."""
        made = _copy(status)
        for name, hook in self._hooks:
            # no more than these two is taken, so no more has to be there
            changes = self._ask(
                name, _status_parts, hook.task_status, pb.FrameworkID(value=framework_id), made
            )
            if changes is None:
                continue
            for field in ("labels", "container_status"):
                if changes.HasField(field):
                    getattr(made, field).CopyFrom(getattr(changes, field))
        return made

    def post_fetch(self, container_id: ContainerId, directory: str) -> None:
        """Tell all hooks that a sandbox has its files."""
        for name, hook in self._hooks:
            self._ask(name, _nothing, hook.post_fetch, container_id.message(), directory)

    def remove_executor(self, framework: pb.FrameworkInfo, executor: pb.ExecutorInfo) -> None:
        """Tell all hooks that an executor is gone."""
        for name, hook in self._hooks:
            self._ask(name, _nothing, hook.remove_executor, framework, executor)

    def _ask(
        self, name: str, check: Callable[[A], T], verb: Callable[..., A], *arguments: object
    ) -> T | None:
        """Return the checked answer; ``None`` if there is none that can be used."""
        copies = [_copy(each) if isinstance(each, Message) else each for each in arguments]
        try:
            with time_limit(self._limit_s):
                answer = verb(*copies)
            return check(answer)
        except InvariantError:
            raise
        except (Exception, SystemExit) as error:
            log.warning(
                "Hook '%s' failed in %s: %s: %s",
                name,
                getattr(verb, "__name__", verb),
                type(error).__name__,
                error,
            )
            return None


def create_hooks(names: str, parameters: Mapping[str, Parameters]) -> Hooks:
    """Load the hooks that ``--hooks`` names. Raises FlagError, in upstream's words where it can."""
    group = Group(GROUP)
    made: dict[str, Hook] = {}
    for name in filter(None, names.split(",")):
        if name in made:
            raise FlagError(f"{_ERROR}Hook module '{name}' already loaded")
        if name not in group:
            raise FlagError(f"{_ERROR}No hook module named '{name}' available")
        try:
            made[name] = _create(group.load(name), parameters.get(name, ()))
        except FlagError as error:
            raise FlagError(f"{_ERROR}Failed to create hook '{name}': {error}") from error
        log.info("Hook '%s' is %s", name, group.origin(name))
    return Hooks(list(made.items()))


def _create(kind: object, parameters: Parameters) -> Hook:
    if not (isinstance(kind, type) and issubclass(kind, Hook)):
        raise FlagError(f"{kind!r} is no hook")
    made = plugins.call(kind.create, parameters)
    if not isinstance(made, Hook):
        raise FlagError(f"{kind.__name__}.create returned {type(made).__name__}")
    return made


def _resources(answer: Sequence[pb.Resource] | None) -> list[pb.Resource] | None:
    made = _list(pb.Resource, answer)
    if made is not None:
        for resource in made:
            upgrade_all(resource)
        Resources.of(made)
    return made


def _attributes(answer: Sequence[pb.Attribute] | None) -> list[pb.Attribute] | None:
    return _list(pb.Attribute, answer)


def _status_parts(answer: pb.TaskStatus | None) -> pb.TaskStatus | None:
    if answer is None:
        return None
    if not isinstance(answer, pb.TaskStatus):
        raise TypeError(f"it returned {type(answer).__name__}")
    for part in (answer.labels, answer.container_status):
        part.SerializeToString()
    return answer


def _nothing(answer: object) -> None:
    """Whatever a hook says to what it is told does not matter."""


def _list(kind: type[M], answer: Sequence[M] | None) -> list[M] | None:
    if answer is None:
        return None
    made = [_of(kind, each) for each in answer]
    if None in made:
        raise TypeError("it returned a list with None")
    return [each for each in made if each is not None]


def _of(kind: type[M], answer: M | None) -> M | None:
    """Return a copy of an answer that can be used."""
    if answer is None:
        return None
    if not isinstance(answer, kind):
        raise TypeError(f"it returned {type(answer).__name__}")
    # raises if a required field is missing
    answer.SerializeToString()
    return _copy(answer)


def _copy(message: M) -> M:
    made = type(message)()
    made.CopyFrom(message)
    return made
