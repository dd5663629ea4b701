# SPDX-License-Identifier: Apache-2.0
"""One master that is watched, one agent of ours, frameworks that a scenario directs."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from integration.agent import OurAgent
from integration.frameworks.director import Director, shell
from integration.master import RealMaster
from integration.network import Network
from integration.observer import Observer
from integration.processes import eventually
from integration.scene import Scene
from integration.subscription import Record, post
from integration.zookeeper import Contender, ZooKeeper

#: Runs until somebody makes a file in its sandbox.
UNTIL_END = "while [ ! -e end ]; do sleep 0.1; done"
_PATH = "/mesos"
RESOURCES = "cpus:4;mem:2048;disk:4096;ports:[31000-31999]"


class Stage:
    """What a scenario plays on. Masters, agents and networks are ended by the scene."""

    def __init__(self, scene: Scene, version: str) -> None:
        self.scene = scene
        self.version = version
        self.master: RealMaster
        self.agent: OurAgent
        self.observer: Observer
        self.network: Network | None = None
        self._contender: Contender
        #: Whether nothing may run in the end.
        self.idle = True
        self._directors: list[Director] = []

    @property
    def release(self) -> tuple[int, ...]:
        """The master's version, to compare."""
        return tuple(map(int, self.version.split(".")))

    def needs(self, *release: int) -> None:
        """Skip the scenario with masters older than ``release``."""
        if self.release < release:
            pytest.skip(f"masters before {'.'.join(map(str, release))} cannot")

    def needs_capability(self, name: str) -> None:
        """Skip the scenario unless the agent tells the master that it can ``name``."""
        if name not in self.observer.wait_for_agent(active=True).get("capabilities", ()):
            pytest.skip(f"the agent does not announce {name} to this master")

    def up(self, *, elect: ZooKeeper | None = None, distant: bool = False, **flags: Any) -> "Stage":
        """Start master, observer and agent; flags with ``master_`` in front are the master's.

        With ``elect`` the agent asks there for the master, else it is told the address.
        """
        own = {k.removeprefix("master_"): v for k, v in flags.items() if k.startswith("master_")}
        rest = {k: v for k, v in flags.items() if not k.startswith("master_")}
        rest.setdefault("resources", RESOURCES)
        if distant:
            self.network = self.scene.network()
            own["ip"] = self.network.host_ip
        self.master = self.scene.master(self.version, **own)
        self.observer = Observer(self.master).start()
        if elect is not None:
            self._contender = Contender(elect, _PATH, self.master)
            self.agent = self.scene.prepare_agent(f"zk://{elect.address}{_PATH}", **rest).spawn()
            self.observer.wait_for_agent(active=True)
        elif self.network is None:
            self.agent = self.scene.agent(self.master, **rest)
        else:
            self.agent = self.scene.distant_agent(self.master, self.network, **rest)
        return self

    def elect_another(self, server: ZooKeeper) -> None:
        """End the master; the next one takes its place and is watched."""
        self.observer.close()
        self._contender.die()
        self.master = self.scene.master(self.version)
        self.observer = Observer(self.master).start()
        self._contender = Contender(server, _PATH, self.master)
        self.observer.wait_for_agent(active=True)

    def framework(self, **fields: Any) -> Director:
        """Start a framework."""
        director = Director(self.master.address, **fields)
        self._directors.append(director)
        return director.start()

    def running(self, director: Director, task_id: str = "on", **fields: Any) -> Director:
        """Run a task that goes on until ``end`` is called for it."""
        director.launch(shell(task_id, UNTIL_END, **fields))
        director.until(task_id, "TASK_RUNNING")
        return director

    def end(self, task_id: str = "on") -> None:
        """Let a task end well."""
        Path(self.agent.sandbox(task_id), "end").touch()

    def finish(self, director: Director, task_id: str = "on") -> None:
        """Let a task end well and wait until framework and master know."""
        self.end(task_id)
        director.until(task_id, "TASK_FINISHED")
        eventually(
            lambda: self.observer.states(task_id)[-1:] == ["TASK_FINISHED"],
            60,
            f"the master to see {task_id} finish",
        )

    def tasks(self, place: str, *states: str) -> set[str]:
        """Ids of tasks in one list of all frameworks of /state, with one of these states if any."""
        return {
            task["id"]
            for framework in self.master.state()["frameworks"]
            for task in framework.get(place, ())
            if not states or task["state"] in states
        }

    def agent_id(self) -> str:
        """The id by which the master knows the only agent."""
        found: str = self.observer.wait_for_agent(active=True)["id"]
        return found

    def post(self, kind: str, **fields: Any) -> Record | None:
        """Make a call of the master's operator API."""
        return post(self.master.address, "/api/v1", {"type": kind, **fields})

    def forked_pid(self) -> int:
        """The executor's process."""
        return int(next(Path(self.agent.work_dir, "meta").rglob("forked.pid")).read_text())

    def kill_executor(self) -> None:
        """Kill the only executor."""
        os.kill(self.forked_pid(), signal.SIGKILL)

    def close(self) -> None:
        """Let the master judge, then hang up."""
        try:
            self.observer.judge(idle=self.idle)
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """End all subscriptions."""
        for director in self._directors:
            director.close()
        if hasattr(self, "observer"):
            self.observer.close()
