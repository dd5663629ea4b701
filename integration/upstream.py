# SPDX-License-Identifier: Apache-2.0
"""A real master and a real agent in one process, out of the library that PyPI's packages hold.

    python -m integration.upstream LIBRARY

The library starts a cluster of its own for the master ``local``; where ``mesos-compat master`` asks
for no agent, this asks for one. Of the programs that upstream installs beside, the launch helper is
in the library, too (``cpp_helper``); the executors are ours. Such an agent lets those write
into its own log.
"""

import glob
import os
import re
import subprocess
import sys
from pathlib import Path

from integration.master import LATEST
from integration.processes import Program, command, environment, eventually, free_port, get_json
from integration.scene import bin_folder
from mesos_compat.cli.leftovers import Territory, remove
from mesos_compat.realmaster import cache
from mesos_compat.realmaster.run import load, run


class UpstreamCluster(Program):
    """Upstream's master and agent; both at the same address."""

    def __init__(
        self, folder: str, version: str = LATEST, *, own_helper: bool = False, **flags: str
    ) -> None:
        """``flags`` are the agent's; with ``own_helper`` ours does not launch its containers."""
        os.makedirs(folder, exist_ok=True)
        self.launcher_dir = bin_folder()
        if own_helper:
            self.launcher_dir = os.path.join(folder, "libexec")
            _install(self.launcher_dir, library(version))
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
            "LAUNCHER_DIR": self.launcher_dir,
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
        root = self.flags.get("cgroups_root")
        remove(Territory((os.path.realpath(self.folder),), () if root is None else (root,)))

    def frameworks(self) -> list[str]:
        """The names of the frameworks that live on the agent."""
        state = get_json(self.address, "/slave(1)/state") or {}
        return [framework["name"] for framework in state["frameworks"]]

    def names(self) -> set[str]:
        """All that lies below meta and runtime directory, with a letter for each id."""
        found = set()
        for top in (os.path.join(self.work_dir, "meta"), self.runtime_dir):
            for folder, folders, files in os.walk(top):
                for name in (*folders, *files):
                    path = os.path.relpath(os.path.join(folder, name), os.path.dirname(top))
                    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "U", path)
                    found.add(re.sub("(executors|tasks)/[^/]+", r"\1/X", path))
        return found

    def containers(self) -> list[str]:
        """Everything that is there of containers: directories, root file systems, cgroups."""
        root = self.flags.get("cgroups_root", "none")
        patterns = (
            f"{glob.escape(self.runtime_dir)}/containers/*",
            f"{glob.escape(self.work_dir)}/provisioner/containers/*",
            f"/sys/fs/cgroup/*/{root}/*/",
        )
        return [path for pattern in patterns for path in glob.glob(pattern)]


def _install(folder: str, path: str) -> None:
    """Put upstream's helper and our other programs where an agent looks for them."""
    os.makedirs(folder)
    for name in ("mesos-executor", "mesos-default-executor", "mesos-io-switchboard"):
        os.symlink(os.path.join(bin_folder(), name), os.path.join(folder, name))
    project = os.path.dirname(os.path.dirname(__file__))
    helper = os.path.join(folder, "mesos-containerizer")
    with open(helper, "w", encoding="utf-8") as file:
        print("#!/bin/sh", file=file)
        print(
            f'cd "{project}" && exec "{sys.executable}" -m integration.cpp_helper',
            file=file,
            end=" ",
        )
        print(f'"{path}" "$@"', file=file)
    os.chmod(helper, 0o755)


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
