# SPDX-License-Identifier: Apache-2.0
"""Volumes of tasks of a group, as ``/files`` shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mesos_compat.agent.machine.state import Executor, Task, TaskPlace
from mesos_compat.model.ids import TaskId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.http.fakes import EXECUTOR, FRAMEWORK, FakePort, small_state
from tests.http.serving import serving

LATEST = "/frameworks/F/executors/E/runs/latest"


def volume(name: str, container_path: str) -> pb.Resource:
    made = pb.Resource(name="disk", type=pb.Value.SCALAR)
    made.scalar.value = 1
    made.reservations.add(type=pb.Resource.ReservationInfo.DYNAMIC, role="db/x")
    made.disk.persistence.id = name
    made.disk.volume.container_path = container_path
    made.disk.volume.mode = pb.Volume.RW
    return made


class Scene:
    """An agent with a default executor, its sandbox and two volumes."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = folder / "sandbox"
        for name in ("own", "shared", "b"):
            (folder / "volumes" / "roles" / "db x" / name).mkdir(parents=True)
            (folder / "volumes" / "roles" / "db x" / name / "file").write_text(name)
        nested = self.sandbox / "containers" / "n"
        nested.mkdir(parents=True)
        (nested / "out").write_text("of the task")
        (self.sandbox / "tasks").mkdir()
        (self.sandbox / "tasks" / "t").symlink_to(nested)
        self.state = small_state()
        self.state.config = replace(self.state.config, work_dir=str(folder))
        self.files = dict.fromkeys((str(self.sandbox), LATEST), str(self.sandbox))
        self.executor: Executor = self.state.frameworks[FRAMEWORK].executors[EXECUTOR]
        self.executor.directory = str(self.sandbox)
        self.executor.info.type = pb.ExecutorInfo.DEFAULT
        self.executor.info.resources.append(volume("shared", "common"))
        self.info = pb.TaskInfo(name="t", task_id=pb.TaskID(value="t"))
        self.info.resources.append(volume("own", "data/deep"))
        mounted = self.info.container.volumes.add(container_path="theirs", mode=pb.Volume.RW)
        mounted.source.type = pb.Volume.Source.SANDBOX_PATH
        mounted.source.sandbox_path.type = pb.Volume.Source.SandboxPath.PARENT
        mounted.source.sandbox_path.path = "common"
        task = Task(self.info, TaskPlace.LAUNCHED, pb.TASK_RUNNING)
        self.executor.launched[TaskId("t")] = task

    async def read(self, below: str, place: str | None = None) -> str | int:
        """Return the content of a file of the executor, or the status."""
        path = f"{place or self.sandbox}/{below}"
        port = FakePort(self.state)
        port.files.update(self.files)
        async with (
            serving(port) as client,
            client.session.get(
                client.make_url("/files/read"), params={"path": path, "offset": "0"}
            ) as answer,
        ):
            if answer.status != 200:
                return answer.status
            return str(json.loads(await answer.read())["data"])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_volumes_are_where_the_task_sees_them(scene: Scene) -> None:
    for place in (None, LATEST, f"file://{scene.sandbox}"):
        assert await scene.read("tasks/t/data/deep/file", place) == "own"
        assert await scene.read("tasks/t/theirs/file", place) == "shared"
        assert await scene.read("tasks/t/out", place) == "of the task"
    assert await scene.read("tasks/t/data/deep/missing") == 404
    assert await scene.read("tasks/other/data/deep/file") == 404


async def test_while_the_agent_remembers_the_task(scene: Scene) -> None:
    task = scene.executor.launched.pop(TaskId("t"))
    assert await scene.read("tasks/t/data/deep/file") == 404
    scene.executor.terminated[TaskId("t")] = task
    assert await scene.read("tasks/t/data/deep/file") == "own"
    scene.executor.terminated.clear()
    scene.executor.completed.append(task)
    assert await scene.read("tasks/t/data/deep/file") == "own"
    scene.files.clear()
    assert await scene.read("tasks/t/data/deep/file") == 404


async def test_only_for_the_default_executor(scene: Scene) -> None:
    scene.executor.info.type = pb.ExecutorInfo.CUSTOM
    assert await scene.read("tasks/t/data/deep/file") == 404


async def test_a_task_cannot_say_what_its_volume_is(scene: Scene, tmp_path: Path) -> None:
    """Links in the sandbox are not followed to it, nor names that lead elsewhere."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    nested = scene.sandbox / "containers" / "n"
    (nested / "theirs").symlink_to(tmp_path / "secret")
    assert await scene.read("tasks/t/theirs/file") == "shared"
    scene.info.resources[0].disk.persistence.id = "../../../secret"
    assert await scene.read("tasks/t/data/deep/file") == 404
    scene.info.container.volumes[0].source.sandbox_path.path = "nothing"
    assert await scene.read("tasks/t/theirs/file") == 400
