# SPDX-License-Identifier: Apache-2.0
"""One simulated agent: the real state machine, loop, messages and endpoints, and no containers."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from mesos_compat.agent import gauges
from mesos_compat.agent.assembly import Assembly, Parts, assemble
from mesos_compat.agent.gc import GarbageCollector
from mesos_compat.agent.machine import events
from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.agent.machine.state import AgentPhase, AgentState
from mesos_compat.agent.meta.recovered import AgentFound, Found
from mesos_compat.agent.meta.writes import FileWrite
from mesos_compat.agent.runner import Disk
from mesos_compat.base.beneath import Stop, never
from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import InvariantError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.http.app import create_app
from mesos_compat.http.authentication import Realms
from mesos_compat.libprocess.address import Bound
from mesos_compat.libprocess.server import Handler, Inbox, Server
from mesos_compat.libprocess.upid import UPID
from mesos_compat.master.detected import Detector
from mesos_compat.model.ids import AgentId
from mesos_compat.simulate.executors import SimulatedExecutors
from mesos_compat.simulate.script import Rules
from mesos_compat.v1.executor_api import ExecutorStreams

log = logging.getLogger(__name__)


def _make_sandbox(directory: str, user: str | None) -> None:
    """Nobody writes into it."""


def _carry_out(write: FileWrite, stop: Stop = never) -> None:
    """Nothing is read again."""


#: Nothing is written.
NO_DISK = Disk(_make_sandbox, _carry_out)


class _NoFiles(dict[str, str]):
    """Virtual paths of an agent that has no files."""

    def __setitem__(self, virtual: str, real: str) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all agents of a simulation share."""

    detector: Detector
    clock: Clock
    rules: Rules
    seed: str
    #: Displayed values of flags.
    flags: Mapping[str, str]
    #: Called with our own bug.
    failed: Callable[[InvariantError], None]
    #: Called with an agent that wants to end, and why.
    ended: Callable[[SimulatedAgent, str], None]
    #: Whom the agents let in.
    realms: Realms
    disk: Disk = NO_DISK
    #: Whether each agent's connections come from its own address.
    own_source: bool = False
    #: ``None``: all connections are plain.
    tls: Tls | None = None


@dataclass(slots=True)
class _Life:
    """An agent from one start to the next end."""

    made: Assembly
    scope: Scope
    server: Server
    executors: SimulatedExecutors
    streams: ExecutorStreams


