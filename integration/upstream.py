# SPDX-License-Identifier: Apache-2.0
"""A real master and a real agent in one process, out of the library that PyPI's packages hold.

    python -m integration.upstream LIBRARY

The library starts a cluster of its own for the master ``local``; where ``mesos-compat master`` asks
for no agent, this asks for one. It lacks the programs that upstream installs beside: containers
are launched by our helper, and there is no command executor but ours. Such an agent lets executors
write into its own log.
"""

import contextlib
import glob
import os
import signal
import subprocess
import sys
from pathlib import Path

from integration.master import LATEST
from integration.processes import Program, command, environment, eventually, free_port, get_json
from integration.scene import bin_folder
from mesos_compat.realmaster import cache
from mesos_compat.realmaster.run import load, run


class UpstreamCluster(Program):
    """Upstream's master and agent; both at the same address."""

    def __init__(self, folder: str, version: str = LATEST, **flags: str) -> None:
        """``flags`` are the agent's."""
        os.makedirs(folder, exist_ok=True)
        super().__init__(f"upstream-{version}", os.path.join(folder, "upstream.log"))
        self.folder = folder
        self.version = version
        self.flags = flags
        self.ip = "127.0.0.1"
        self.port = free_port(self.ip)

    @property
    def address(self) -> str:
        """``ip:port``."""
        return f"{self.ip}:{self.port}"

    @property
    def work_dir(self) -> str:
        """That of the agent."""
        return os.path.join(self.folder, "agents", "0", "work")

    @property
    def runtime_dir(self) -> str:
        """That of the agent."""
        return os.path.join(self.folder, "agents", "0", "run")

    def start(self) -> "UpstreamCluster":
        """Start it and wait until the agent is registered."""
        variables = {
            "NUM_SLAVES": "1",
            "RESOURCES": "cpus:4;mem:2048;disk:4096;ports:[31000-31999]",
            "ISOLATION": "posix/cpu,posix/mem",
            "CONTAINERIZERS": "mesos",
            "LAUNCHER": "posix",
            "LAUNCHER_DIR": bin_folder(),
            "SYSTEMD_ENABLE_SUPPORT": "false",
            "SWITCH_USER": "false",
            "WORK_DIR": self.folder,
            "HOSTNAME": self.ip,
            "ALLOCATION_INTERVAL": "100ms",
            "REGISTRATION_BACKOFF_FACTOR": "100ms",
        }
        variables = {
            f"MESOS_{name.upper()}": value for name, value in (variables | self.flags).items()
        }
        variables |= {"LIBPROCESS_IP": self.ip, "LIBPROCESS_PORT": str(self.port)}
        variables["PYTHONPATH"] = os.path.dirname(os.path.dirname(__file__))
        program = [sys.executable, "-m", "integration.upstream", library(self.version)]
        self.launch(program, variables, self.folder)

        def probe() -> bool:
            assert self.running, f"{self.name} ended at once\n{self.tail()}"
            state = get_json(self.address, "/state") or {}
            return any(agent["active"] for agent in state.get("slaves", ()))

        eventually(probe, 60.0, "upstream's agent to register")
        return self

    def clean(self) -> None:
        """End it, and what it left."""
        self.kill()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd").startswith(f"{self.folder}/"):
                    os.kill(pid, signal.SIGKILL)


def library(version: str) -> str:
    """Return the path of the library of a version, which is fetched if it is not there."""
    subprocess.run(
        command("master", f"--version={version}", "--prefetch"),
        check=True,
        capture_output=True,
        env=environment(),
    )
    folder = cache.cache_folder(os.environ)
    [found] = glob.glob(os.path.join(glob.escape(folder), f"libmesos-{version}-*.so"))
    return str(Path(found))


if __name__ == "__main__":
    sys.exit(run(load(sys.argv[1])))
