# SPDX-License-Identifier: Apache-2.0
"""One run: frameworks keep tasks going, faults strike, and in the end all must agree.

usage: python -m integration.chaos [--seconds N] [--seed S] [--master VERSION]

Shown in the end: every task has one terminal state, the same for framework, master and agent; the
master never aborted; no process, container, mount or cgroup of a task is left.
"""

import argparse
import glob
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from integration.agent import OurAgent
from integration.chaos.crowd import CrowdProcess
from integration.chaos.faults import Faults
from integration.frameworks.director import TERMINAL
from integration.master import LATEST, RealMaster
from integration.observer import Observer
from integration.processes import eventually
from integration.scene import Scene
from mesos_compat.cli.leftovers import find

#: Seconds between two faults.
_CALM_S = (0.3, 4.0)
#: Seconds for all tasks to end after the last fault: a retry of an update may take 40 of them.
_END_S = 180.0
#: File descriptors and threads that an idle agent may have more than when it began: connections.
_SLACK = 16
RESOURCES = "cpus:4;mem:4096;disk:4096;ports:[31000-31999]"


class Chaos:
    """A run on a scene."""

    def __init__(self, scene: Scene, version: str, seed: int, *, quiet: bool = False) -> None:
        self._scene = scene
        self._seed = seed
        self._quiet = quiet
        self._start = time.monotonic()
        self._network = scene.network()
        self._master: RealMaster = scene.master(
            version,
            ip=self._network.host_ip,
            agent_ping_timeout="1secs",
            max_agent_ping_timeouts=5,
        )
        self._observer = Observer(self._master).start()
        self._agent: OurAgent = scene.distant_agent(
            self._master, self._network, resources=RESOURCES, executor_shutdown_grace_period="2secs"
        )
        self._descriptors = self._count("fd")
        self._mounts = set(find(self._agent.territory).mounts)
        self._crowds = [
            CrowdProcess(
                self._master.address, scene.path(f"crowd-{old}.log"), seed + old, 10, old=bool(old)
            )
            for old in (0, 1)
        ]
        #: What was found wrong; empty if all is well.
        self.problems: list[str] = []
        #: Figures for the report.
        self.figures: dict[str, Any] = {}

    def run(self, seconds: float) -> None:
        """Let faults strike for some time, then end all tasks and look."""
        generator = random.Random(self._seed)
        faults = Faults(generator, self._master, self._agent, self._network, self._say)
        eventually(lambda: len(self._master.task_states()) > 4, 60.0, "the first tasks")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            faults.strike()
            time.sleep(generator.uniform(*_CALM_S))
            if not self._agent.running:
                self.problems.append(f"the agent ended: {self._agent.exit_status}")
                self._agent.spawn()
        faults.put_right()
        self._say("no more faults")
        self._agent.wait_until_registered(90.0)
        for crowd in self._crowds:
            crowd.stop()
        reports = self._reports()
        self._say("all tasks have ended")
        self._agree(reports)
        self._look_for_leaks()
        self._observer.judge()
        # Masters before 1.5 abort now if a launch was lost on its way to an agent that they then
        # gave up and that came back: they keep such a task among the unreachable ones.
        for crowd in self._crowds:
            crowd.leave()
        self.figures["faults"] = faults.done

    def close(self) -> None:
        """End the frameworks; the rest is the scene's."""
        self._observer.close()
        for crowd in self._crowds:
            crowd.kill()

    def _reports(self) -> dict[str, Any]:
        tasks: dict[str, Any] = {}
        for crowd in self._crowds:
            report = crowd.report(_END_S)
            self.problems += [f"framework: {error}" for error in report["errors"]]
            tasks |= report["tasks"]
        return tasks

    def _agree(self, tasks: dict[str, Any]) -> None:
        ends: Counter[str] = Counter()
        for name, task in tasks.items():
            states = [update["state"] for update in task["updates"]]
            if not states or (states[-1] not in TERMINAL and not task["ends"]):
                self.problems.append(f"{name} has not ended: {task['updates']}")
                continue
            if len(task["ends"]) > 1:
                self.problems.append(f"{name} ended more than once: {task['updates']}")
            ends[task["ends"][0] if task["ends"] else states[-1]] += 1
        self.figures |= {"tasks": len(tasks), "ends": dict(ends)}
        self.figures["given up and back"] = sum(
            any(u["state"] in ("TASK_LOST", "TASK_UNREACHABLE") for u in task["updates"])
            for task in tasks.values()
        )
        known = self._master.task_states()
        self._compare("master", tasks, known.items())
        # The last acknowledgements may be on their way.
        eventually(lambda: not self._agent.state()["frameworks"], 60.0, "the agent to be idle")
        seen = list(_agent_tasks(self._agent.state()))
        self._compare("agent", tasks, seen)
        self.figures |= {"known to the master": len(known), "known to the agent": len(seen)}

    def _compare(self, who: str, tasks: dict[str, Any], seen: Iterable[tuple[str, str]]) -> None:
        for name, state in seen:
            task = tasks.get(name)
            if task is None:
                self.problems.append(f"{who} knows {name}, which nobody launched")
                continue
            # Masters before 1.5 have frameworks ended whose tasks they gave up, and nobody tells.
            if task["ends"] and state not in task["ends"]:
                self.problems.append(f"{who} has {state} for {name}: {task['updates']}")

    def _look_for_leaks(self) -> None:
        agent = self._agent
        try:
            eventually(lambda: not self._leaks(), 60, "all containers to be gone")
        except AssertionError:
            self.problems += self._leaks()
        for sandbox in agent.sandboxes():
            # An agent that is killed early in a launch leaves an executor without a run there; the
            # next one has both places collected.
            executor = os.path.dirname(os.path.dirname(sandbox))
            meta = executor.replace(agent.work_dir, os.path.join(agent.work_dir, "meta"), 1)
            if not os.path.isdir(meta):
                self.problems.append(f"no meta data of sandbox {sandbox}")
        self.figures["sandboxes"] = len(agent.sandboxes())
        self.figures["agent's RSS in MB"] = _rss_mb(agent.pid)

    def _leaks(self) -> list[str]:
        agent = self._agent
        left = find(agent.territory)
        found = [f"cgroup {path}" for root in left.cgroups for path in _containers(root)]
        found += [f"mount {target}" for target in left.mounts if target not in self._mounts]
        found += [f"runtime {path}" for path in glob.glob(f"{agent.runtime_dir}/containers/*")]
        found += [f"zombie {pid}" for pid in _zombies(agent.pid)]
        more = self._count("fd") - self._descriptors
        if more > _SLACK:
            found.append(f"{more} file descriptors")
        containers = agent.state()["frameworks"]
        return found + [f"framework {each['id']}" for each in containers]

    def _count(self, what: str) -> int:
        return len(os.listdir(f"/proc/{self._agent.pid}/{what}"))

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(f"{time.monotonic() - self._start:8.2f} {text}", flush=True)


