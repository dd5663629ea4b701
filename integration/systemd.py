# SPDX-License-Identifier: Apache-2.0
"""A real systemd as the first process of a PID namespace, with units of ours and nothing else.

It sees the host's files, but no unit of the host, and of its cgroups only a part of systemd's own
hierarchies, so it can do nothing to the host. That has to have the hybrid layout.
"""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence

from containerizer.linux import cgroup1, proc
from integration.processes import Program, eventually

SYSTEMD = "/lib/systemd/systemd"
#: The unit that it boots to.
_TARGET = "test.target"
#: The controllers that systemd is shown: it would mount all there are.
_CONTROLLERS = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nfreezer\t6\t1\t1\n"
#: The hierarchies of which it sees a part only.
_HIERARCHIES = ("systemd", "unified")
#: Runs in namespaces of its own. Arguments: folder, name of the cgroup for systemd, its command.
_BOOT = r"""
set -e
for each in systemd unified; do
    echo $$ > "/sys/fs/cgroup/$each/$2/cgroup.procs"
done
exec unshare --cgroup /bin/sh -ec '
    folder=$1; shift 2
    mount -t proc none /proc
    mount -t tmpfs none /run
    for each in system system-generators system-environment-generators; do
        test ! -d /usr/lib/systemd/$each || mount -t tmpfs none /usr/lib/systemd/$each
    done
    mount -t tmpfs none /etc/systemd
    mkdir /etc/systemd/system
    cp "$folder"/units/* /etc/systemd/system
    mount -t tmpfs none /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup/freezer
    mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd
    mount -t cgroup2 none /sys/fs/cgroup/unified
    mount -t cgroup -o freezer none /sys/fs/cgroup/freezer
    mount --bind "$folder"/cgroups /proc/cgroups
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    exec env -i container=test PATH="$PATH" "$@"
' - "$@"
"""


def unusable() -> str | None:
    """Say why systemd cannot be booted here."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists(SYSTEMD):
        return "needs systemd (Debian package systemd)"
    if not all(os.path.exists(f"/sys/fs/cgroup/{name}/cgroup.procs") for name in _HIERARCHIES):
        return "needs the hybrid layout of cgroups"
    return None


class BootedSystemd(Program):
    """A systemd that runs services; below ``folder``."""

    def __init__(self, folder: str) -> None:
        super().__init__("systemd", os.path.join(folder, "systemd.log"))
        self.folder = folder
        self._name = f"mesos-compat-test-{uuid.uuid4().hex[:8]}"
        self._cgroups = [os.path.join("/sys/fs/cgroup", h, self._name) for h in _HIERARCHIES]

    def boot(self, **services: Sequence[str] | str) -> None:
        """Boot with these services, each a command line or a whole unit; none is started."""
        units = os.path.join(self.folder, "units")
        os.makedirs(units)
        _write(os.path.join(units, _TARGET), "[Unit]\nDescription=Test\nDefaultDependencies=no\n")
        for name, service in services.items():
            log = os.path.join(self.folder, f"{name}.log")
            unit = service if isinstance(service, str) else _unit(service)
            _write(
                os.path.join(units, f"{name}.service"),
                f"{unit}\n[Unit]\nDefaultDependencies=no\n[Service]\n"
                f"WorkingDirectory={self.folder}\nStandardOutput=append:{log}\n"
                "StandardError=inherit\n",
            )
        _write(os.path.join(self.folder, "cgroups"), _CONTROLLERS)
        for cgroup in self._cgroups:
            os.mkdir(cgroup)
        boot = ("/bin/sh", "-c", _BOOT, "-", self.folder, self._name)
        systemd = (SYSTEMD, f"--unit={_TARGET}", "--log-target=console")
        self.launch(
            ("unshare", "--mount", "--pid", "--fork", "--kill-child", *boot, *systemd),
            {"PATH": os.environ["PATH"]},
            self.folder,
        )
        eventually(lambda: self._init and self.control("is-active", _TARGET), 60, "systemd to boot")

    @property
    def _init(self) -> int | None:
        children = proc.children(self.pid)
        return children[0] if children else None

    def control(self, *arguments: str) -> str:
        """Run systemctl there; return what it printed, nothing if it refused."""
        init = self._init
        assert init is not None, self.tail()
        enter = ("nsenter", f"--target={init}", "--mount", "--pid", "--cgroup")
        done = subprocess.run(
            [*enter, "systemctl", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def read(self, path: str) -> str:
        """Read a file as systemd sees it."""
        with open(f"/proc/{self._init}/root{path}", encoding="utf-8") as file:
            return file.read()

    def processes(self, cgroup: str) -> set[int]:
        """Return the host's pids in a cgroup of its hierarchy and below."""
        path = os.path.join(self._cgroups[0], cgroup)
        return cgroup1.all_processes(path) if os.path.isdir(path) else set()

    def close(self) -> None:
        """End it with all that it runs, and remove its cgroups."""
        self.kill()
        deadline = time.monotonic() + 60
        for cgroup in filter(os.path.isdir, self._cgroups):
            for path in [*cgroup1.descendants(cgroup), cgroup]:
                _remove(path, deadline)
        shutil.rmtree(os.path.join(self.folder, "units"), ignore_errors=True)


def _remove(cgroup: str, deadline: float) -> None:
    """Remove a cgroup whose last processes are about to be gone."""
    while True:
        try:
            os.rmdir(cgroup)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _unit(arguments: Sequence[str]) -> str:
    command = " ".join(_quoted(each) for each in arguments)
    return f"[Service]\nTimeoutStopSec=20\nExecStart={command}\n"


def _quoted(argument: str) -> str:
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + escaped.replace("$", "$$") + '"'
