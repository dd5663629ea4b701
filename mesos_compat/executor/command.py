# SPDX-License-Identifier: Apache-2.0
"""The command executor: runs one command task and tells the agent about it.

``main`` runs as the init of its container, forked from a preloaded process, or as the program
``mesos-executor``. One thread; nothing is imported after start, because the files of this program
are out of reach once the root of a task's image was entered.

Source: spec ``executors`` 5.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import dataclass

from containerizer.init.pid1 import TERMINAL_SIGNALS, Init
from mesos_compat.base.errors import FlagError, LaunchError
from mesos_compat.base.units import format_duration
from mesos_compat.executor import probes, program
from mesos_compat.executor import task as task_plan
from mesos_compat.executor.checks import Health
from mesos_compat.executor.children import Children
from mesos_compat.executor.client import AgentClient, ClientSettings, without_secrets
from mesos_compat.executor.dispatch import dispatch
from mesos_compat.executor.flags import parse_flags
from mesos_compat.executor.kill import signal_tree
from mesos_compat.executor.launch import launch_task
from mesos_compat.executor.log import SandboxLog
from mesos_compat.executor.loop import Loop, Timer
from mesos_compat.executor.prober import TaskChecks
from mesos_compat.executor.probes import CheckRuns
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api

#: Seconds taken off the shutdown grace period: reaping may be slow, and so may the agent be.
SHUTDOWN_RESERVE_S = 2.0


@dataclass(slots=True)
class _Kill:
    """A kill under way; times on the loop's clock."""

    started: float
    deadline: float
    escalation: Timer


