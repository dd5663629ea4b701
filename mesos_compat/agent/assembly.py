# SPDX-License-Identifier: Apache-2.0
"""Joins what every agent is made of, whatever runs its containers: loop, inbox, links, runner.

Who calls this adds what it wants beside: endpoints, a listening socket, signals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from google.protobuf.message import Message

from containerizer.api import Containerizer
from mesos_compat.agent import runner as running
from mesos_compat.agent.gc import GarbageCollector
from mesos_compat.agent.inbox import Inbox
from mesos_compat.agent.loop import AgentLoop
from mesos_compat.agent.machine import events
from mesos_compat.agent.machine.state import AgentState
from mesos_compat.agent.port import ExecutorEvents
from mesos_compat.agent.runner import Leader, RemovedHook, Runner, Surroundings
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import InvariantError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.libprocess.links import Links
from mesos_compat.libprocess.upid import UPID, Address
from mesos_compat.master.detected import DetectedMaster, Detector
from mesos_compat.master.version import version


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an agent is given."""

    state: AgentState
    containerizer: Containerizer
    executors: ExecutorEvents
    detector: Detector
    gc: GarbageCollector
    #: Real path of each virtual path of ``/files``.
    files: dict[str, str]
    #: Displayed value of each flag that has one.
    flags: Mapping[str, str]
    metrics: Metrics
    scope: Scope
    clock: Clock
    #: Called once when the agent is to end; the text is empty if that is no error.
    exit: Callable[[str], None]
    #: Called once when the state contradicts itself.
    failed: Callable[[InvariantError], None]
    removed: RemovedHook = running.tell_nobody
    #: Asked about tasks, if ``AgentConfig.authorizes_tasks``.
    gate: Gate | None = None
    disk: running.Disk = running.DISK
    volume_removed: running.VolumeHook = running.no_volume
    #: Address that outgoing connections come from; the system's choice if there is none.
    source_ip: str | None = None
    #: How to connect to peers; in plain if there is none.
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Assembly:
    """An agent that is not started yet; ``loop.start(runner.run)`` does that."""

    loop: AgentLoop
    inbox: Inbox
    links: Links
    runner: Runner


def assemble(parts: Parts) -> Assembly:
    """Join the parts of one agent."""
    config = parts.state.config
    loop = AgentLoop(
        parts.state,
        parts.containerizer,
        parts.flags,
        parts.metrics,
        parts.files,
        parts.clock,
        parts.failed,
    )
    own = UPID.parse(config.pid)
    inbox = Inbox(own.id, loop.submit, partial(_authenticatee, parts.state))
    links = Links(
        parts.scope,
        Address(own.ip, own.port),
        inbox,
        lambda upid: loop.submit(events.LinkExited(str(upid))),
        source_ip=parts.source_ip,
        tls=parts.tls,
    )
    around = Surroundings(
        _Peers(links, own),
        _Leaders(parts.detector, parts.clock, links).next,
        parts.containerizer,
        parts.executors,
        parts.gc,
        parts.files,
        parts.scope,
        parts.clock,
        parts.exit,
        parts.removed,
        parts.gate,
        parts.disk,
        parts.volume_removed,
    )
    return Assembly(loop, inbox, links, Runner(around, loop.submit))


class _Peers:
    """Messages of the agent's own actor; implements ``runner.Peers``."""

    def __init__(self, links: Links, own: UPID) -> None:
        self._links = links
        self._sender = own

    def send(self, target: str, message: Message, process_id: str = "") -> None:
        """Send from the agent's own process id, or from another one of ours."""
        sender = self._sender
        if process_id:
            sender = UPID(process_id, sender.ip, sender.port)
        name = message.DESCRIPTOR.full_name
        self._links.send(sender, UPID.parse(target), name, message.SerializeToString())

    def link(self, target: str) -> None:
        """Open the connection that tells when ``target`` is gone."""
        self._links.link(UPID.parse(target))


def _authenticatee(state: AgentState) -> str:
    """The id of the process that authenticates, empty if none does."""
    return state.authentication.process_id if state.authentication is not None else ""


class _Leaders:
    """What the machine knows as a UPID the detector knows better: masters are born again.

    What a master is told depends on its version, so one that is not reachable is none yet.
    """

    def __init__(self, detector: Detector, clock: Clock, links: Links) -> None:
        self._detector = detector
        self._clock = clock
        self._links = links
        self._last: DetectedMaster | None = None

    async def next(self, previous: str) -> Leader:
        """Implements ``runner.Detector``."""
        known = self._last if self._last is not None and self._last.pid == previous else None
        found = await self._detector.next(known)
        self._last = found
        if found is None:
            return Leader("")
        links = self._links
        links.names.clear()
        if found.name:
            links.names[found.upid.address] = found.name
        told = found.version or await version(found.upid, self._clock, links.tls, found.name)
        return Leader(found.pid, found.hostname, found.capabilities, told)
