# SPDX-License-Identifier: Apache-2.0
"""The default executor: runs groups of tasks, each task in a container nested in ours.

``groups`` decides, here it is done. ``main`` runs as the init of its container, forked from a
preloaded process, or as the program ``mesos-default-executor``. One thread.

Source: spec ``executors`` 3.3, 6.
Deviation: a task whose sandbox cannot be linked by its id runs all the same; after a shutdown the
last acknowledgements are waited for for a second only, as nobody sends them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from functools import partial

from containerizer.init.pid1 import Init
from mesos_compat.base.errors import FlagError
from mesos_compat.executor import groups as plan
from mesos_compat.executor import program, task
from mesos_compat.executor.checks import Health
from mesos_compat.executor.children import Children
from mesos_compat.executor.client import AgentClient, ClientSettings
from mesos_compat.executor.dispatch import dispatch
from mesos_compat.executor.flags import parse_default_flags
from mesos_compat.executor.groups import Alarm, Effect, GroupTask, RunningGroup, TaskGroups
from mesos_compat.executor.log import SandboxLog
from mesos_compat.executor.loop import Loop, Timer
from mesos_compat.executor.nested import Answer, Line
from mesos_compat.executor.prober import TaskChecks
from mesos_compat.executor.sessions import NestedRuns
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api

_ANY_ADDRESS = "0.0.0.0"


class DefaultExecutor:
    """All groups from their launch to the acknowledgement of the last status."""

    def __init__(
        self,
        loop: Loop,
        settings: ClientSettings,
        sandbox: str,
        container_ip: str | None,
        log: SandboxLog,
        init: Init | None = None,
    ) -> None:
        """``sandbox`` is our own, and the working directory."""
        self._loop = loop
        self._settings = settings
        self._sandbox = sandbox
        self._log = log
        # Reaps the orphans of our pid namespace, too, if that is ours.
        self._children = Children(loop, init)
        self._client = AgentClient(loop, settings, self, log)
        self._groups = TaskGroups(container_ip)
        #: By container id; calls that go on for long, one at a time.
        self._lines: dict[str, Line] = {}
        self._timers: dict[tuple[str, Alarm], Timer] = {}
        self._checks: dict[str, TaskChecks] = {}
        #: The last status of each task that has checks.
        self._statuses: dict[str, v1.TaskStatus] = {}
        #: Lines of signals under way.
        self._signals: set[Line] = set()
        #: Set while there is nothing to do but to be sure that the agent knows everything.
        self._leaving = False
        self._patience: Timer | None = None

    def start(self) -> None:
        """Begin to talk to the agent."""
        self._client.start()

    def close(self) -> None:
        """Close all connections."""
        for line in (*self._lines.values(), *self._signals):
            line.close()
        self._client.close()

    # Events.

    def handle(self, event: api.Event) -> None:
        """Handle an event (see ``client.EventHandler``)."""
        dispatch(self, event, _HANDLERS, self._log)

    def disconnected(self, for_good: bool) -> None:
        """Stop to wait for containers (see ``client.EventHandler``)."""
        self._groups.disconnected()
        for checks in self._checks.values():
            checks.pause()
        for member in self._groups:
            if member.waiting:
                self._line(member).close()
        if for_good:
            self._loop.stop(0)

    def _subscribed(self, event: api.Event) -> None:
        subscribed = event.subscribed
        capabilities = subscribed.framework_info.capabilities
        self._perform(self._groups.subscribed(subscribed.container_id, capabilities))
        for checks in self._checks.values():
            checks.resume()

    def _acknowledged(self, event: api.Event) -> None:
        self._leave_if_all_is_known()

    def _launch(self, event: api.Event) -> None:
        self._log.error("LAUNCH event is not supported")
        self._shutdown(event)

    def _launch_group(self, event: api.Event) -> None:
        tasks = event.launch_group.task_group.tasks
        names = ", ".join(info.task_id.value for info in tasks)
        self._log.info(f"Starting task group with tasks [ {names} ]")
        self._perform(self._groups.launch((info, str(task.random_uuid())) for info in tasks))

    def _kill(self, event: api.Event) -> None:
        self._log.info(f"Received kill for task {event.kill.task_id.value}")
        self._perform(self._groups.kill(event.kill.task_id.value, event.kill.kill_policy))

    def _shutdown(self, event: api.Event) -> None:
        self._log.info("Shutting down")
        self._perform(self._groups.shut_down())

    # What ``groups`` decided.

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case plan.TellStatus():
                    self._tell(effect)
                case plan.TellNews(member, news):
                    self._tell_news(member, news)
                case plan.StartChecks(member):
                    self._start_checks(member)
                case plan.StopChecks(member):
                    self._stop_checks(member)
                case plan.AcceptTask(member):
                    self._accept(member)
                case plan.ConnectGroup(group):
                    self._connect(group)
                case plan.LaunchNested(member, call):
                    self._launch_container(member, call)
                case plan.LinkSandbox(member):
                    self._link(member)
                case plan.WaitNested(member):
                    self._wait(member)
                case plan.SignalNested(member, number):
                    self._signal(member, number)
                case plan.SetAlarm(member, alarm, seconds):
                    self._arm(member, alarm, seconds)
                case plan.DropAlarm(member, alarm):
                    self._cancel((member.name, alarm))
                case plan.ReleaseTask(member):
                    self._release(member)
                case plan.LeaveAgent(final):
                    self._leave(final)

    def _tell(self, effect: plan.TellStatus) -> None:
        member = effect.member
        info = member.info
        status = task.status(
            info.task_id,
            self._settings.executor_id,
            effect.state,
            message=effect.message,
            reason=effect.reason,
            check=info.check if info.HasField("check") else None,
        )
        status.container_status.container_id.CopyFrom(member.container_id)
        if effect.limitation is not None:
            status.limitation.CopyFrom(effect.limitation)
        if effect.healthy is not None:
            status.healthy = effect.healthy
        if member.name in self._checks:
            self._statuses[member.name] = status
        said = f": {effect.message}" if effect.message else ""
        self._log.info(f"{v1.TaskState.Name(effect.state)} for task {member.task_id}{said}")
        self._client.update(status)

    def _tell_news(self, member: GroupTask, news: v1.CheckStatusInfo | bool) -> None:
        status = v1.TaskStatus()
        status.CopyFrom(self._statuses[member.name])
        if isinstance(news, bool):
            status.healthy = news
            task.renew(status, v1.TaskStatus.REASON_TASK_HEALTH_CHECK_STATUS_UPDATED)
        else:
            status.check_status.CopyFrom(news)
            task.renew(status, v1.TaskStatus.REASON_TASK_CHECK_STATUS_UPDATED)
        self._statuses[member.name] = status
        self._client.update(status)

    def _start_checks(self, member: GroupTask) -> None:
        runs = NestedRuns(
            self._loop, self._children, self._settings, member.container_id, self._log
        )
        listener = _Listener(self, member)
        made = TaskChecks(self._loop, member.info, runs.start, listener, self._log)
        self._checks[member.name] = made

    def _stop_checks(self, member: GroupTask) -> None:
        checks = self._checks.pop(member.name, None)
        if checks is not None:
            checks.stop()

    def checked(self, member: GroupTask, status: v1.CheckStatusInfo) -> None:
        """Take what a check of a task has found."""
        self._perform(self._groups.checked(member, status))

    def health_changed(self, member: GroupTask, health: Health) -> None:
        """Take what a health check of a task has found."""
        self._perform(self._groups.health_changed(member, health))

    def _accept(self, member: GroupTask) -> None:
        self._stay()
        info = member.info
        self._client.task_launched(info)

    def _connect(self, group: RunningGroup) -> None:
        left = len(group.members)
        failures: list[str] = []

        def connected(answer: Answer) -> None:
            nonlocal left
            left -= 1
            if answer.lost:
                failures.append(answer.text)
            if left == 0:
                self._group_connected(group, failures)

        for member in group.members:
            self._line(member).connect(connected)

    def _group_connected(self, group: RunningGroup, failures: list[str]) -> None:
        for why in failures[:1]:
            self._log.error(f"Unable to establish connection with the agent: {why}")
        self._perform(self._groups.connected(group, not failures))

    def _launch_container(self, member: GroupTask, call: agent_pb2.Call) -> None:
        def answered(answer: Answer) -> None:
            said = f"{answer.status} {answer.text}".rstrip()
            self._log.info(f"Launch of container {member.name} for task {member.task_id}: {said}")
            self._perform(self._groups.launched(member, answer))

        self._line(member).ask(call, answered)

    def _link(self, member: GroupTask) -> None:
        """Let operators find the sandbox of a task."""
        path = os.path.join("tasks", member.task_id)
        target = os.path.join(self._sandbox, "containers", member.name)
        try:
            if "/" in member.task_id:
                raise OSError("its id is no file name")
            os.makedirs("tasks", 0o755, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.symlink(target, path)
        except OSError as error:
            self._log.error(f"Failed to link the sandbox of task {member.task_id}: {error}")

    def _wait(self, member: GroupTask) -> None:
        call = agent_pb2.Call(type=agent_pb2.Call.WAIT_NESTED_CONTAINER)
        call.wait_nested_container.container_id.CopyFrom(member.container_id)
        # A retry that is due later would break this wait off to begin it again.
        self._cancel((member.name, Alarm.WAIT))
        line = self._line(member)
        if line.busy:
            line.close()
        line.ask(call, lambda answer: self._perform(self._groups.waited(member, answer)))

    def _signal(self, member: GroupTask, number: int) -> None:
        call = agent_pb2.Call(type=agent_pb2.Call.KILL_NESTED_CONTAINER)
        call.kill_nested_container.container_id.CopyFrom(member.container_id)
        call.kill_nested_container.signal = number
        line = Line(self._loop, self._settings)
        self._signals.add(line)
        self._log.info(f"Sending signal {number} to container {member.name}")

        def answered(answer: Answer) -> None:
            self._signals.discard(line)
            line.close()
            if answer.status != 200:
                said = f"{answer.status} {answer.text}"
                self._log.warning(f"Failed to signal container {member.name}: {said}")
            self._perform(self._groups.signalled(member, number, answer))

        line.ask(call, answered)

    def _arm(self, member: GroupTask, alarm: Alarm, seconds: float) -> None:
        key = (member.name, alarm)
        self._cancel(key)
        alarmed = partial(_ALARMS[alarm], self._groups, member)
        self._timers[key] = self._loop.later(seconds, lambda: self._perform(alarmed()))

    def _cancel(self, key: tuple[str, Alarm]) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _release(self, member: GroupTask) -> None:
        self._stop_checks(member)
        self._statuses.pop(member.name, None)
        for alarm in Alarm:
            self._cancel((member.name, alarm))
        line = self._lines.pop(member.name, None)
        if line is not None:
            line.close()

    def _line(self, member: GroupTask) -> Line:
        line = self._lines.get(member.name)
        if line is None:
            line = self._lines[member.name] = Line(self._loop, self._settings)
        return line

    # The end.

    def _leave(self, final: bool) -> None:
        self._stay()
        self._leaving = True
        self._patience = self._loop.later(program.ACK_TIMEOUT_S, self._on_ack_timeout)
        if final:
            self._loop.later(program.SHUTDOWN_ACK_TIMEOUT_S, self._leave_if_connected)
        self._leave_if_all_is_known()

    def _stay(self) -> None:
        """There is something to do again."""
        self._leaving = False
        if self._patience is not None:
            self._patience.cancel()

    def _leave_if_all_is_known(self) -> None:
        if self._leaving and self._client.all_acknowledged:
            self._loop.stop(0)

    def _leave_if_connected(self) -> None:
        # An agent that is away gets the updates when it comes back.
        if self._client.subscribed:
            self._loop.stop(0)

    def _on_ack_timeout(self) -> None:
        self._log.error("Did not receive ACK for the terminal status update from the agent")
        self._loop.stop(0)


class _Listener:
    """Tells the executor whose checks have found something; implements CheckListener."""

    def __init__(self, executor: DefaultExecutor, member: GroupTask) -> None:
        self._executor = executor
        self._member = member

    def checked(self, status: v1.CheckStatusInfo) -> None:
        self._executor.checked(self._member, status)

    def health_changed(self, health: Health) -> None:
        self._executor.health_changed(self._member, health)


_HANDLERS = {
    api.Event.SUBSCRIBED: DefaultExecutor._subscribed,
    api.Event.ACKNOWLEDGED: DefaultExecutor._acknowledged,
    api.Event.LAUNCH: DefaultExecutor._launch,
    api.Event.LAUNCH_GROUP: DefaultExecutor._launch_group,
    api.Event.KILL: DefaultExecutor._kill,
    api.Event.SHUTDOWN: DefaultExecutor._shutdown,
}

_ALARMS = {
    Alarm.ESCALATION: TaskGroups.escalate,
    Alarm.COMPLETION: TaskGroups.complete,
    Alarm.WAIT: TaskGroups.wait,
}


def container_ip(environ: Mapping[str, str]) -> str | None:
    """Return the address that tasks are to take for theirs; blocks while it is looked up."""
    given = environ.get("LIBPROCESS_IP", "")
    if given not in ("", _ANY_ADDRESS):
        return given
    return address_of(os.fsencode(socket.gethostname()))


def address_of(name: bytes) -> str | None:
    """Look a host up, whose name is not text: a codec would be loaded for that. Blocks."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0]) if found else None


def main(argv: list[str], environ: dict[str, str], init: Init | None = None) -> int:
    """Run the executor (see ``program.run``); ``argv`` starts with the program's name.

    With ``init`` this process is the container's init at the same time.
    """
    return program.run("mesos-default-executor", lambda: _run(argv, environ, init))


def _run(argv: list[str], environ: dict[str, str], init: Init | None) -> int:
    flags = parse_default_flags(argv[1:])
    if flags.help is not None:
        return program.show(flags.help)
    settings = ClientSettings.of(environ)
    sandbox = environ.get("MESOS_SANDBOX")
    if not sandbox:
        raise FlagError("Expecting 'MESOS_SANDBOX' to be set in the environment")
    loop = Loop()
    log = SandboxLog(flags.logging_level, flags.quiet)
    address = container_ip(environ)
    if address is None:
        log.warning("Tasks are not told an address: our host name has none")
    DefaultExecutor(loop, settings, sandbox, address, log, init).start()
    return loop.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv, dict(os.environ)))
