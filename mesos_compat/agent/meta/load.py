# SPDX-License-Identifier: Apache-2.0
"""Reads the meta directory that an earlier process left.

A pure read but for two things: after a reboot the pids of containers are removed, and a torn or
unusable tail of a stream of updates is cut off, since records are appended behind it later.

Directory names are authoritative for ids; names that are no ids are passed over.

Deviations: of an executor only the latest run is read; an empty ``resources.target`` is no target.

Source: spec ``state-and-recovery`` 10.2.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.message import Message

from mesos_compat.agent import paths
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.recovered import (
    AgentFound,
    ExecutorFound,
    ExecutorProtocol,
    Found,
    FrameworkFound,
    OperationFound,
    ResourcesFound,
    RunFound,
    TaskFound,
)
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError
from mesos_compat.libprocess.upid import UPID
from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, id_error
from mesos_compat.model.resources import upgrade_all
from mesos_compat.model.stored import parse_stored
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages
from mesos_compat.pb.mesos.internal.slave import state_pb2

log = logging.getLogger(__name__)

_M = TypeVar("_M", bound=Message)


def load(work_dir: str, boot_id: str | None, *, strict: bool) -> Found:
    """Read what is below ``work_dir``; ``boot_id`` is that of the host now, if it is known.

    Blocks. Raises CheckpointError for damage that is fatal; without ``strict`` most is not, but
    counted in ``errors``.
    """
    meta = paths.meta(work_dir)
    if not os.path.isdir(meta):
        return Found()
    return _Loader(meta, boot_id, strict).load()


class _Loader:
    def __init__(self, meta: str, boot_id: str | None, strict: bool) -> None:
        self._meta = meta
        self._boot_id = boot_id
        self._strict = strict
        self._rebooted = False
        self._errors = 0

    def load(self) -> Found:
        resources = self._resources()
        self._rebooted = self._was_rebooted()
        agent = self._agent()
        return Found(self._rebooted, agent, resources, self._errors)

    # -- damage -------------------------------------------------------------------------------

    def _pass_over(self, error: CheckpointError) -> None:
        """Write damage down, if that is tolerated; raises it otherwise."""
        if self._strict:
            raise error
        self._note(error)

    def _note(self, error: CheckpointError) -> None:
        log.warning("Passing over what cannot be recovered: %s", error)
        self._errors += 1

    def _message(self, path: str, kind: type[_M]) -> _M | None:
        """Read a record with the resources in it upgraded; ``None`` if it is not there."""
        try:
            return _record(path, kind)
        except CheckpointError as error:
            self._pass_over(error)
            return None

    def _text(self, path: str) -> str | None:
        """Read a text; ``None`` if it is not there."""
        try:
            return checkpoint.read_text(path)
        except CheckpointError as error:
            self._pass_over(error)
            return None

    # -- resources ----------------------------------------------------------------------------

    def _resources(self) -> ResourcesFound:
        target = self._message(layout.resources_state_target(self._meta), state_pb2.ResourceState)
        path = layout.resources_state(self._meta)
        if not os.path.lexists(path):
            found = self._resources_before_1_8()
            # Of the very first change nothing may have its name yet.
            return found if target is None else ResourcesFound(found.committed, target)
        committed = self._message(path, state_pb2.ResourceState)
        return ResourcesFound(committed or state_pb2.ResourceState(), target)

    def _resources_before_1_8(self) -> ResourcesFound:
        committed = self._resource_sequence(layout.resources_info(self._meta))
        if committed is None:
            return ResourcesFound()
        target = self._resource_sequence(layout.resources_target(self._meta))
        # An empty file is what a loss of power leaves; upstream takes it for a wish to have
        # nothing, and removes all volumes.
        return ResourcesFound(committed, target if target and target.resources else None)

    def _resource_sequence(self, path: str) -> state_pb2.ResourceState | None:
        if not os.path.lexists(path):
            return None
        made = state_pb2.ResourceState()
        try:
            for content in checkpoint.read_records(path):
                made.resources.append(_parse(path, content, pb.Resource))
        except CheckpointError as error:
            self._pass_over(error)
            return None
        return made

    def _was_rebooted(self) -> bool:
        try:
            before = checkpoint.read_text(layout.boot_id(self._meta))
        except CheckpointError as error:
            log.warning("Cannot tell whether the host was rebooted: %s", error)
            return False
        return None not in (before, self._boot_id) and (before or "").strip() != self._boot_id

    # -- agent, frameworks, executors -----------------------------------------------------------

    def _agent(self) -> AgentFound | None:
        link = layout.latest_agent(self._meta)
        if not os.path.lexists(link):
            return None
        try:
            directory = os.path.realpath(link, strict=True)
        except OSError as error:
            raise CheckpointError(link, f"Failed to find latest agent: {error.strerror}") from error
        agent_id = AgentId(os.path.basename(directory))
        info = self._message(layout.agent_info(directory), pb.SlaveInfo)
        if info is None:
            log.warning("No information about agent %s was kept: it registers anew", agent_id)
            return None
        info.id.value = agent_id
        frameworks = tuple(
            self._framework(f"{directory}/frameworks/{name}", FrameworkId(name))
            for name in _names(f"{directory}/frameworks")
        )
        operations = tuple(self._operations(directory))
        return AgentFound(agent_id, info, self._drain_config(directory), frameworks, operations)

    def _operations(self, directory: str) -> Iterator[OperationFound]:
        for name in _names(layout.operations(directory)):
            try:
                operation = uuid.UUID(name)
            except ValueError:
                path = f"{layout.operations(directory)}/{name}"
                raise CheckpointError(path, "is no UUID of an operation") from None
            updates: list[messages.UpdateOperationStatusMessage] = []
            acknowledged: set[bytes] = set()
            path = layout.operation_updates(directory, operation)
            for record in self._stream(path, messages.UpdateOperationStatusRecord):
                if record.type == messages.UpdateOperationStatusRecord.UPDATE:
                    updates.append(record.update)
                else:
                    acknowledged.add(record.uuid.value)
            yield OperationFound(operation.bytes, tuple(updates), frozenset(acknowledged))

    def _drain_config(self, directory: str) -> pb.DrainConfig | None:
        try:
            return _record(layout.drain_config(directory), pb.DrainConfig)
        except CheckpointError as error:
            self._note(error)
            return None

    def _framework(self, directory: str, framework_id: FrameworkId) -> FrameworkFound:
        info = self._message(layout.framework_info(directory), pb.FrameworkInfo)
        pid = self._text(layout.framework_pid(directory))
        if info is None or not pid:
            log.warning("Framework %s was not kept completely", framework_id)
            return FrameworkFound(framework_id, None, None, ())
        if not info.HasField("id"):
            info.id.value = framework_id
        executors = tuple(
            self._executor(f"{directory}/executors/{name}", ExecutorId(name))
            for name in _names(f"{directory}/executors")
        )
        scheduler = UPID.parse(pid.strip())
        return FrameworkFound(framework_id, info, str(scheduler) if scheduler else "", executors)

    def _executor(self, directory: str, executor_id: ExecutorId) -> ExecutorFound:
        runs = [name for name in _names(paths.runs(directory)) if name != "latest"]
        if self._rebooted:
            for name in runs:
                _forget_pid(layout.forked_pid(f"{paths.runs(directory)}/{name}"))
        info = self._message(layout.executor_info(directory), pb.ExecutorInfo)
        if info is None:
            log.warning("No information about executor %s was kept", executor_id)
            return ExecutorFound(executor_id, None, False, None, tuple(runs))
        latest = _latest(paths.latest_run(directory))
        if latest is None:
            log.warning("Executor %s has no latest run", executor_id)
            return ExecutorFound(executor_id, info, False, None, tuple(runs))
        generated = _generated(layout.generated(directory), info)
        run = self._run(latest, ContainerId(os.path.basename(latest)))
        old = tuple(name for name in runs if name != run.container_id.value)
        return ExecutorFound(executor_id, info, generated, run, old)

    def _run(self, directory: str, container_id: ContainerId) -> RunFound:
        tasks = [
            self._task(layout.task(directory, TaskId(name)), TaskId(name))
            for name in _names(layout.tasks(directory))
        ]
        pid: int | None = None
        connection = ExecutorProtocol.UNKNOWN
        upid = ""
        if not self._rebooted:
            pid = self._forked_pid(layout.forked_pid(directory))
            connection, upid = self._connection(directory)
        return RunFound(
            container_id,
            os.path.lexists(layout.sentinel(directory)),
            pid,
            connection,
            upid,
            tuple(task for task in tasks if task is not None),
        )

    def _forked_pid(self, path: str) -> int | None:
        text = self._text(path)
        if not text:
            return None
        return _integer(path, text)

    def _connection(self, directory: str) -> tuple[ExecutorProtocol, str]:
        text = self._text(layout.libprocess_pid(directory))
        if text is None:
            marked = os.path.lexists(layout.http_marker(directory))
            return (ExecutorProtocol.HTTP if marked else ExecutorProtocol.UNKNOWN), ""
        upid = UPID.parse(text.strip())
        return (ExecutorProtocol.LIBPROCESS, str(upid)) if upid else (ExecutorProtocol.UNKNOWN, "")

    def _task(self, directory: str, task_id: TaskId) -> TaskFound | None:
        info = self._message(layout.task_info(directory), pb.Task)
        if info is None:
            return None
        updates, acknowledged = self._updates(layout.task_updates(directory))
        return TaskFound(task_id, info, tuple(updates), frozenset(acknowledged))

    def _updates(self, path: str) -> tuple[list[messages.StatusUpdate], set[bytes]]:
        updates: list[messages.StatusUpdate] = []
        acknowledged: set[bytes] = set()
        for record in self._stream(path, messages.StatusUpdateRecord):
            if record.type == messages.StatusUpdateRecord.UPDATE:
                updates.append(record.update)
            else:
                acknowledged.add(record.uuid)
        return updates, acknowledged

    def _stream(self, path: str, kind: type[_M]) -> list[_M]:
        """Read the records of a stream, and leave the file so that others can be appended."""
        found = checkpoint.scan_records(path)
        records: list[_M] = []
        end = 0
        for content in found.messages:
            try:
                records.append(_parse(path, content, kind))
            except CheckpointError as error:
                checkpoint.truncate(path, end)
                self._pass_over(error)
                return records
            end += checkpoint.PREFIX_BYTES + len(content)
        if found.torn:
            log.warning("Cutting off the incomplete last record of %s", path)
            checkpoint.truncate(path, found.end)
        return records


def _names(directory: str) -> list[str]:
    """The usable ids among the entries of a directory, in a fixed order."""
    try:
        found = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(directory, f"Failed to read: {error.strerror}") from error
    for name in found:
        if id_error(name) is not None:
            log.warning("Passing over %r in %s", name, directory)
    return [name for name in found if id_error(name) is None]


def _record(path: str, kind: type[_M]) -> _M | None:
    content = checkpoint.read_record(path)
    return None if content is None else _parse(path, content, kind)


def _parse(path: str, content: bytes, kind: type[_M]) -> _M:
    made = parse_stored(path, content, kind)
    upgrade_all(made)
    return made


def _latest(link: str) -> str | None:
    """The directory that a ``latest`` link leads to; ``None`` if it leads nowhere."""
    try:
        return os.path.realpath(link, strict=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(link, f"Failed to find latest run: {error.strerror}") from error


def _generated(path: str, info: pb.ExecutorInfo) -> bool:
    text = checkpoint.read_text(path)
    if text is None:
        command = info.command.value
        return command.endswith("mesos-executor") and info.name.startswith("Command Executor")
    return _integer(path, text) != 0


def _integer(path: str, text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 10:
        raise CheckpointError(path, "is no number")
    return int(digits)


def _forget_pid(path: str) -> None:
    """Remove the pid of a container that ran before the host was started."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CheckpointError(path, f"Failed to remove: {error.strerror}") from error
