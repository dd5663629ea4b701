# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, and is put right after a while."""

import glob
import os
import random
import signal
import time
from collections.abc import Callable

from integration.agent import OurAgent
from integration.master import RealMaster
from integration.network import Network
from mesos_compat.cli.leftovers import find

#: Seconds of a cut link; the master gives the agent up after five without an answer.
_CUT_S = (0.5, 9.0)
_AWAY_S = (0.0, 3.0)
_HANG_S = (0.5, 7.0)


class Faults:
    """Faults of one master, one agent and the link between them, chosen by a seeded generator."""

    def __init__(
        self,
        generator: random.Random,
        master: RealMaster,
        agent: OurAgent,
        network: Network,
        log: Callable[[str], None],
    ) -> None:
        self._random = generator
        self._master = master
        self._agent = agent
        self._network = network
        self._log = log
        #: Fault → how often it was done.
        self.done: dict[str, int] = {}
        self._table: dict[str, tuple[int, Callable[[], None]]] = {
            "container process killed": (6, self._kill_process),
            "agent killed": (4, self._kill_agent),
            "agent killed twice": (1, self._kill_agent_twice),
            "agent asked to end": (1, self._end_agent),
            "agent hangs": (2, self._hang_agent),
            "master killed": (2, self._kill_master),
            "link cut": (4, self._cut),
            "link cut one way": (2, self._cut_one_way),
            "agent killed behind a cut link": (2, self._kill_behind),
            "agent and master killed": (1, self._kill_both),
        }

    def strike(self) -> None:
        """Do one of them; returns when it is put right, not when all have recovered."""
        weights = [weight for weight, _ in self._table.values()]
        name = self._random.choices(list(self._table), weights)[0]
        self._log(name)
        self.done[name] = self.done.get(name, 0) + 1
        self._table[name][1]()

    def put_right(self) -> None:
        """Start and connect whatever is not."""
        self._network.heal()
        if not self._master.running:
            self._master.start()
        if not self._agent.running:
            self._agent.spawn()
        self._agent.signal(signal.SIGCONT)

    def _pause(self, between_s: tuple[float, float]) -> None:
        time.sleep(self._random.uniform(*between_s))

    def _kill_process(self) -> None:
        for _ in range(self._random.randint(1, 3)):
            members = sorted(
                pid
                for root in find(self._agent.territory).cgroups
                for path in glob.glob(os.path.join(glob.escape(root), "*-*", "**", "cgroup.procs"))
                for pid in _pids(path)
            )
            if members:
                _kill(self._random.choice(members))

    def _kill_agent(self) -> None:
        self._agent.kill()
        self._pause(_AWAY_S)
        self._agent.spawn()

    def _kill_agent_twice(self) -> None:
        self._kill_agent()
        self._pause((0.1, 3.0))
        self._kill_agent()

    def _end_agent(self) -> None:
        self._agent.signal(signal.SIGTERM)
        self._agent.wait()
        self._pause(_AWAY_S)
        self._agent.spawn()

    def _hang_agent(self) -> None:
        self._agent.signal(signal.SIGSTOP)
        self._pause(_HANG_S)
        self._agent.signal(signal.SIGCONT)

    def _kill_master(self) -> None:
        self._master.kill()
        self._pause(_AWAY_S)
        self._master.start()

    def _cut(self) -> None:
        self._network.cut()
        self._pause(_CUT_S)
        self._network.heal()

    def _cut_one_way(self) -> None:
        self._network.cut(self._random.choice(["in", "out"]))
        self._pause(_CUT_S)
        self._network.heal()

    def _kill_behind(self) -> None:
        self._network.cut()
        self._pause(_CUT_S)
        self._kill_agent()
        self._pause(_AWAY_S)
        self._network.heal()

    def _kill_both(self) -> None:
        self._master.kill()
        self._kill_agent()
        self._pause(_AWAY_S)
        self._master.start()


def _pids(path: str) -> list[int]:
    try:
        with open(path, encoding="ascii") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
