# SPDX-License-Identifier: Apache-2.0
"""mesos-execute: run one task, or one group of tasks, and show what becomes of it.

Output and exit codes are upstream's. Deviation: it gives up after ``--offer_timeout`` where
upstream waits for ever (no master, no offer that fits), it goes on looking at offers after it
declined some, follows a master that names the leading one, takes ``http://`` and ``https://`` for
``--master``, stays subscribed while no master is known, and SIGINT and SIGTERM tear its framework
down.

Source: spec ``state-and-recovery`` 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from mesos_compat.base import log as glog
from mesos_compat.base.errors import FlagError, MesosCompatError, WireError
from mesos_compat.base.scope import Scope
from mesos_compat.base.units import format_duration
from mesos_compat.cli.execute_leader import LeadingMaster
from mesos_compat.cli.execute_plan import (
    FLAGS,
    ExecuteError,
    ExecutePlan,
    Package,
    plan,
    required,
    resources_of,
)
from mesos_compat.master.detected import Detector
from mesos_compat.master.detector import detect
from mesos_compat.model import jsonpb
from mesos_compat.model.evolve import evolve
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.scheduler import scheduler_pb2 as api
from mesos_compat.v1.scheduler_client import (
    CallRefused,
    MasterUnavailable,
    NotLeading,
    SchedulerClient,
)

log = logging.getLogger(__name__)

#: Seconds between attempts to subscribe.
RETRY_S = 1.0
#: Seconds that the master has for a TEARDOWN when we are told to stop.
TEARDOWN_TIMEOUT_S = 5.0

_GROUP_EXECUTOR_RESOURCES = "cpus:0.1;mem:32;disk:32"
_TERMINAL = frozenset(
    {
        v1.TASK_FINISHED,
        v1.TASK_FAILED,
        v1.TASK_KILLED,
        v1.TASK_LOST,
        v1.TASK_ERROR,
        v1.TASK_DROPPED,
        v1.TASK_GONE,
        v1.TASK_GONE_BY_OPERATOR,
    }
)


class ExecuteRun:
    """One run: subscribe, launch once, follow the tasks to their end."""

    def __init__(
        self, wanted: ExecutePlan, client: SchedulerClient, detector: Detector, scope: Scope
    ) -> None:
        self._plan = wanted
        self._client = client
        self._leader = LeadingMaster(detector, scope, client.unsubscribe)
        self._scope = scope
        self._framework = v1.FrameworkInfo()
        self._framework.CopyFrom(wanted.framework)
        self._required = required(wanted.tasks)
        self._deadline = asyncio.timeout(wanted.offer_timeout_s)
        self._launched = False
        self._ended = 0
        self._declined = 0
        self._reason = "no master is known"

    async def run(self) -> None:
        """Return when all tasks have ended. Raises ExecuteError."""
        try:
            async with self._deadline:
                while not self._done:
                    await self._subscribe_once()
        except TimeoutError:
            raise ExecuteError(self._timeout_text()) from None

    async def tear_down(self) -> None:
        """Let the master kill the tasks and forget the framework."""
        if self._framework.HasField("id"):
            with contextlib.suppress(MesosCompatError, TimeoutError):
                async with asyncio.timeout(TEARDOWN_TIMEOUT_S):
                    await self._client.call(self._call(api.Call.TEARDOWN))

    @property
    def _done(self) -> bool:
        return self._launched and self._ended >= len(self._plan.tasks)

    async def _subscribe_once(self) -> None:
        try:
            self._client.master = await self._leader.find()
        except MesosCompatError as error:
            raise ExecuteError(f"Failed to detect a master: {error}") from error
        self._reason = "no answer"
        try:
            events = self._client.subscribe(self._framework)
            async with contextlib.aclosing(events):
                async for event in events:
                    await self._handle(event)
                    if self._done:
                        return
            self._reason = "the master ended the subscription"
        except NotLeading as error:
            self._reason = str(error)
            if await self._leader.redirect(error.leader):
                log.info("%s", error)
                return
        except MasterUnavailable as error:
            self._reason = str(error)
        except (CallRefused, WireError) as error:
            raise ExecuteError(f"Received an ERROR event: {error}") from error
        log.warning("Not subscribed: %s", self._reason)
        self._leader.failed()
        await asyncio.sleep(RETRY_S)

    async def _handle(self, event: api.Event) -> None:
        match event.type:
            case api.Event.SUBSCRIBED:
                self._framework.id.CopyFrom(event.subscribed.framework_id)
                _say(f"Subscribed with ID {self._framework.id.value}")
            case api.Event.OFFERS:
                for offer in event.offers.offers:
                    await self._handle_offer(offer)
            case api.Event.UPDATE:
                await self._handle_update(event.update.status)
            case api.Event.ERROR:
                raise ExecuteError(f"Received an ERROR event: {event.error.message}")
            case api.Event.UNKNOWN:
                log.warning("Received an UNKNOWN event and ignored it")

    # Offers.

    async def _handle_offer(self, offer: v1.Offer) -> None:
        operation = None if self._launched else self._operation(offer)
        if operation is None:
            call = self._call(api.Call.DECLINE)
            call.decline.offer_ids.add().CopyFrom(offer.id)
            await self._client.call(call)
            self._declined += not self._launched
            return
        call = self._call(api.Call.ACCEPT)
        call.accept.offer_ids.add().CopyFrom(offer.id)
        call.accept.operations.append(operation)
        await self._client.call(call)
        self._launched = True
        self._deadline.reschedule(None)
        if self._plan.group:
            ids = ", ".join(task.task_id.value for task in self._plan.tasks)
            what = f"task group with tasks [ {ids} ]"
        else:
            what = f"task '{self._plan.tasks[0].name}'"
        _say(f"Submitted {what} to agent '{offer.agent_id.value}'")
        await self._client.call(self._call(api.Call.SUPPRESS))

    def _operation(self, offer: v1.Offer) -> v1.Offer.Operation | None:
        """Return the launch on ``offer``; ``None`` if it does not fit."""
        try:
            offered = resources_of(offer.resources).unallocated()
        except WireError as error:
            log.warning("Declining offer %s: %s", offer.id.value, error)
            return None
        if not offered.to_unreserved().contains(self._required):
            log.info("Declining offer %s: %s does not fit", offer.id.value, offered)
            return None
        tasks = []
        for task in self._plan.tasks:
            found = offered.find(self._reserved(resources_of(task.resources)))
            if found is None:
                return None
            made = v1.TaskInfo()
            made.CopyFrom(task)
            made.agent_id.CopyFrom(offer.agent_id)
            del made.resources[:]
            made.resources.extend(evolve(resource, v1.Resource) for resource in found)
            tasks.append(made)
        operation = v1.Offer.Operation(type=v1.Offer.Operation.LAUNCH)
        if not self._plan.group:
            operation.launch.task_infos.extend(tasks)
            return operation
        operation.type = v1.Offer.Operation.LAUNCH_GROUP
        operation.launch_group.executor.CopyFrom(self._executor())
        operation.launch_group.task_group.tasks.extend(tasks)
        return operation

    def _reserved(self, wanted: Resources) -> Resources:
        """Return ``wanted`` as reserved to our role, so that such resources are taken first."""
        if self._plan.role == "*":
            return wanted
        made = wanted.to_unreserved().messages()
        for resource in made:
            resource.reservations.add(type=pb.Resource.ReservationInfo.STATIC, role=self._plan.role)
        return Resources.of(made)

    def _executor(self) -> v1.ExecutorInfo:
        made = v1.ExecutorInfo(type=v1.ExecutorInfo.DEFAULT)
        made.executor_id.value = "default-executor"
        made.framework_id.CopyFrom(self._framework.id)
        for resource in Resources.parse(_GROUP_EXECUTOR_RESOURCES):
            made.resources.append(evolve(resource, v1.Resource))
        for name in self._plan.networks:
            made.container.type = v1.ContainerInfo.MESOS
            made.container.network_infos.add(name=name)
        return made

    def _timeout_text(self) -> str:
        waited = format_duration(round((self._plan.offer_timeout_s or 0) * 1e9))
        if not self._framework.HasField("id"):
            return f"Failed to subscribe with the master within {waited}: {self._reason}"
        count = f"{self._declined} declined" if self._declined else "there was no offer at all"
        return (
            f"No offer with {self._required} arrived within {waited} ({count});"
            " --offer_timeout sets how long to wait"
        )

    # Updates.

    async def _handle_update(self, status: v1.TaskStatus) -> None:
        for line in update_lines(status):
            _say(line)
        if status.HasField("uuid"):
            call = self._call(api.Call.ACKNOWLEDGE)
            call.acknowledge.agent_id.CopyFrom(status.agent_id)
            call.acknowledge.task_id.CopyFrom(status.task_id)
            call.acknowledge.uuid = status.uuid
            await self._client.call(call)
        if status.state == v1.TASK_RUNNING and self._plan.kill_after_s is not None:
            self._scope.spawn(
                self._kill_later(status, self._plan.kill_after_s),
                f"kill {status.task_id.value} later",
            )
        if status.state in _TERMINAL:
            self._ended += 1

    async def _kill_later(self, status: v1.TaskStatus, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        call = self._call(api.Call.KILL)
        call.kill.task_id.CopyFrom(status.task_id)
        call.kill.agent_id.CopyFrom(status.agent_id)
        await self._client.call(call)
        _say(f"Asked to kill task '{status.task_id.value}' on agent '{status.agent_id.value}'")

    def _call(self, kind: api.Call.Type) -> api.Call:
        call = api.Call(type=kind)
        call.framework_id.CopyFrom(self._framework.id)
        return call


def update_lines(status: v1.TaskStatus) -> list[str]:
    """Return the lines that show a status."""
    state = v1.TaskState.Name(status.state)
    lines = [f"Received status update {state} for task '{status.task_id.value}'"]
    if status.HasField("message"):
        lines.append(f"  message: '{status.message}'")
    if status.HasField("source"):
        lines.append(f"  source: {v1.TaskStatus.Source.Name(status.source)}")
    if status.HasField("reason"):
        lines.append(f"  reason: {v1.TaskStatus.Reason.Name(status.reason)}")
    if status.HasField("healthy"):
        lines.append(f"  healthy?: {int(status.healthy)}")
    if status.HasField("check_status"):
        lines.append(f"  check status: {_check_text(status.check_status)}")
    if status.HasField("limitation"):
        values = [jsonpb.to_value(resource) for resource in status.limitation.resources]
        text = jsonpb.dumps(list(values)).decode("utf-8", "replace")
        lines.append(f"  resource limit violation: {text}")
    return lines


def _check_text(check: v1.CheckStatusInfo) -> str:
    text = v1.CheckInfo.Type.Name(check.type)
    match check.type:
        case v1.CheckInfo.COMMAND if check.command.HasField("exit_code"):
            text += f" exit code {check.command.exit_code}"
        case v1.CheckInfo.HTTP if check.http.HasField("status_code"):
            text += f" status code {check.http.status_code}"
        case v1.CheckInfo.TCP if check.tcp.HasField("succeeded"):
            text += " connection success" if check.tcp.succeeded else " connection failure"
    return text


def _say(line: str) -> None:
    print(line, flush=True)


async def execute(wanted: ExecutePlan) -> int:
    """Run ``wanted``; return the exit code. Raises ExecuteError and FlagError."""
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    assert me is not None
    told: list[int] = []

    def stop(number: int) -> None:
        told.append(number)
        assert me is not None
        me.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        async with wanted.master.client(os.environ) as http, Scope("mesos-execute") as scope:
            client = SchedulerClient(
                http, content_type=wanted.content_type, credential=wanted.credential
            )
            detector = await asyncio.to_thread(detect, wanted.master.rest, scope)
            execution = ExecuteRun(wanted, client, detector, scope)
            try:
                await execution.run()
            except asyncio.CancelledError:
                if len(told) != 1:
                    raise
                me.uncancel()
                log.warning("Told to stop: tearing the framework down")
                await execution.tear_down()
                return 128 + told[0]
            return 0
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def upload(package: Package) -> None:
    """Copy a file to HDFS. Raises ExecuteError."""

    def hadoop(*arguments: str) -> bool:
        try:
            return subprocess.run([package.hadoop, "fs", *arguments], check=False).returncode == 0
        except OSError as error:
            raise ExecuteError(f"Failed to run '{package.hadoop}': {error.strerror}") from error

    if hadoop("-test", "-e", package.remote):
        if not package.overwrite:
            raise ExecuteError("File already exists (see --overwrite)")
        if not hadoop("-rm", package.remote):
            raise ExecuteError(f"Failed to remove existing file '{package.remote}'")
    if not hadoop("-copyFromLocal", package.local, package.remote):
        raise ExecuteError(f"Failed to copy package '{package.local}' to '{package.remote}'")


def main(argv: Sequence[str] | None = None) -> int:
    """Run mesos-execute; return its exit code."""
    loaded = FLAGS.load(sys.argv[1:] if argv is None else argv)
    if loaded.values["help"]:
        print(FLAGS.help(), end="")
        return 0
    if loaded.error is not None:
        hint = f"{loaded.hint}\n" if loaded.hint else ""
        print(f"{loaded.error}\n{hint}\n{FLAGS.help()}", end="", file=sys.stderr)
        return 1
    logs = glog.start("mesos-execute", environ=os.environ)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    try:
        wanted = plan(loaded.values)
        if wanted.package is not None:
            upload(wanted.package)
        return asyncio.run(execute(wanted))
    except (ExecuteError, FlagError) as error:
        print(f"EXIT with status 1: {error}", file=sys.stderr)
        if getattr(error, "usage", False):
            print(f"\n{FLAGS.help()}", end="", file=sys.stderr)
        return 1
    finally:
        logs.stop()


if __name__ == "__main__":
    sys.exit(main())