class SimulatedAgent:
    """An agent that can be started, cut off, and crashed, any number of times."""

    def __init__(self, index: int, config: AgentConfig, bound: Bound, common: Common) -> None:
        #: From 1 on.
        self.index = index
        self.config = config
        self._bound = bound
        self._common = common
        self._life: _Life | None = None
        self._agent_id: AgentId | None = None
        self._cut = False
        #: Connections that were made while it was cut off.
        self._unread: list[asyncio.Transport] = []

    def __repr__(self) -> str:
        return f"<SimulatedAgent {self.index} {self.address}>"

    @property
    def address(self) -> str:
        """``ip:port`` of messages and endpoints."""
        return str(self._bound.address)

    @property
    def running(self) -> bool:
        """Whether it was started and did not end; also while it is cut off."""
        return self._life is not None

    @property
    def cut_off(self) -> bool:
        """Whether nothing reaches it."""
        return self._cut

    @property
    def state(self) -> AgentState | None:
        """All that it knows, to be read only; ``None`` if it does not run."""
        return None if self._life is None else self._life.made.loop.state

    @property
    def registered(self) -> bool:
        """Whether it takes itself for registered."""
        state = self.state
        return state is not None and state.phase is AgentPhase.RUNNING

    @property
    def agent_id(self) -> str | None:
        """The id that the master gave it, kept while it is down."""
        state = self.state
        return self._agent_id if state is None else state.agent_id

    def start(self) -> None:
        """Begin, or begin again as the same agent whose host was started anew."""
        if self._life is not None:
            return
        life = self._life = self._make()
        life.server.open()
        life.made.loop.start(life.made.runner.run)
        found = Found()
        if self._agent_id is not None:
            agent = AgentFound(self._agent_id, self.config.info, None, ())
            found = Found(rebooted=True, agent=agent)
        life.made.loop.submit(events.Recovered(found, (), None))

    def cut(self) -> None:
        """Let nothing in or out any more, as a broken network does: no end of any connection is
        told to anybody.
        """
        self._cut = True
        if self._life is not None:
            self._life.made.links.cut = True

    def heal(self) -> None:
        """Undo ``cut``; what was sent meanwhile is lost, and connections break now."""
        self._cut = False
        self._drop_unread()
        if self._life is not None:
            self._life.made.links.cut = False
            self._life.server.abort_connections()
            self._life.made.links.abort_connections()

    async def crash(self) -> None:
        """End at once, with all executors, as a host without power does; its connections break."""
        life, self._life = self._life, None
        if life is None:
            return
        self._agent_id = life.made.loop.state.agent_id
        self._cut = False
        self._drop_unread()
        life.made.loop.stop()
        life.made.runner.close()
        life.executors.crash()
        life.server.abort_connections()
        life.made.links.abort_connections()
        await life.scope.close()
        await life.made.links.close(0.0)
        await life.server.close(0.0)

    def forget(self) -> None:
        """Start the next time as an agent that nobody knows. The agent must not run."""
        assert self._life is None, "a running agent keeps its id"
        self._agent_id = None

    def unregister(self) -> None:
        """Ask it to leave its master and end, as SIGUSR1 does."""
        if self._life is not None:
            self._life.made.loop.submit(events.UnregisterRequested("simulation"))

    async def close(self, grace_s: float) -> None:
        """End, giving messages on their way ``grace_s`` seconds."""
        life, self._life = self._life, None
        if life is None:
            return
        life.made.loop.stop()
        life.made.runner.close()
        life.executors.crash()
        await life.server.close(0.0)
        await life.made.links.close(grace_s)
        await life.scope.close()

    def accept(self, transport: asyncio.Transport) -> None:
        """Take a connection to this agent's address."""
        if self._life is None:
            transport.abort()
        elif self._cut:
            self._unread.append(transport)
        else:
            self._life.server.greet(transport)

    def _drop_unread(self) -> None:
        for transport in self._unread:
            transport.abort()
        self._unread.clear()

    def _deliver(self, inbox: Inbox, sender: UPID, target: str, name: str, body: bytes) -> bool:
        return self._cut or inbox(sender, target, name, body)

    async def _serve(self, handler: Handler, request: web.BaseRequest) -> web.StreamResponse:
        if self._cut:
            # Ends with the connection, when the network is back.
            await asyncio.get_running_loop().create_future()
        return await handler(request)

    def _make(self) -> _Life:
        common = self._common
        clock = common.clock
        metrics = Metrics(clock)
        scope = Scope(f"agent {self.index}")
        state = AgentState(self.config, os.urandom(16), clock.time())
        executors = SimulatedExecutors(clock, common.rules, common.seed)
        gauges.register(metrics, state, clock)
        files: dict[str, str] = {} if common.disk is not NO_DISK else _NoFiles()
        own = UPID.parse(self.config.pid)
        made = assemble(
            Parts(
                state=state,
                containerizer=executors,
                executors=executors.streams,
                detector=common.detector,
                gc=GarbageCollector(scope, clock, self.config.gc_delay_s, metrics, _let_go),
                files=files,
                flags=common.flags,
                metrics=metrics,
                scope=scope,
                clock=clock,
                exit=lambda error: common.ended(self, error),
                failed=common.failed,
                disk=common.disk,
                source_ip=own.ip if common.own_source else None,
                tls=common.tls,
            )
        )
        executors.attach(made.loop.submit)
        streams = ExecutorStreams(clock)
        app = create_app(made.loop, streams, scope, clock=clock, realms=common.realms)
        inbox, handler = partial(self._deliver, made.inbox), partial(self._serve, app)
        server = Server(self._bound, inbox, handler, tls=common.tls)
        return _Life(made, scope, server, executors, streams)


def _let_go(path: str) -> None:
    """Nothing refers to removed paths."""
