# SPDX-License-Identifier: Apache-2.0
"""Our agent under test, and what it leaves on the host."""

import glob
import json
import os
import signal
import uuid
from collections.abc import Mapping
from typing import Any

from integration.master import RealMaster
from integration.processes import (
    Program,
    command,
    eventually,
    flag_arguments,
    free_port,
    get_json,
)
from mesos_compat.cli.leftovers import Leftovers, Territory, find, remove


class OurAgent(Program):
    """An agent with its own work and runtime directories, port and cgroup root."""

    def __init__(
        self,
        master: RealMaster | str,
        folder: str,
        ip: str = "127.0.0.1",
        port: int | None = None,
        variables: Mapping[str, str] | None = None,
        **flags: object,
    ) -> None:
        os.makedirs(folder, exist_ok=True)
        super().__init__("agent", os.path.join(folder, "agent.log"))
        self.master = master if isinstance(master, str) else master.address
        self.folder = os.path.realpath(folder)
        self.ip = ip
        self.port = free_port(ip) if port is None else port
        self.cgroups_root = f"mesos-compat-test-{uuid.uuid4().hex[:8]}"
        self.variables = dict(variables or {})
        self.flags = flags

    @property
    def address(self) -> str:
        """``ip:port`` of its HTTP endpoints."""
        return f"{self.ip}:{self.port}"

    @property
    def work_dir(self) -> str:
        """``--work_dir``."""
        return os.path.join(self.folder, "work")

    @property
    def runtime_dir(self) -> str:
        """``--runtime_dir``."""
        return os.path.join(self.folder, "run")

    @property
    def territory(self) -> Territory:
        """What belongs to this agent on the host."""
        return Territory(
            (self.work_dir, self.runtime_dir), (self.cgroups_root,), (self.runtime_dir,)
        )

    def arguments(self) -> list[str]:
        """Return the whole command line."""
        flags: dict[str, object] = {
            "master": self.master,
            "ip": self.ip,
            "port": self.port,
            "hostname": self.ip,
            "work_dir": self.work_dir,
            "runtime_dir": self.runtime_dir,
            "cgroups_root": self.cgroups_root,
            "docker_store_dir": os.path.join(self.folder, "store", "docker"),
            "appc_store_dir": os.path.join(self.folder, "store", "appc"),
            "resources": "cpus:4;mem:2048;disk:4096;ports:[31000-31999]",
            "registration_backoff_factor": "100ms",
        }
        if os.geteuid() != 0:
            flags |= {"launcher": "posix", "switch_user": False}
        return command("agent", *flag_arguments(flags | self.flags))

    def spawn(self) -> "OurAgent":
        """Start it without waiting for anything."""
        self.launch(self.arguments(), self.variables, self.folder)
        return self

    def start(self) -> "OurAgent":
        """Start it and wait until it is registered with its master."""
        self.spawn()
        self.wait_until_registered()
        return self

    def wait_until_registered(self, timeout_s: float = 60.0) -> None:
        """Wait until its master lists it as active, and not the process before this one."""

        def probe() -> bool:
            if not self.running:
                raise AssertionError(f"the agent ended with {self.exit_status}\n{self.tail()}")
            if not self.said("egistered with master"):
                return False
            state = get_json(self.master, "/state") or {}
            return any(
                agent["active"] and agent["pid"].endswith(f"@{self.address}")
                for agent in state.get("slaves", ())
            )

        try:
            eventually(probe, timeout_s, "the agent to register")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def stop(self) -> int:
        """Ask it to unregister and end with all its tasks; returns its exit code."""
        self.signal(signal.SIGUSR1)
        return self.wait()

    def state(self) -> dict[str, Any]:
        """Return the agent's /state."""
        value = get_json(self.address, "/state")
        assert isinstance(value, dict), f"the agent does not answer\n{self.tail()}"
        return value

    def sandboxes(self, executor_id: str = "*") -> list[str]:
        """Return the sandbox of each run, oldest first."""
        pattern = os.path.join(
            glob.escape(self.work_dir),
            f"slaves/*/frameworks/*/executors/{executor_id}/runs/*-*",
        )
        return sorted(glob.glob(pattern), key=lambda path: os.stat(path).st_mtime_ns)

    def sandbox(self, executor_id: str = "*") -> str:
        """Return the only sandbox of an executor."""
        found = self.sandboxes(executor_id)
        assert len(found) == 1, f"{len(found)} sandboxes of {executor_id}: {found}\n{self.tail()}"
        return found[0]

    def stdout(self, executor_id: str = "*") -> str:
        """Return what the only task wrote to stdout."""
        with open(os.path.join(self.sandbox(executor_id), "stdout"), encoding="utf-8") as file:
            return file.read()

    def clean(self) -> Leftovers:
        """End it, and return what it had left behind before that was removed."""
        if self.running:
            self.signal(signal.SIGUSR1)
            try:
                self.wait()
            except AssertionError:
                self.kill()
        left = find(self.territory)
        remove(self.territory)
        return left

    def describe(self) -> str:
        """What a failed test wants to see of it."""
        files = []
        for sandbox in self.sandboxes():
            for name in ("stdout", "stderr"):
                path = os.path.join(sandbox, name)
                if os.path.exists(path):
                    with open(path, encoding="utf-8", errors="replace") as file:
                        files.append(f"--- {path}\n{file.read()[-2000:]}")
        flags = json.dumps(self.arguments(), indent=1)
        return "\n".join([f"--- {flags}", f"--- {self.log}", self.tail(200), *files])