class CommandExecutor:
    """One task from LAUNCH to the acknowledgement of its last status."""

    def __init__(
        self,
        loop: Loop,
        settings: ClientSettings,
        options: task_plan.TaskOptions,
        environ: dict[str, str],
        log: SandboxLog,
        init: Init | None = None,
    ) -> None:
        self._loop = loop
        self._init = init
        self._settings = settings
        self._options = options
        self._environ = environ
        self._log = log
        self._client = AgentClient(loop, settings, self, log)
        self._children = Children(loop, init)
        if options.tty:
            self._children.ignored = TERMINAL_SIGNALS
        self._checks: TaskChecks | None = None
        #: The last status, which news of checks are added to.
        self._status = v1.TaskStatus()
        self._unhealthy = False
        self._shows_killing = False
        self._task: v1.TaskInfo | None = None
        self._pid: int | None = None
        self._kill: _Kill | None = None
        self._timed_out = False
        self._completion: Timer | None = None
        self._ended = False
        self._abandoned = False
        self._told_to_end = False
        #: The last update of all and the exit code once it is acknowledged.
        self._last: tuple[bytes, int] | None = None

    def start(self) -> None:
        """Begin to talk to the agent."""
        self._client.start()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # Events.

    def handle(self, event: api.Event) -> None:
        """Handle an event (see ``client.EventHandler``)."""
        dispatch(self, event, _HANDLERS, self._log)

    def disconnected(self, for_good: bool) -> None:
        """Note that the agent is away (see ``client.EventHandler``)."""
        if for_good:
            self._abandoned = True
            self._leave_if_abandoned()

    def _subscribed(self, event: api.Event) -> None:
        self._shows_killing = any(
            capability.type == v1.FrameworkInfo.Capability.TASK_KILLING_STATE
            for capability in event.subscribed.framework_info.capabilities
        )

    def _acknowledged(self, event: api.Event) -> None:
        if self._last is not None and event.acknowledged.uuid == self._last[0]:
            self._loop.stop(self._last[1])

    def _launch(self, event: api.Event) -> None:
        task = event.launch.task
        if self._task is not None:
            self._update(
                v1.TASK_FAILED,
                task=task,
                message='Attempted to run multiple tasks using a "command" executor',
            )
            return
        self._task = task
        self._client.task_launched(task)
        self._log.info(f"Starting task {task.task_id.value}")
        starting = self._update(v1.TASK_STARTING)
        if "value" not in task_plan.command_of(self._options, task):
            self._log.error(f"The command of task {task.task_id.value} has no value")
            self._finish_after(starting, 1)
            return
        self._start_completion_timer(task)
        merged, changed = task_plan.merge_environment(self._environ, self._options, task)
        for name in changed:
            self._log.info(f"Overwriting environment variable '{name}'")
        if task_plan.has_checks(task):
            probes.prepare(task)
        try:
            launched = launch_task(
                self._options,
                task,
                merged,
                enter=self._may_enter(),
                filters=None if self._init is None else self._init.filters,
            )
        except (OSError, LaunchError) as error:
            self._log.error(f"Failed to launch the command: {error}")
            self._end(v1.TASK_FAILED, f"Failed to launch the command: {error}")
            return
        self._pid = launched.pid
        self._log.info(f"Forked command at {self._pid}")
        self._children.watch(self._pid, self._reaped)
        if task_plan.has_checks(task):
            runs = CheckRuns(self._loop, self._children, self._environ, launched)
            self._checks = TaskChecks(self._loop, task, runs.start, self, self._log)
        self._update(v1.TASK_RUNNING)

    # Checks.

    def checked(self, status: v1.CheckStatusInfo) -> None:
        """Tell what a check has found (see ``prober.CheckListener``)."""
        self._status.check_status.CopyFrom(status)
        self._tell_again(v1.TaskStatus.REASON_TASK_CHECK_STATUS_UPDATED)

    def health_changed(self, health: Health) -> None:
        """Tell of the task's health (see ``prober.CheckListener``)."""
        assert self._task is not None
        self._status.healthy = health.healthy
        self._tell_again(v1.TaskStatus.REASON_TASK_HEALTH_CHECK_STATUS_UPDATED)
        if health.kill:
            self._log.info(f"Killing task {self._task.task_id.value}, which is not healthy")
            self._unhealthy = True
            self._kill_task(task_plan.grace_s((self._task.kill_policy,)))

    def _tell_again(self, reason: v1.TaskStatus.Reason) -> None:
        task_plan.renew(self._status, reason)
        made = v1.TaskStatus()
        made.CopyFrom(self._status)
        self._client.update(made)

    def _launch_group(self, event: api.Event) -> None:
        self._log.error("LAUNCH_GROUP event is not supported")
        self._shutdown(event)

    def _kill_event(self, event: api.Event) -> None:
        task_id = event.kill.task_id.value
        if self._task is None or self._task.task_id.value != task_id:
            self._log.warning(f"Ignoring kill for unknown task {task_id}")
            return
        grace_s = task_plan.grace_s((event.kill.kill_policy, self._task.kill_policy))
        self._log.info(f"Received kill for task {task_id} with grace period of {_text(grace_s)}")
        self._kill_task(grace_s)

    def _shutdown(self, event: api.Event) -> None:
        self._log.info("Shutting down")
        if self._task is None:
            self._loop.stop(0)
            return
        self._told_to_end = True
        if self._last is not None:
            self._loop.later(program.SHUTDOWN_ACK_TIMEOUT_S, self._leave_if_connected)
        self._kill_task(self._settings.shutdown_grace_s - SHUTDOWN_RESERVE_S)

    # Killing.

    def _start_completion_timer(self, task: v1.TaskInfo) -> None:
        limit_ns = task.max_completion_time.nanoseconds
        if limit_ns > 0:
            self._log.info(
                f"Task {task.task_id.value} has a max completion time of "
                f"{format_duration(limit_ns)}"
            )
            self._completion = self._loop.later(limit_ns / 1e9, self._on_completion_timeout)

    def _on_completion_timeout(self) -> None:
        if self._ended or self._kill is not None:
            return
        assert self._task is not None
        self._log.info(
            f"Killing task {self._task.task_id.value}, which exceeded its max completion time"
        )
        self._timed_out = True
        self._kill_task(0)

    def _kill_task(self, grace_s: float) -> None:
        """Start to kill the task, or shorten the time that it still has."""
        if self._pid is None or self._ended:
            return
        grace_s = max(grace_s, 0)
        now = self._loop.now()
        if self._completion is not None:
            self._completion.cancel()
        if self._kill is not None:
            deadline = self._kill.started + grace_s
            if deadline < self._kill.deadline:
                self._kill.escalation.cancel()
                self._kill.deadline = deadline
                self._kill.escalation = self._escalate_in(max(deadline - now, 0))
            return
        if self._checks is not None:
            self._checks.stop()
        if self._shows_killing and not self._timed_out:
            self._update(v1.TASK_KILLING)
        self._log.info(f"Sending SIGTERM to process tree at pid {self._pid}")
        picture = signal_tree(self._pid, signal.SIGTERM)
        self._log.info(f"Sent SIGTERM to the following process trees:\n{picture}")
        self._log.info(f"Scheduling escalation to SIGKILL in {_text(grace_s)} from now")
        self._kill = _Kill(now, now + grace_s, self._escalate_in(grace_s))

    def _escalate_in(self, seconds: float) -> Timer:
        return self._loop.later(seconds, self._escalate)

    def _escalate(self) -> None:
        if self._pid is None or self._ended or self._kill is None:
            return
        waited = _text(self._kill.deadline - self._kill.started)
        self._log.info(
            f"Process {self._pid} did not terminate after {waited}, "
            f"sending SIGKILL to process tree at {self._pid}"
        )
        picture = signal_tree(self._pid, signal.SIGKILL)
        self._log.info(f"Killed the following process trees:\n{picture}")

    # The end.

    def _may_enter(self) -> bool:
        """Whether we may enter the task's root ourselves."""
        # An agent that comes back makes a new Unix socket, whose path is the host's.
        unix = self._settings.endpoint.family == socket.AF_UNIX
        return self._init is not None and self._init.own_mounts and not unix

    def _reaped(self, wait_status: int) -> None:
        message = task_plan.end_message(wait_status)
        self._log.info(f"{message} (pid: {self._pid})")
        if self._kill is not None:
            self._kill.escalation.cancel()
        state = task_plan.end_state(wait_status, self._kill is not None, self._timed_out)
        self._end(state, message)

    def _end(self, state: v1.TaskState, message: str) -> None:
        self._ended = True
        if self._checks is not None:
            self._checks.stop()
        if self._completion is not None:
            self._completion.cancel()
        reason = v1.TaskStatus.REASON_MAX_COMPLETION_TIME_REACHED if self._timed_out else None
        self._finish_after(self._update(state, message=message, reason=reason), 0)

    def _finish_after(self, last: bytes, exit_code: int) -> None:
        """Exit once the update ``last`` is acknowledged, or nobody is there to do so."""
        self._ended = True
        self._last = (last, exit_code)
        self._loop.later(program.ACK_TIMEOUT_S, self._on_ack_timeout)
        if self._told_to_end:
            self._loop.later(program.SHUTDOWN_ACK_TIMEOUT_S, self._leave_if_connected)
        self._leave_if_abandoned()

    def _leave_if_abandoned(self) -> None:
        if self._abandoned and (self._ended or self._task is None):
            self._loop.stop(0)

    def _leave_if_connected(self) -> None:
        # An agent that is away gets the update when it comes back.
        if self._client.subscribed:
            self._loop.stop(0)

    def _on_ack_timeout(self) -> None:
        self._log.error("Did not receive ACK for the terminal status update from the agent")
        self._loop.stop(1)

    def _update(
        self,
        state: v1.TaskState,
        *,
        task: v1.TaskInfo | None = None,
        message: str | None = None,
        reason: v1.TaskStatus.Reason | None = None,
    ) -> bytes:
        """Send a status of our task (or of ``task``) and return its uuid."""
        subject = task or self._task
        assert subject is not None
        made = task_plan.status(
            subject.task_id,
            self._settings.executor_id,
            state,
            message=message,
            reason=reason,
            check=subject.check if subject.HasField("check") else None,
        )
        if self._unhealthy and self._ended:
            made.healthy = False
        if task is None:
            self._status.CopyFrom(made)
        self._client.update(made)
        return made.uuid


