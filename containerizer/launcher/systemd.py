# SPDX-License-Identifier: Apache-2.0
"""A slice of systemd's in which programs outlive the agent's service.

systemd ends a service by killing what is in its cgroup. What has to go on is moved out: containers
of the linux launcher are in cgroups of ours in systemd's hierarchy, everything else that is
started for containers is in the slice. On hosts with the hybrid layout systemd looks at its
version 2 hierarchy instead, so there all are in the slice.

Source: spec ``containerizer`` 6.10, ``state-and-recovery`` 6.5.
Deviations: with the hybrid layout upstream's containers end with the service. Who is not root
leaves systemd alone; upstream does not start. Whether systemd runs this host is also seen by
``/run/systemd/system``, so that its mere installation does not count.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from dataclasses import dataclass

from containerizer.linux import cgroup1, proc
from containerizer.linux.cgroup1 import CgroupLayout
from mesos_compat.base.errors import FlagError

log = logging.getLogger(__name__)

SLICE = "mesos_executors.slice"
_UNIT = "[Unit]\nDescription=Mesos Executors Slice\n"

#: Where cgroups of systemd's are, below the folder of all hierarchies.
_HIERARCHY = "systemd"
#: The same where the layout is hybrid.
_UNIFIED = "unified"
#: systemd makes it when it starts a host.
_BOOTED = "/run/systemd/system"
_INIT = "/sbin/init"
_CONTROL = "systemctl"
#: Earlier ones know no ``Delegate``.
_MIN_VERSION = 218
#: Seconds that systemd has for an answer.
_TIMEOUT_S = 30.0

_FAILED = "Failed to initialize systemd: "


@dataclass(frozen=True, slots=True)
class SystemdConfig:
    """What is taken from the agent's flags, and where systemd is to be found."""

    #: ``--systemd_runtime_directory``: units that do not survive a boot.
    runtime_directory: str = "/run/systemd/system"
    #: ``--cgroups_hierarchy``
    cgroups_hierarchy: str = "/sys/fs/cgroup"
    init: str = _INIT
    booted: str = _BOOTED
    control: str = _CONTROL


@dataclass(frozen=True, slots=True)
class Systemd:
    """A running systemd with our slice."""

    #: Mount point of its hierarchy.
    hierarchy: str
    #: The slice's cgroup of version 2, if that is how systemd finds the processes of a service.
    unified_slice: str | None

    @property
    def slice(self) -> str:
        """The absolute path of the slice's cgroup."""
        return os.path.join(self.hierarchy, SLICE)

    @property
    def container_cgroups(self) -> tuple[str, ...]:
        """What containers join besides the cgroups of their own."""
        return () if self.unified_slice is None else (self.unified_slice,)

    @property
    def helper_cgroups(self) -> tuple[str, ...]:
        """What everything else joins."""
        return self.slice, *self.container_cgroups

    def keeps(self, pid: int, root: str) -> bool:
        """Whether a process goes on when the agent's service is stopped.

        ``root`` is our cgroup. Raises OSError if the process is gone.
        """
        places = proc.cgroups(pid)
        if self.unified_slice is not None:
            return SLICE in places.get("", "").split("/")
        names = places.get("name=systemd", "").strip("/").split("/")
        wanted = root.strip("/").split("/")
        return names[: len(wanted)] == wanted or SLICE in names


def prepare_systemd(config: SystemdConfig) -> Systemd | None:
    """Make and start the slice if systemd of version 1 of cgroups runs this host.

    Nothing is done on hosts with version 2 only: there the agent's unit needs ``Delegate=yes`` and
    ``KillMode=process``. Raises FlagError.
    """
    if os.geteuid() != 0 or cgroup1.layout() is CgroupLayout.V2 or not _runs(config):
        return None
    unit = os.path.join(config.runtime_directory, SLICE)
    if not os.path.exists(unit):
        try:
            with open(unit, "w", encoding="ascii") as file:
                file.write(_UNIT)
        except OSError as error:
            raise FlagError(
                f"{_FAILED}Failed to write systemd slice `{unit}`: {error.strerror}"
            ) from error
        log.info("Created systemd slice: `%s`", unit)
        _control(config, "daemon-reload")
    _control(config, "start", SLICE)
    unified = os.path.join(config.cgroups_hierarchy, _UNIFIED, SLICE)
    systemd = Systemd(
        os.path.join(config.cgroups_hierarchy, _HIERARCHY),
        unified if os.path.isdir(unified) else None,
    )
    if not os.path.isdir(systemd.slice):
        raise FlagError(
            f"{_FAILED}Failed to locate systemd cgroups hierarchy: does not exist: '"
            f"{systemd.slice}'"
        )
    log.info("Started systemd slice `%s`", SLICE)
    return systemd


def _runs(config: SystemdConfig) -> bool:
    if not os.path.isdir(config.booted):
        return False
    program = os.path.realpath(config.init)
    try:
        done = _run(program, "--version")
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("Failed to ask '%s' for its version: %s", program, error)
        return False
    found = re.match(r"systemd (\d+)", done.stdout)
    if found is None:
        return False
    if int(found[1]) < _MIN_VERSION:
        log.warning(
            "systemd %s is older than %d: it may move containers back into the agent's unit",
            found[1],
            _MIN_VERSION,
        )
    return True


def _control(config: SystemdConfig, *arguments: str) -> None:
    command = " ".join((config.control, *arguments))
    try:
        done = _run(config.control, *arguments)
    except (OSError, subprocess.SubprocessError) as error:
        raise FlagError(f"{_FAILED}Failed to run '{command}': {error}") from error
    if done.returncode != 0:
        reason = done.stderr.strip() or f"exit status {done.returncode}"
        raise FlagError(f"{_FAILED}Failed to run '{command}': {reason}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of systemd to its end. Raises OSError, SubprocessError."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
