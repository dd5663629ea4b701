# SPDX-License-Identifier: Apache-2.0
"""Many simulated agents in one process and event loop, with one real master.

::

    async with Simulation("127.0.0.1:5050", Options(agents=200)) as simulation:
        await simulation.registered()
        simulation.agents[7].cut()

Everything happens in the event loop that entered it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from types import TracebackType

from mesos_compat.agent.authenticatee import authentication_config
from mesos_compat.agent.credentials import load_key
from mesos_compat.agent.flags import AgentFlags, parse_agent_flags
from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.agent.runner import Disk
from mesos_compat.agent.settings import ACTOR_ID, agent_config
from mesos_compat.base.clock import Clock, RealClock
from mesos_compat.base.errors import FlagError, InvariantError, WireError
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.http.realms import realms
from mesos_compat.libprocess.address import Bound
from mesos_compat.libprocess.upid import UPID
from mesos_compat.master.detector import detect
from mesos_compat.model.attributes import parse_attributes
from mesos_compat.model.resources import Resources, parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.simulate.agent import NO_DISK, Common, SimulatedAgent
from mesos_compat.simulate.front import Front
from mesos_compat.simulate.options import CRASH, CUT, Options, fill

log = logging.getLogger(__name__)

#: A path that never exists: nothing is read or written there.
_NOWHERE = "/nonexistent"
#: Pause before an agent that ended comes back, as a service manager would have it.
_RESTART_S = 3.0
_POLL_S = 0.05


class Simulation:
    """A fleet. Leaving it ends all agents at once; ``unregister`` before is the orderly way.

    With ``work_dir`` agents make sandboxes there and write what they checkpoint; with ``tls`` they
    speak TLS.
    """

    def __init__(
        self,
        master: str,
        options: Options | None = None,
        *,
        clock: Clock | None = None,
        work_dir: str = _NOWHERE,
        disk: Disk = NO_DISK,
        tls: Tls | None = None,
    ) -> None:
        self.options = options if options is not None else Options()
        self.agents: list[SimulatedAgent] = []
        self._master = master
        self._clock = clock if clock is not None else RealClock()
        self._work_dir = work_dir
        self._disk = disk
        self._tls = tls
        self._stack = AsyncExitStack()
        self._scope = Scope("simulation")
        self._ending = False
        self._failure: InvariantError | None = None
        self._broken = asyncio.Event()

    async def __aenter__(self) -> Simulation:
        """Listen and start all agents. Raises FlagError."""
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending = True
        await self._stack.aclose()

    async def registered(self, share: float = 1.0) -> None:
        """Wait, without limit, until that share of the agents takes itself for registered."""
        while sum(agent.registered for agent in self.agents) < share * len(self.agents):
            self._check()
            await self._clock.sleep(_POLL_S)

    async def unregister(self, patience_s: float = 10.0) -> bool:
        """Let all agents leave their master and end; ``False`` if some did not in time."""
        self._ending = True
        for agent in self.agents:
            agent.unregister()
        deadline = self._clock.now() + patience_s
        while any(agent.running for agent in self.agents):
            if self._clock.now() > deadline:
                return False
            await self._clock.sleep(_POLL_S)
        return True

    async def broken(self) -> None:
        """Wait for our own bug. Raises InvariantError."""
        await self._broken.wait()
        self._check()

    def tasks(self) -> Counter[str]:
        """Count the tasks of all agents by state; those that executors still have."""
        return Counter(
            pb.TaskState.Name(task.state)
            for agent in self.agents
            if agent.state is not None
            for executor in agent.state.executors()
            for task in (*executor.queued.values(), *executor.launched.values())
        )

    # -- making ---------------------------------------------------------------------------------

    async def _open(self, stack: AsyncExitStack) -> None:
        options = self.options
        flags = parse_agent_flags(
            [
                f"--master={self._master}",
                "--work_dir=/",
                "--hostname=simulated",
                "--isolation=cgroups/cpu,cgroups/mem",
                "--switch_user=false",
                "--resources=cpus:1;mem:1;disk:1;ports:[1-1]",
                *options.agent_flags,
            ],
            {},
        )
        detector = detect(flags.master_location, self._scope, self._clock)
        front = Front.bind(options.agents, options.ip, options.port)
        stack.callback(front.close)
        base = _base(flags, front.bounds[0])
        common = Common(
            detector=detector,
            clock=self._clock,
            rules=options.rules,
            seed=options.seed,
            flags=flags.display,
            failed=self._fail,
            ended=self._ended,
            realms=realms(flags, load_key(flags.jwt_secret_key), {}, self._clock.time),
            disk=self._disk,
            own_source=front.own_ips,
            tls=self._tls,
        )
        for index, bound in enumerate(front.bounds, 1):
            config = self._config(base, flags, index, bound)
            self.agents.append(SimulatedAgent(index, config, bound, common))
        for server in await front.serve([agent.accept for agent in self.agents]):
            stack.callback(server.close)
        stack.push_async_callback(self._close_agents)
        stack.push_async_callback(self._scope.close)
        self._scope.spawn(self._start(), "start agents")
        if options.faults.per_minute > 0:
            self._scope.spawn(self._make_faults(), "make faults")

    def _config(
        self, base: AgentConfig, flags: AgentFlags, index: int, bound: Bound
    ) -> AgentConfig:
        options, address = self.options, bound.address
        info = pb.SlaveInfo(checkpoint=True, port=address.port)
        info.hostname = fill(options.hostname, index, address.ip)
        try:
            text = fill(options.resources, index, address.ip)
            given = parse_resources(text, flags.default_role)
            info.resources.extend(Resources.of(given).messages())
            info.attributes.extend(parse_attributes(fill(options.attributes, index, address.ip)))
        except WireError as error:
            raise FlagError(f"Resources or attributes of agent {index}: {error}") from error
        return replace(
            base,
            pid=str(UPID(ACTOR_ID, address.ip, address.port)),
            ip=address.ip,
            port=address.port,
            work_dir=f"{self._work_dir}/agent-{index}",
            info=info,
        )

    async def _close_agents(self) -> None:
        for agent in self.agents:
            await agent.close(0.0)

    # -- living ---------------------------------------------------------------------------------

    async def _start(self) -> None:
        begun = self._clock.now()
        for number, agent in enumerate(self.agents):
            wait_s = begun + number / self.options.start_rate - self._clock.now()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            agent.start()

    def _ended(self, agent: SimulatedAgent, error: str) -> None:
        """An agent wants to end: it comes back as a new one, unless all is ending."""
        if error:
            log.warning("Agent %d ends: %s", agent.index, error)
        self._scope.spawn(self._restart(agent), f"restart agent {agent.index}")

    async def _restart(self, agent: SimulatedAgent) -> None:
        await agent.close(1.0)
        if self._ending:
            return
        agent.forget()
        await self._clock.sleep(_RESTART_S)
        if not self._ending:
            agent.start()

    async def _make_faults(self) -> None:
        faults = self.options.faults
        random = Random(f"{self.options.seed}/faults")
        while True:
            await self._clock.sleep(random.expovariate(faults.per_minute / 60.0))
            index, kind = random.randrange(len(self.agents)), random.choice(faults.kinds)
            away_s = faults.away.draw(random)
            agent = self.agents[index]
            if agent.running and not agent.cut_off:
                self._scope.spawn(self.vanish(agent, kind, away_s), f"agent {agent.index} vanishes")

    async def vanish(self, agent: SimulatedAgent, kind: str, away_s: float) -> None:
        """Let something happen to an agent, one of FAULTS, and end after some time."""
        log.info("Agent %d: %s for %.1f s", agent.index, kind, away_s)
        if kind == CUT:
            agent.cut()
            await self._clock.sleep(away_s)
            agent.heal()
            return
        await agent.crash()
        if kind != CRASH:
            agent.forget()
        await self._clock.sleep(away_s)
        agent.start()

    def _fail(self, error: InvariantError) -> None:
        if self._failure is None:
            self._failure = error
            self._broken.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


def _base(flags: AgentFlags, bound: Bound) -> AgentConfig:
    made = agent_config(flags, bound.address, "/", {})
    return replace(
        made,
        authentication=authentication_config(flags, {}),
        # Never executed; to masters and in /state they look as usual.
        command_executor=f"{made.launcher_dir}/mesos-executor",
        default_executor=f"{made.launcher_dir}/mesos-default-executor",
    )