_HANDLERS = {
    api.Event.SUBSCRIBED: CommandExecutor._subscribed,
    api.Event.ACKNOWLEDGED: CommandExecutor._acknowledged,
    api.Event.LAUNCH: CommandExecutor._launch,
    api.Event.LAUNCH_GROUP: CommandExecutor._launch_group,
    api.Event.KILL: CommandExecutor._kill_event,
    api.Event.SHUTDOWN: CommandExecutor._shutdown,
}


def _text(seconds: float) -> str:
    return format_duration(round(seconds * 1e9))


def main(argv: list[str], environ: dict[str, str], init: Init | None = None) -> int:
    """Run the executor (see ``program.run``); ``argv`` starts with the program's name.

    With ``init`` this process is the container's init at the same time.
    """
    return program.run("mesos-executor", lambda: _run(argv, environ, init))


def _run(argv: list[str], environ: dict[str, str], init: Init | None) -> int:
    flags = parse_flags(argv[1:])
    if flags.help is not None:
        return program.show(flags.help)
    settings = ClientSettings.of(environ)
    if flags.options.rootfs is not None and os.geteuid() != 0:
        raise FlagError("The command executor requires root with rootfs")
    loop = Loop()
    log = SandboxLog(flags.logging_level, flags.quiet)
    visible = without_secrets(environ)
    executor = CommandExecutor(loop, settings, flags.options, visible, log, init)
    executor.start()
    return loop.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv, dict(os.environ)))
