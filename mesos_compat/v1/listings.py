# SPDX-License-Identifier: Apache-2.0
"""Frameworks, executors and tasks as messages of the v1 operator API, as far as a view shows them.

Source: spec ``operator-api`` 3.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesos_compat.agent.machine.state import AgentState, Executor, Framework, Task, TaskPlace
from mesos_compat.authorization.api import Action
from mesos_compat.http.view import View
from mesos_compat.model.evolve import evolve
from mesos_compat.model.redact import redact
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2

#: What a view has to have approvers for.
ACTIONS: Final = (Action.VIEW_FRAMEWORK, Action.VIEW_EXECUTOR, Action.VIEW_TASK)


def frameworks(made: agent_pb2.Response.GetFrameworks, state: AgentState, view: View) -> None:
    """Fill in frameworks."""
    made.SetInParent()
    for framework in filter(view.framework, state.frameworks.values()):
        info = made.frameworks.add().framework_info
        info.CopyFrom(evolve(framework.info, v1.FrameworkInfo))
    for framework in filter(view.framework, state.completed_frameworks):
        info = made.completed_frameworks.add().framework_info
        info.CopyFrom(evolve(framework.info, v1.FrameworkInfo))


def executors(made: agent_pb2.Response.GetExecutors, state: AgentState, view: View) -> None:
    """Fill in executors of frameworks that are shown."""
    made.SetInParent()
    for framework in _shown(state, view):
        for executor in framework.executors.values():
            if view.executor(framework, executor):
                made.executors.add().executor_info.CopyFrom(_info(executor))
        for executor in framework.completed_executors:
            if view.executor(framework, executor):
                made.completed_executors.add().executor_info.CopyFrom(_info(executor))


def tasks(made: agent_pb2.Response.GetTasks, state: AgentState, view: View) -> None:
    """Fill in tasks of executors that are shown, and those without one."""
    made.SetInParent()
    for framework in _shown(state, view):
        waiting = (task for pending in framework.pending for task in pending.request.tasks)
        made.pending_tasks.extend(
            _tasks(framework, [Task(i, TaskPlace.PENDING, pb.TASK_STAGING) for i in waiting], view)
        )
        for executor in (*framework.executors.values(), *framework.completed_executors):
            if not view.executor(framework, executor):
                continue
            made.queued_tasks.extend(_tasks(framework, executor.queued.values(), view))
            made.launched_tasks.extend(_tasks(framework, executor.launched.values(), view))
            made.terminated_tasks.extend(_tasks(framework, executor.terminated.values(), view))
            made.completed_tasks.extend(_tasks(framework, executor.completed, view))


def _shown(state: AgentState, view: View) -> Iterable[Framework]:
    return filter(view.framework, (*state.frameworks.values(), *state.completed_frameworks))


def _tasks(framework: Framework, tasks: Iterable[Task], view: View) -> list[v1.Task]:
    made = [
        evolve(task.message(framework.framework_id), v1.Task)
        for task in tasks
        if view.task(framework, task.info)
    ]
    for message in made:
        redact(message)
    return made


def _info(executor: Executor) -> v1.ExecutorInfo:
    made = evolve(executor.info, v1.ExecutorInfo)
    redact(made)
    return made
