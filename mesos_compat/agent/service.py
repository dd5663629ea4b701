# SPDX-License-Identifier: Apache-2.0
"""Tells systemd, or whatever set NOTIFY_SOCKET, how the agent does.

It is ready when recovery has ended, not when a master has taken it: the start of a service must not
fail because there is no master. Where it stands with the master is its status text. Pings of the
watchdog come from the event loop: they stop when that does.

Source: sd_notify(3), systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from mesos_compat.agent.machine.state import AgentPhase, AgentState
from mesos_compat.base.clock import Clock

log = logging.getLogger(__name__)

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
#: Seconds between two looks at the agent before and after it is ready.
_RECOVERING_S = 0.2
_RUNNING_S = 2.0


class ServiceManager:
    """The one that started us; silent if nobody wants to know."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        """``address`` is a path, or a name in the abstract namespace that begins with ``@``."""
        self._watchdog_s = watchdog_s
        self._ready = False
        self._status = ""
        self._socket: socket.socket | None = None
        if not address:
            return
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            made.setblocking(False)
            made.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            made.close()
            log.warning("Nobody listens at NOTIFY_SOCKET '%s': %s", address, error)
        else:
            self._socket = made

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> ServiceManager:
        """Take what is said about it out of ``environ``: it is nobody else's."""
        address, watchdog, pid = (environ.pop(name, "") for name in _VARIABLES)
        watchdog_s = None
        if watchdog.isdigit() and int(watchdog) > 0 and pid in ("", str(os.getpid())):
            watchdog_s = int(watchdog) / 1_000_000
        return cls(address, watchdog_s)

    @property
    def interested(self) -> bool:
        """Whether ``follow`` has anything to do."""
        return self._socket is not None

    async def follow(self, state: AgentState, clock: Clock) -> None:
        """Tell about the agent as long as it runs."""
        while self._socket is not None:
            self.look(state)
            pause = _RUNNING_S if self._ready else _RECOVERING_S
            await clock.sleep(
                pause if self._watchdog_s is None else min(pause, self._watchdog_s / 2)
            )

    def look(self, state: AgentState) -> None:
        """Tell what is new, and that we are alive."""
        lines = []
        if not self._ready and state.phase is not AgentPhase.RECOVERING:
            self._ready = True
            lines.append("READY=1")
        status = _status(state)
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if self._watchdog_s is not None:
            lines.append("WATCHDOG=1")
        self._send(lines)

    def stopping(self) -> None:
        """Tell that the end has begun, and nothing after it."""
        self._send(["STOPPING=1", "STATUS=Ending"])
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, lines: list[str]) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.send("\n".join(lines).encode())
        except OSError as error:
            # Full for now, or a manager that is about to be replaced.
            log.debug("Not told to the service manager: %s", error)


def _status(state: AgentState) -> str:
    match state.phase:
        case AgentPhase.RECOVERING:
            return "Recovering"
        case AgentPhase.TERMINATING:
            return "Ending: waiting for executors"
        case AgentPhase.RUNNING:
            draining = "" if state.drain is None else ", draining"
            return f"Agent {state.agent_id}, registered with {state.master}{draining}"
        case AgentPhase.DISCONNECTED:
            return f"Registering with {state.master}" if state.master else "Looking for a master"
