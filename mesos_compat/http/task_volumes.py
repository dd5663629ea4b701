# SPDX-License-Identifier: Apache-2.0
"""Volumes of tasks of the default executor, which its host's sandbox does not show where they are.

A task of a group sees its volume at a path of its own sandbox, in a mount namespace of its own. For
``/files`` the volume is below the sandbox that ``tasks`` has a link to.

Source: spec ``operator-api`` 5.9.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from mesos_compat.agent.machine.state import AgentState, Executor, Task
from mesos_compat.base.errors import WireError
from mesos_compat.http import files
from mesos_compat.model.resources import is_persistent_volume
from mesos_compat.model.volumes import home
from mesos_compat.pb.mesos import mesos_pb2 as pb


def with_task_volumes(
    state: AgentState, attached: Mapping[str, str], path: str
) -> Mapping[str, str]:
    """Return what is attached, with the volumes of the task that ``path`` leads to, if to any."""
    place = files.attachment(attached, path)
    if place is None:
        return attached
    match files.suffix(place, path):
        case ["tasks", task_id, _, *_]:
            pass
        case _:
            return attached
    executor = _executor(state, attached[place])
    task = None if executor is None else _task(executor, task_id)
    if executor is None or task is None:
        return attached
    volumes = {
        f"{place}/tasks/{task_id}/{name}": real
        for name, real in _volumes(state.config.work_dir, executor, task)
    }
    return ChainMap(volumes, dict(attached)) if volumes else attached


def _executor(state: AgentState, directory: str) -> Executor | None:
    """Return the run of a default executor that has this sandbox."""
    for framework in (*state.frameworks.values(), *state.completed_frameworks):
        for executor in (*framework.executors.values(), *framework.completed_executors):
            if executor.directory == directory:
                return executor if executor.info.type == pb.ExecutorInfo.DEFAULT else None
    return None


def _task(executor: Executor, task_id: str) -> Task | None:
    places = executor.launched.values(), executor.terminated.values(), executor.completed
    return next((task for task in chain(*places) if task.task_id == task_id), None)


def _volumes(work_dir: str, executor: Executor, task: Task) -> Iterator[tuple[str, str]]:
    """Yield where the task sees a volume, below its sandbox, and where that lies."""
    yield from _persistent(work_dir, task.info.resources)
    shared = dict(_persistent(work_dir, executor.info.resources))
    for volume in task.info.container.volumes:
        source = volume.source
        if (
            source.type == pb.Volume.Source.SANDBOX_PATH
            and source.sandbox_path.type == pb.Volume.Source.SandboxPath.PARENT
            and source.sandbox_path.path in shared
        ):
            yield volume.container_path.strip("/"), shared[source.sandbox_path.path]


def _persistent(work_dir: str, resources: Iterable[pb.Resource]) -> Iterator[tuple[str, str]]:
    for resource in resources:
        if is_persistent_volume(resource):
            try:
                yield resource.disk.volume.container_path, home(work_dir, resource).path
            except WireError:
                continue
