# SPDX-License-Identifier: Apache-2.0
"""A real Mesos master under test."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from integration.processes import (
    Program,
    command,
    eventually,
    flag_arguments,
    free_port,
    get,
    get_json,
    post_json,
)

#: The versions that all tutorials, frameworks and golden files are checked with.
SUPPORTED = ("1.4.3", "1.7.3", "1.10.0", "1.11.0")
LATEST = SUPPORTED[-1]


class RealMaster(Program):
    """A master of ``version`` with a registry on disk, so that it may be killed and restarted."""

    def __init__(
        self,
        version: str,
        work_dir: str,
        ip: str = "127.0.0.1",
        port: int | None = None,
        **flags: object,
    ) -> None:
        os.makedirs(work_dir, exist_ok=True)
        super().__init__(f"master-{version}", os.path.join(work_dir, "master.log"))
        self.version = version
        self.work_dir = work_dir
        self.ip = ip
        self.port = free_port(ip) if port is None else port
        self.flags = flags

    @property
    def address(self) -> str:
        """``ip:port``, as for ``--master``."""
        return f"{self.ip}:{self.port}"

    def start(self) -> "RealMaster":
        """Start it and wait until it answers."""
        flags = {
            "version": self.version,
            "ip": self.ip,
            "port": self.port,
            "work_dir": os.path.join(self.work_dir, "registry"),
            "hostname": self.ip,
            "allocation_interval": "100ms",
            **self.flags,
        }
        self.launch(command("master", *flag_arguments(flags)), {}, self.work_dir)
        self._await_answer()
        return self

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def restart(self) -> None:
        """Crash it and start it again with its registry."""
        self.kill()
        self.start()

    def state(self) -> dict[str, Any]:
        """Return /state."""
        value = get_json(self.address, "/state")
        assert isinstance(value, dict), f"{self.name} does not answer\n{self.tail()}"
        return value

    def agents(self) -> list[dict[str, Any]]:
        """Return the active agents of /state."""
        return [agent for agent in self.state()["slaves"] if agent["active"]]

    def wait_for_agents(self, number: int, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """Wait until exactly ``number`` agents are active."""

        def probe() -> list[list[dict[str, Any]]]:
            found = self.agents()
            return [found] if len(found) == number else []

        return eventually(probe, timeout_s, f"{number} active agents at {self.name}")[0]

    def tasks(self) -> Iterator[tuple[str, str]]:
        """Return id and state of all tasks that it knows; one that is in two lists comes twice."""
        frameworks = self.state()
        for kind in ("frameworks", "completed_frameworks"):
            for framework in frameworks[kind]:
                for key in ("tasks", "completed_tasks", "unreachable_tasks"):
                    for task in framework.get(key, ()):
                        yield task["id"], task["state"]

    def task_states(self) -> dict[str, str]:
        """Return task id → state of all tasks that it knows, completed ones included."""
        return dict(self.tasks())

    def _await_answer(self) -> None:
        def probe() -> bool:
            if not self.running:
                raise AssertionError(f"{self.name} ended at once\n{self.tail()}")
            # Its endpoints come a moment after its port, and answer 503 until it has recovered.
            with contextlib.suppress(OSError):
                get(self.address, "/state")
                return bool(post_json(self.address, "/api/v1", {"type": "GET_VERSION"}))
            return False

        eventually(probe, 60, f"{self.name} to answer")