def _agent_tasks(state: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for framework in (*state["frameworks"], *state["completed_frameworks"]):
        for executor in (*framework["executors"], *framework["completed_executors"]):
            for task in (*executor["tasks"], *executor["completed_tasks"]):
                yield task["id"], task["state"]


def _containers(root: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(root), "*-*-*-*-*"))


def _zombies(parent: int) -> list[int]:
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == parent:
            found.append(int(path.split("/")[2]))
    return found


def _rss_mb(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def main() -> int:
    """Run it from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description="Chaos, and what it leaves.")
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--master", default=LATEST, help="its version (default: %(default)s)")
    options = parser.parse_args()
    folder = os.path.realpath(tempfile.mkdtemp(prefix="mesos-compat-chaos."))
    print(f"seed {options.seed}, {options.seconds} s, master {options.master}, in {folder}")
    scene = Scene(folder)
    problems = ["the run did not come to its end"]
    figures: dict[str, Any] = {}
    try:
        chaos = Chaos(scene, options.master, options.seed)
        try:
            chaos.run(options.seconds)
            problems, figures = chaos.problems, chaos.figures
        finally:
            chaos.close()
    finally:
        left = scene.close()
        problems += [f"left behind: {left}"] if left else []
        for name, figure in figures.items():
            print(f"{name}: {figure}")
        for problem in problems:
            print(f"PROBLEM {problem}")
        print(f"{len(problems)} problems" if problems else "all is well")
    if not problems:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if problems else 0
