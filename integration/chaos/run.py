# SPDX-License-Identifier: Apache-2.0
"""One run: frameworks keep tasks going, faults strike, and in the end all must agree.

usage: python -m integration.chaos [--seconds N] [--seed S] [--master VERSION] [--styles S,…]

The frameworks are those of ``integration.frameworks.crowd``, one of each style.

Shown in the end: every task has one terminal state, the same for framework, master and agent; the
master never aborted; no process, container, mount, cgroup, sandbox or checkpoint of a task is left,
and the agent holds no more descriptors, threads and memory than it should.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from integration.agent import OurAgent
from integration.chaos.crowd import CrowdProcess
from integration.chaos.faults import Faults
from integration.chaos.leaks import Leaks
from integration.chaos.verdict import Book, disagreements, ends
from integration.frameworks.crowd import STYLES, Update
from integration.master import LATEST, RealMaster
from integration.network import Network
from integration.observer import Observer
from integration.processes import eventually
from integration.scene import Scene

#: Seconds between two faults.
_CALM_S = (0.3, 4.0)
#: Seconds for all tasks to end after the last fault: a retry of an update may take 40 of them.
_END_S = 180.0
#: Tasks that a framework keeps going.
_FLOCK = 10
RESOURCES = "cpus:4;mem:4096;disk:4096;ports:[31000-31999]"
#: Masters before this one have agents that come back shut down frameworks (``verdict``).
_KEEPS_TASKS = (1, 5)


class Chaos:
    """A run on a scene."""

    def __init__(
        self,
        scene: Scene,
        version: str,
        seed: int,
        styles: Sequence[str] = tuple(STYLES),
    ) -> None:
        self._scene = scene
        self._version = version
        self._seed = seed
        self._styles = styles
        self._old = tuple(map(int, version.split(".")))[:2] < _KEEPS_TASKS
        self._start = time.monotonic()
        self._crowds: list[CrowdProcess] = []
        self._observer: Observer | None = None
        self._master: RealMaster
        self._agent: OurAgent
        #: What was found wrong; empty if all is well.
        self.problems: list[str] = []
        #: Figures for the report.
        self.figures: dict[str, Any] = {}

    def run(self, seconds: float) -> None:
        """Let faults strike for some time, then end all tasks and look."""
        network = self._scene.network()
        observer = self._set_up(network)
        leaks = Leaks(self._agent)
        self._launch_crowds()
        self._strike(network, leaks, seconds)
        self._agent.wait_until_registered(90.0)
        if self._old:
            self._forget()
        for crowd in self._crowds:
            crowd.stop()
        books = self._books()
        self._say("all tasks have ended")
        self._agree(books)
        observer.judge()
        for crowd in self._crowds:
            crowd.leave()
        observer.judge()
        self._expect(leaks.containers)
        self._expect(leaks.process)
        self._expect(leaks.files)
        self.figures |= leaks.figures

    def close(self) -> None:
        """End the frameworks; the rest is the scene's."""
        if self._observer is not None:
            self._observer.close()
        for crowd in self._crowds:
            crowd.kill()

    def _set_up(self, network: Network) -> Observer:
        self._master = self._scene.master(
            self._version,
            ip=network.host_ip,
            agent_ping_timeout="1secs",
            max_agent_ping_timeouts=5,
        )
        self._observer = Observer(self._master).start()
        self._agent = self._scene.distant_agent(
            self._master,
            network,
            resources=RESOURCES,
            executor_shutdown_grace_period="2secs",
            gc_delay="10secs",
        )
        return self._observer

    def _launch_crowds(self) -> None:
        for number, style in enumerate(self._styles):
            log = self._scene.path(f"crowd-{style}.log")
            seed = self._seed + number
            self._crowds.append(CrowdProcess(self._master.address, log, style, seed, _FLOCK))
        eventually(lambda: len(self._master.task_states()) > 4, 60.0, "the first tasks")

    def _strike(self, network: Network, leaks: Leaks, seconds: float) -> None:
        generator = random.Random(self._seed)
        faults = Faults(generator, self._master, self._agent, network, self._say)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            faults.strike()
            time.sleep(generator.uniform(*_CALM_S))
            if not self._agent.running:
                self.problems.append(f"the agent ended: {self._agent.exit_status}")
                self._agent.spawn()
            leaks.sample()
        faults.put_right()
        self.figures["faults"] = faults.done
        self._say("no more faults")

    def _forget(self) -> None:
        """Let the master forget which tasks it gave up.

        Those before 1.5 never take tasks that did not reach an agent from the unreachable ones, not
        when the agent is there again nor when they are asked, and abort when the framework is torn
        down. If they have a framework shut down (spec ``agent-master`` 6.9) by a connection of
        which they do not know yet that it is broken, the message is lost: the tasks go on, and
        only the next process hears of them.
        """
        self._master.restart()
        self._agent.wait_until_registered(90.0)

    def _books(self) -> dict[str, Book]:
        books: dict[str, Book] = {}
        for crowd in self._crowds:
            report = crowd.report(_END_S)
            # For who looks for the cause of a problem.
            Path(crowd.log).with_suffix(".json").write_text(json.dumps(report, indent=1))
            self.problems += [f"framework: {error}" for error in report["errors"]]
            for name, task in report["tasks"].items():
                updates = tuple(Update(**update) for update in task["updates"])
                books[name] = Book(name, task["kind"], updates)
        return books

    def _agree(self, books: dict[str, Book]) -> None:
        self.problems += [problem for book in books.values() for problem in book.problems()]
        # The last acknowledgements may be on their way.
        eventually(lambda: not self._agent.state()["frameworks"], 60.0, "the agent to be idle")
        known = list(self._master.tasks())
        self.problems += disagreements("master", books, known, shuts_down=self._old)
        seen = list(_agent_tasks(self._agent.state()))
        self.problems += disagreements("agent", books, seen, shuts_down=self._old)
        self.figures |= {
            "tasks": len(books),
            "ends": ends(books.values()),
            "given up and back": sum(
                book.given_up and book.end is not None for book in books.values()
            ),
            "known to the master": len(known),
            "known to the agent": len(seen),
        }

    def _expect(self, left: Callable[[], list[str]]) -> None:
        try:
            eventually(lambda: not left(), 90.0, "nothing to be left")
        except AssertionError:
            self.problems += left()

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:8.2f} {text}", flush=True)


def _agent_tasks(state: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for framework in (*state["frameworks"], *state["completed_frameworks"]):
        for executor in (*framework["executors"], *framework["completed_executors"]):
            for key in ("queued_tasks", "tasks", "completed_tasks"):
                for task in executor[key]:
                    yield task["id"], task.get("state", "TASK_STAGING")


def _leave(number: int, frame: object) -> None:
    """Come to an end with all that was started; a second signal changes nothing."""
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    """Run it from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description="Chaos, and what it leaves.")
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--master", default=LATEST, help="its version (default: %(default)s)")
    parser.add_argument("--styles", default=",".join(STYLES), help="default: %(default)s")
    options = parser.parse_args()
    styles = options.styles.split(",")
    folder = os.path.realpath(tempfile.mkdtemp(prefix="mesos-compat-chaos."))
    print(f"seed {options.seed}, {options.seconds} s, master {options.master}, in {folder}")
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    scene = Scene(folder)
    problems = ["the run did not come to its end"]
    figures: dict[str, Any] = {}
    try:
        chaos = Chaos(scene, options.master, options.seed, styles)
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
