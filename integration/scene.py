# SPDX-License-Identifier: Apache-2.0
"""What one integration test starts: masters, agents, mesos-execute; all ended and checked after."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from integration.agent import OurAgent
from integration.master import LATEST, RealMaster
from integration.network import DistantAgent, Network
from integration.processes import command, environment

_UPDATE = re.compile(r"^Received status update (TASK_\w+) for task '([^']*)'$", re.MULTILINE)

#: An agent notices that its master is another one when no ping came for the product of these.
FAST_PINGS: dict[str, object] = {"agent_ping_timeout": "1secs", "max_agent_ping_timeouts": 8}


@dataclass(frozen=True, slots=True)
class Execution:
    """One finished run of mesos-execute."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def states(self) -> list[str]:
        """The states of all updates, in order of arrival."""
        return [state for state, _ in _UPDATE.findall(self.stdout)]

    def check(self, *states: str) -> "Execution":
        """Fail unless these are exactly the updates that came, and the exit code fits."""
        assert self.states == list(states), f"{self.states} instead of {states}\n{self}"
        assert self.exit_code == 0, str(self)
        return self

    def __str__(self) -> str:
        """All of it, for messages."""
        return f"exit code {self.exit_code}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}"


class Scene:
    """Starts things below one folder and ends them all."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._masters: list[RealMaster] = []
        self._agents: list[OurAgent] = []
        self._networks: list[Network] = []

    def path(self, *names: str) -> str:
        """A path below the folder of this test."""
        return os.path.join(self.folder, *names)

    def master(self, version: str = LATEST, **flags: object) -> RealMaster:
        """Start a real master."""
        folder = self.path(f"master-{len(self._masters)}")
        master = RealMaster(version, folder, **flags)  # type: ignore[arg-type]
        self._masters.append(master)
        return master.start()

    def agent(self, master: RealMaster | str, **flags: object) -> OurAgent:
        """Start an agent and wait until it is registered."""
        agent = self.prepare_agent(master, **flags).spawn()
        agent.wait_until_registered()
        return agent

    def prepare_agent(self, master: RealMaster | str, **flags: object) -> OurAgent:
        """Return an agent that is not started yet."""
        folder = self.path(f"agent-{len(self._agents)}")
        agent = OurAgent(master, folder, **flags)  # type: ignore[arg-type]
        self._agents.append(agent)
        return agent

    def network(self) -> Network:
        """Make a network for one distant agent; needs root."""
        network = Network()
        self._networks.append(network)
        return network.make()

    def distant_agent(
        self, master: RealMaster | str, network: Network, **flags: object
    ) -> DistantAgent:
        """Start an agent on the other end of ``network`` and wait until it is registered."""
        address = master if isinstance(master, str) else master.address
        agent = DistantAgent(address, self.path(f"agent-{len(self._agents)}"), network, **flags)
        self._agents.append(agent)
        agent.spawn().wait_until_registered()
        return agent

    def execute(
        self,
        master: RealMaster | str,
        *arguments: str,
        timeout_s: float = 60.0,
        variables: Mapping[str, str] | None = None,
    ) -> Execution:
        """Run mesos-execute to its end, with these environment variables."""
        address = master if isinstance(master, str) else master.address
        program = command("execute", f"--master={address}", *arguments)
        try:
            done = subprocess.run(
                program,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env=environment(**(variables or {})),
                cwd=self.folder,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"mesos-execute did not end within {timeout_s} s\n{error.stdout!r}\n"
                f"{error.stderr!r}"
            ) from None
        return Execution(done.returncode, done.stdout, done.stderr)

    def close(self) -> str:
        """End everything; returns what was left behind, empty if nothing was."""
        left = [str(found) for agent in reversed(self._agents) if (found := agent.clean())]
        for master in self._masters:
            if master.running:
                master.stop()
        for network in self._networks:
            network.remove()
        return "\n".join(left)

    def describe(self) -> str:
        """Logs and sandboxes, for the report of a failure."""
        parts = [agent.describe() for agent in self._agents]
        parts += [f"--- {master.log}\n{master.tail(40)}" for master in self._masters]
        return "\n".join(parts)


def bin_folder() -> str:
    """Where pip put our programs."""
    return os.path.dirname(sys.executable)
