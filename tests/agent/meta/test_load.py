# SPDX-License-Identifier: Apache-2.0
"""What a process finds of an earlier one, whole and damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import Message

from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.load import load
from mesos_compat.agent.meta.recovered import ExecutorFound, ExecutorProtocol, Found, TaskFound
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.internal.slave import state_pb2

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "checkpoint"
BOOT = "11111111-2222-3333-4444-555555555555"
UUIDS = [bytes([number]) * 16 for number in range(4)]


class Tree:
    """A work directory with one executor, which has one task with three updates."""

    def __init__(self, work: Path) -> None:
        self.work = str(work)
        self.meta = f"{work}/meta"
        self.agent = f"{self.meta}/slaves/a"
        self.framework = f"{self.agent}/frameworks/f"
        self.executor = f"{self.framework}/executors/e"
        self.run = f"{self.executor}/runs/c"
        self.task = f"{self.run}/tasks/t"
        checkpoint.write_text(layout.boot_id(self.meta), BOOT)
        agent = pb.SlaveInfo(hostname="h", id=pb.SlaveID(value="a"))
        agent.resources.add(name="cpus", type=pb.Value.SCALAR, role="r").scalar.value = 1
        self.write(layout.agent_info(self.agent), agent)
        os.symlink(self.agent, layout.latest_agent(self.meta))
        framework = pb.FrameworkInfo(user="u", name="n", checkpoint=True)
        self.write(layout.framework_info(self.framework), framework)
        checkpoint.write_text(layout.framework_pid(self.framework), "s@1.2.3.4:5")
        executor = pb.ExecutorInfo(executor_id=pb.ExecutorID(value="e"))
        self.write(layout.executor_info(self.executor), executor)
        checkpoint.write_text(layout.generated(self.executor), "1")
        checkpoint.write_text(layout.forked_pid(self.run), "123")
        checkpoint.touch(layout.http_marker(self.run))
        os.symlink(self.run, f"{self.executor}/runs/latest")
        task = pb.Task(name="t", state=pb.TASK_STAGING)
        task.task_id.value, task.framework_id.value, task.slave_id.value = "t", "f", "a"
        self.write(layout.task_info(self.task), task)
        with checkpoint.AppendedRecords(layout.task_updates(self.task)) as stream:
            states = (pb.TASK_STARTING, pb.TASK_RUNNING, pb.TASK_FINISHED)
            for uuid, state in zip(UUIDS, states, strict=False):
                stream.append(update(uuid, state).SerializeToString())
            ack = messages.StatusUpdateRecord(type=messages.StatusUpdateRecord.ACK, uuid=UUIDS[0])
            stream.append(ack.SerializeToString())

    def write(self, path: str, message: Message) -> None:
        """Write a record."""
        checkpoint.write_record(path, message.SerializeToString())

    def load(self, *, strict: bool = True, boot_id: str | None = BOOT) -> Found:
        """Read it all."""
        return load(self.work, boot_id, strict=strict)


def update(uuid: bytes, state: pb.TaskState) -> messages.StatusUpdateRecord:
    made = messages.StatusUpdateRecord(type=messages.StatusUpdateRecord.UPDATE)
    made.update.framework_id.value = "f"
    made.update.status.task_id.value = "t"
    made.update.status.state = state
    made.update.timestamp = 1.0
    made.update.uuid = uuid
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def executor_of(found: Found) -> ExecutorFound:
    assert found.agent is not None
    ((executor,),) = [framework.executors for framework in found.agent.frameworks]
    return executor


def task_of(found: Found) -> TaskFound:
    latest = executor_of(found).latest
    assert latest is not None
    (task,) = latest.tasks
    return task


def test_nothing_is_there(tmp_path: Path) -> None:
    assert load(str(tmp_path), BOOT, strict=True) == Found()


def test_everything_is_there(tree: Tree) -> None:
    found = tree.load()
    assert not found.rebooted
    assert not found.errors
    assert found.agent is not None
    assert found.agent.agent_id == "a"
    assert [r.role for r in found.agent.info.resources[0].reservations] == ["r"]
    (framework,) = found.agent.frameworks
    assert framework.info is not None
    assert (framework.pid, framework.info.id.value) == ("s@1.2.3.4:5", "f")
    executor = executor_of(found)
    assert (executor.executor_id, executor.generated, executor.old_runs) == ("e", True, ())
    latest = executor.latest
    assert latest is not None
    assert latest.container_id == ContainerId("c")
    assert (latest.forked_pid, latest.connection, latest.completed) == (
        123,
        ExecutorProtocol.HTTP,
        False,
    )
    task = task_of(found)
    assert [u.uuid for u in task.updates] == UUIDS[:3]
    assert task.acknowledged == {UUIDS[0]}


def test_a_scheduler_with_http_has_no_pid(tree: Tree) -> None:
    checkpoint.write_text(layout.framework_pid(tree.framework), "@0.0.0.0:0")
    found = tree.load()
    assert found.agent is not None
    assert found.agent.frameworks[0].pid == ""


def test_libprocess_wins_over_the_marker(tree: Tree) -> None:
    checkpoint.write_text(layout.libprocess_pid(tree.run), "executor(1)@1.2.3.4:5")
    latest = executor_of(tree.load()).latest
    assert latest is not None
    assert (latest.connection, latest.libprocess_pid) == (
        ExecutorProtocol.LIBPROCESS,
        "executor(1)@1.2.3.4:5",
    )
    checkpoint.write_text(layout.libprocess_pid(tree.run), "")
    latest = executor_of(tree.load()).latest
    assert latest is not None
    assert latest.connection is ExecutorProtocol.UNKNOWN


def test_after_a_reboot_no_pid_counts(tree: Tree) -> None:
    os.makedirs(f"{tree.executor}/runs/old")
    checkpoint.write_text(layout.forked_pid(f"{tree.executor}/runs/old"), "99")
    found = tree.load(boot_id="another")
    assert found.rebooted
    executor = executor_of(found)
    assert executor.old_runs == ("old",)
    assert executor.latest is not None
    assert (executor.latest.forked_pid, executor.latest.connection) == (
        None,
        ExecutorProtocol.UNKNOWN,
    )
    assert not list(Path(tree.work).rglob("forked.pid"))
    assert task_of(found).acknowledged == {UUIDS[0]}


@pytest.mark.parametrize("boot_id", [None, BOOT])
def test_who_does_not_know_the_boot_id_was_not_rebooted(tree: Tree, boot_id: str | None) -> None:
    assert not tree.load(boot_id=boot_id).rebooted
    os.unlink(layout.boot_id(tree.meta))
    assert not tree.load(boot_id="another").rebooted


def test_the_end_of_a_stream_is_cut_off_wherever_it_is_torn(tree: Tree) -> None:
    path = Path(layout.task_updates(tree.task))
    whole = path.read_bytes()
    last = len(checkpoint.frame(checkpoint.scan_records(str(path)).messages[-1]))
    for cut in range(1, last):
        path.write_bytes(whole[:-cut])
        assert task_of(tree.load()).acknowledged == frozenset()
        assert path.read_bytes() == whole[:-last]


def test_a_record_that_means_nothing_is_cut_off(tree: Tree) -> None:
    path = layout.task_updates(tree.task)
    whole = Path(path).read_bytes()
    for strict in (True, False):
        Path(path).write_bytes(whole + checkpoint.frame(b"\xff\xff") + whole)
        if strict:
            with pytest.raises(CheckpointError, match="StatusUpdateRecord"):
                tree.load()
        else:
            found = tree.load(strict=False)
            assert found.errors == 1
            assert len(task_of(found).updates) == 3
        assert Path(path).read_bytes() == whole
    assert not tree.load().errors


#: What becomes of files that are gone, empty or damaged: a function of what was found.
Check = Callable[[Found], bool]


def _agent_is_gone(found: Found) -> bool:
    return found.agent is None


def _framework_is_empty(found: Found) -> bool:
    assert found.agent is not None
    return all(framework.executors == () for framework in found.agent.frameworks)


def _executor_is_unknown(found: Found) -> bool:
    return executor_of(found).info is None


def _run_has_no_pid(found: Found) -> bool:
    latest = executor_of(found).latest
    return latest is not None and latest.forked_pid is None


def _task_is_gone(found: Found) -> bool:
    latest = executor_of(found).latest
    return latest is not None and latest.tasks == ()


RECORDS: list[tuple[Callable[[Tree], str], Check]] = [
    (lambda tree: layout.agent_info(tree.agent), _agent_is_gone),
    (lambda tree: layout.framework_info(tree.framework), _framework_is_empty),
    (lambda tree: layout.executor_info(tree.executor), _executor_is_unknown),
    (lambda tree: layout.task_info(tree.task), _task_is_gone),
]
FILES = [
    *RECORDS,
    (lambda tree: layout.framework_pid(tree.framework), _framework_is_empty),
    (lambda tree: layout.forked_pid(tree.run), _run_has_no_pid),
]


@pytest.mark.parametrize(("path", "check"), FILES)
def test_a_file_is_missing_or_empty(tree: Tree, path: Callable[[Tree], str], check: Check) -> None:
    Path(path(tree)).write_bytes(b"")
    found = tree.load()
    assert check(found)
    assert not found.errors
    os.unlink(path(tree))
    assert check(tree.load())


@pytest.mark.parametrize(("path", "check"), FILES)
def test_a_file_cannot_be_read(tree: Tree, path: Callable[[Tree], str], check: Check) -> None:
    os.unlink(path(tree))
    os.mkdir(path(tree))
    with pytest.raises(CheckpointError):
        tree.load()
    found = tree.load(strict=False)
    assert found.errors == 1
    assert check(found)


@pytest.mark.parametrize(("path", "check"), RECORDS)
@pytest.mark.parametrize(
    "content", [b"\x05", b"\x05\0\0\0\x08", b"\x02\0\0\0\xff\xff", b"\0\0\0\0"]
)
def test_a_record_is_damaged(
    tree: Tree, path: Callable[[Tree], str], check: Check, content: bytes
) -> None:
    Path(path(tree)).write_bytes(content)
    with pytest.raises(CheckpointError):
        tree.load()
    found = tree.load(strict=False)
    assert found.errors == 1
    assert check(found)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("content", ["x", "-1", "99999999999", "1 2"])
def test_a_pid_that_is_no_number(tree: Tree, strict: bool, content: str) -> None:
    checkpoint.write_text(layout.forked_pid(tree.run), content)
    with pytest.raises(CheckpointError, match="no number"):
        tree.load(strict=strict)


@pytest.mark.parametrize("strict", [True, False])
def test_the_mark_of_a_generated_executor(tree: Tree, strict: bool) -> None:
    path = layout.generated(tree.executor)
    checkpoint.write_text(path, "0")
    assert not executor_of(tree.load(strict=strict)).generated
    checkpoint.write_text(path, "")
    with pytest.raises(CheckpointError, match="no number"):
        tree.load(strict=strict)
    os.unlink(path)
    assert not executor_of(tree.load(strict=strict)).generated
    info = pb.ExecutorInfo(executor_id=pb.ExecutorID(value="e"), name="Command Executor (Task")
    info.command.value = "/usr/libexec/mesos/mesos-executor"
    tree.write(layout.executor_info(tree.executor), info)
    assert executor_of(tree.load(strict=strict)).generated


@pytest.mark.parametrize("strict", [True, False])
def test_links_that_lead_nowhere(tree: Tree, strict: bool) -> None:
    os.unlink(f"{tree.executor}/runs/latest")
    os.symlink(f"{tree.executor}/runs/gone", f"{tree.executor}/runs/latest")
    executor = executor_of(tree.load(strict=strict))
    assert (executor.latest, executor.old_runs) == (None, ("c",))
    os.unlink(layout.latest_agent(tree.meta))
    assert tree.load(strict=strict).agent is None
    os.symlink("/nowhere", layout.latest_agent(tree.meta))
    with pytest.raises(CheckpointError, match="Failed to find latest agent: No such file"):
        tree.load(strict=strict)


def test_a_completed_run(tree: Tree) -> None:
    checkpoint.touch(layout.sentinel(tree.run))
    latest = executor_of(tree.load()).latest
    assert latest is not None
    assert latest.completed


@pytest.mark.parametrize("strict", [True, False])
def test_draining_never_stands_in_the_way(tree: Tree, strict: bool) -> None:
    path = layout.drain_config(tree.agent)
    tree.write(path, pb.DrainConfig(mark_gone=True))
    found = tree.load(strict=strict)
    assert found.agent is not None
    assert found.agent.drain_config == pb.DrainConfig(mark_gone=True)
    Path(path).write_bytes(b"\1")
    found = tree.load(strict=strict)
    assert found.agent is not None
    assert (found.agent.drain_config, found.errors) == (None, 1)


def test_names_that_are_no_ids_are_passed_over(tree: Tree) -> None:
    os.mkdir(f"{tree.agent}/frameworks/\x01")
    os.mkdir(f"{tree.run}/tasks/[*]")
    shutil.copy(layout.task_info(tree.task), f"{tree.run}/tasks/[*]/")
    latest = executor_of(tree.load()).latest
    assert latest is not None
    assert [task.task_id for task in latest.tasks] == ["[*]", "t"]


def reservation(cpus: float) -> pb.Resource:
    made = pb.Resource(name="cpus", type=pb.Value.SCALAR, role="r")
    made.scalar.value = cpus
    made.reservation.principal = "p"
    return made


def test_resources_of_old_agents(tree: Tree) -> None:
    path = layout.resources_info(tree.meta)
    checkpoint.write_records(path, [reservation(1).SerializeToString()])
    found = tree.load().resources
    assert [r.scalar.value for r in found.committed.resources] == [1]
    assert found.committed.resources[0].reservations[0].role == "r"
    assert found.target is None
    checkpoint.write_bytes(layout.resources_target(tree.meta), b"")
    assert tree.load().resources.target is None
    target = [reservation(2).SerializeToString()]
    checkpoint.write_records(layout.resources_target(tree.meta), target)
    change = tree.load().resources.target
    assert change is not None
    assert [r.scalar.value for r in change.resources] == [2]
    Path(path).write_bytes(b"\1")
    with pytest.raises(CheckpointError):
        tree.load()
    assert tree.load(strict=False).errors == 1


def test_resources_and_operations(tree: Tree) -> None:
    checkpoint.write_records(layout.resources_info(tree.meta), [b"\xff"])
    path = layout.resources_state(tree.meta)
    checkpoint.write_bytes(path, b"")
    assert tree.load().resources.committed == state_pb2.ResourceState()
    tree.write(path, state_pb2.ResourceState(resources=[reservation(1)]))
    state = tree.load().resources
    assert state.committed.resources[0].reservations[0].principal == "p"
    assert state.target is None
    target = state_pb2.ResourceState(resources=[reservation(3)])
    tree.write(layout.resources_state_target(tree.meta), target)
    change = tree.load().resources.target
    assert change is not None
    assert change.resources[0].scalar.value == 3
    for damaged in (path, layout.resources_state_target(tree.meta)):
        Path(damaged).write_bytes(b"\1")
        with pytest.raises(CheckpointError):
            tree.load()
    assert tree.load(strict=False).errors == 2


def restored(tmp_path: Path, name: str) -> str:
    """Copy a recorded meta directory, in which links are files with their targets."""
    source = GOLDEN / name
    if not source.exists():
        pytest.skip("the recorded checkpoints are not here")
    meta = tmp_path / "meta"
    shutil.copytree(source, meta)
    os.chmod(meta, 0o755)
    for path in [meta, *meta.rglob("*")]:
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    for link in list(meta.rglob("latest")):
        target = link.parent / os.path.basename(link.read_text())
        link.unlink()
        link.symlink_to(target)
    return str(tmp_path)


def test_what_another_agent_wrote_while_tasks_ran(tmp_path: Path) -> None:
    work = restored(tmp_path, "meta")
    boot_id = checkpoint.read_text(layout.boot_id(f"{work}/meta"))
    found = load(work, boot_id, strict=True)
    assert not found.errors
    assert found.agent is not None
    assert str(found.agent.agent_id).endswith("-S0")
    group, single = found.agent.frameworks
    (executor,) = single.executors
    assert (executor.executor_id, executor.generated) == ("ckpt", True)
    assert executor.latest is not None
    assert executor.latest.connection is ExecutorProtocol.LIBPROCESS
    assert executor.latest.libprocess_pid == "executor(1)@127.0.0.1:46195"
    (task,) = executor.latest.tasks
    states = [pb.TaskState.Name(u.status.state) for u in task.updates]
    assert states == ["TASK_STARTING", "TASK_RUNNING"]
    assert task.acknowledged == {u.uuid for u in task.updates}
    (executor,) = group.executors
    assert (executor.executor_id, executor.generated) == ("default-executor", False)
    assert executor.latest is not None
    assert executor.latest.connection is ExecutorProtocol.HTTP
    assert {t.task_id for t in executor.latest.tasks} == {"tg-a", "tg-b"}
    assert not any(resource.HasField("role") for resource in task.info.resources)


def test_what_another_agent_wrote_when_they_had_ended(tmp_path: Path) -> None:
    found = load(restored(tmp_path, "after/meta"), None, strict=True)
    assert found.agent is not None
    runs = [e.latest for framework in found.agent.frameworks for e in framework.executors]
    assert runs
    assert all(run is not None and run.completed for run in runs)
