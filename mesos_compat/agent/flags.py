# SPDX-License-Identifier: Apache-2.0
"""The flags of the agent: all names that upstream's agent knows.

Those that this agent acts on are typed attributes of ``AgentFlags``, declared by subject in
``declared``; the others are declared in ``flag_table.py``, load and display alike, and say once
that they have no effect.

Where values come from, the strongest first: command line, ``MESOS_*`` variables, the file of
``--config``, what ``--config_dir`` names.

Deviation: upstream refuses to start without ``--work_dir``; we choose one and say which.

Source: spec ``agent-flags.tsv``, ``state-and-recovery`` 1.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mesos_compat.agent.declared.cluster import ClusterFlags
from mesos_compat.agent.declared.containers import ContainerFlags
from mesos_compat.agent.declared.daemon import DaemonFlags
from mesos_compat.agent.declared.images import ImageFlags
from mesos_compat.agent.declared.lifecycle import LifecycleFlags
from mesos_compat.agent.declared.security import SecurityFlags
from mesos_compat.agent.flag_groups import GROUPS, OWN
from mesos_compat.agent.flag_table import OTHER_FLAGS, WITHOUT_EFFECT
from mesos_compat.agent.packaged import read_packaged
from mesos_compat.base.errors import FlagError
from mesos_compat.base.flags import (
    FlagSet,
    LoadedFlags,
    Setting,
)
from mesos_compat.base.plugins import Group
from mesos_compat.base.toml_flags import read_toml
from mesos_compat.libprocess.address import ListenOptions

#: Groups of plug-ins, by the flag that names some of them.
_GROUPS: Final[Mapping[str, str]] = {
    "containerizers": "mesos_compat.containerizers",
    "isolation": "mesos_compat.isolators",
    "image_providers": "mesos_compat.image_stores",
    "image_provisioner_backend": "mesos_compat.image_backends",
    "container_logger": "mesos_compat.container_loggers",
    "hooks": "mesos_compat.hooks",
    "secret_resolver": "mesos_compat.secret_resolvers",
    "master_detector": "mesos_compat.master_detectors",
    "authenticatee": "mesos_compat.authenticatees",
    "authorizer": "mesos_compat.authorizers",
    "http_authenticators": "mesos_compat.http_authenticators",
    "resource_estimator": "mesos_compat.resource_estimators",
    "qos_controller": "mesos_compat.qos_controllers",
}

#: Seconds that an ``--ip_discovery_command`` may take.
_DISCOVERY_TIMEOUT_S: Final = 30.0

#: Pairs of flags of which one at most can be given: one in a stronger place puts the other out.
_EITHER_OR: Final = (
    ("master", "master_detector"),
    ("ip", "ip_discovery_command"),
    ("ip6", "ip6_discovery_command"),
)
#: Flags that say where other flags are.
_PLACES: Final = ("config", "config_dir", "help", "version")

_ABOUT: Final = "\n".join(
    (
        "An agent for Apache Mesos masters.",
        "Flags can also be given as environment variables (--work_dir as MESOS_WORK_DIR), in a"
        " file of TOML (--config), and as the Mesos packages keep them (--config_dir). If one is"
        " given in several of these, the first in this order counts: command line, environment,"
        " --config, --config_dir.",
        "DURATION is a number with its unit, without a blank: ns, us, ms, secs, mins, hrs, days or"
        " weeks. BYTES is an integer with its unit: B, KB, MB, GB or TB. file:///path as a value"
        ' means the content of that file. "[mesos-compat]" marks flags that upstream\'s agent does'
        " not have.",
    )
)


@dataclass(frozen=True, kw_only=True)
class AgentFlags(
    DaemonFlags, ClusterFlags, SecurityFlags, LifecycleFlags, ContainerFlags, ImageFlags
):
    """What the agent was told, under the names of the flags.

    Durations are seconds (float), sizes bytes. Paths are as given, never normalised.
    """

    #: Names of the flags that were given.
    given: frozenset[str] = frozenset()
    #: Flags as ``/flags`` shows them.
    display: Mapping[str, str]
    #: Values of all flags, those without attributes included.
    values: Mapping[str, Any]
    #: What to log at WARNING once logging runs.
    warnings: tuple[str, ...] = ()
    #: Variables for the agent's own environment, from files of ``--config_dir``.
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Flag → file where it stands, for those given neither as argument nor in the environment.
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: What ``detect`` of the master detector takes: ``--master`` with its ``file://``, if any.
    master_location: str = ""

    def __repr__(self) -> str:
        return f"<AgentFlags {' '.join(sorted(self.given))}>"


FLAGS: Final = FlagSet.of(AgentFlags, "mesos-agent", more=OTHER_FLAGS, about=_ABOUT)


def parse_agent_flags(argv: Sequence[str], environ: Mapping[str, str]) -> AgentFlags:
    """Load the flags of an agent; ``argv`` is without the program's name.

    With ``--help`` or ``--version`` nothing else is checked. Raises FlagError.
    """
    defaults = machine_defaults(environ)
    files = _Files(environ)
    loaded = FLAGS.load(argv, environ, defaults=defaults, layers=files.layers)
    asked = loaded.values["help"] or loaded.values["version"]
    warnings = [*loaded.warnings, *files.warnings]
    if not asked:
        loaded.raise_error()
        _refuse(loaded)
        warnings += _remarks(loaded)
    master = loaded.values["master"]
    if master is not None and loaded.shown["master"] != master:
        master = f"file://{loaded.shown['master']}"
    return loaded.into(
        AgentFlags,
        given=loaded.given,
        display=loaded.display(),
        values=dict(loaded.values),
        warnings=tuple(warnings),
        variables=files.variables,
        origins=loaded.origins,
        master_location=master or "",
    )


def agent_flag_values(argv: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the value of each flag, of an agent that need not be able to run. Raises FlagError."""
    files = _Files(environ)
    defaults = machine_defaults(environ)
    loaded = FLAGS.load(argv, environ, defaults=defaults, layers=files.layers)
    loaded.raise_error()
    return loaded.values


class _Files:
    """Reads the files that ``--config`` and ``--config_dir`` name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.variables: dict[str, str] = {}
        self.warnings: list[str] = []

    def layers(self, values: Mapping[str, Any]) -> list[list[Setting]]:
        """Return what stands there, the file first. Raises FlagError."""
        found: list[list[Setting]] = []
        if values["config"] is not None:
            found.append(read_toml(values["config"], FLAGS, GROUPS, _PLACES))
        if values["config_dir"] is not None:
            packaged = read_packaged(values["config_dir"], self._environ, FLAGS.names)
            self.variables = packaged.variables
            self.warnings += packaged.warnings
            found.append(packaged.settings)
        given = {name for pair in _EITHER_OR for name in pair if values[name] is not None}
        kept = []
        for layer in found:
            out = {other for pair in _EITHER_OR if given & set(pair) for other in pair}
            kept.append([setting for setting in layer if setting.name not in out])
            given |= {setting.name for setting in layer}
        return kept


def usage(environ: Mapping[str, str]) -> str:
    """Return the text of ``--help``."""
    remarks = _plugins()
    for name in WITHOUT_EFFECT:
        remarks[name] = "Not implemented yet."
    for name in OWN:
        remarks[name] = " ".join(filter(None, (remarks.get(name), "[mesos-compat]")))
    described = [
        dataclasses.replace(one, help=f"{one.help} {remarks[one.name]}")
        if one.name in remarks
        else one
        for one in FLAGS.flags.values()
    ]
    groups = {group.title: group.names for group in GROUPS.values()}
    flags = FlagSet(FLAGS.program, described, FLAGS.about)
    return flags.help(machine_defaults(environ), groups=groups)


def listen_options(flags: AgentFlags, environ: Mapping[str, str]) -> ListenOptions:
    """Say where to listen and what to advertise; runs ``--ip_discovery_command``.

    Raises FlagError for unusable addresses or a failing command.
    """
    ip = flags.ip
    if flags.ip_discovery_command is not None:
        if ip is not None:
            raise FlagError("Only one of `--ip` or `--ip_discovery_command` should be specified")
        ip = _discover(flags.ip_discovery_command)
    return ListenOptions.of(
        environ,
        ip=ip,
        port=flags.port,
        advertise_ip=flags.advertise_ip,
        advertise_port=flags.advertise_port,
    )


def machine_defaults(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the defaults that depend on the machine and the user."""
    temporary = environ.get("TMPDIR") or "/tmp"
    run = "/var/run"
    return {
        "work_dir": _work_dir(environ),
        "runtime_dir": (
            f"{run}/mesos"
            if os.access(run, os.R_OK | os.W_OK)
            else os.path.join(temporary, "mesos", "runtime")
        ),
        "launcher_dir": sysconfig.get_path("scripts"),
        "launcher": "linux" if os.geteuid() == 0 and _usable_cgroups() else "posix",
        "appc_store_dir": os.path.join(temporary, "mesos", "store", "appc"),
        "docker_store_dir": os.path.join(temporary, "mesos", "store", "docker"),
        "fetcher_cache_dir": os.path.join(temporary, "mesos", "fetch"),
    }


def _plugins() -> dict[str, str]:
    """Say which plug-ins are installed, by the flag that names them."""
    return {
        flag: f"Installed: {', '.join(names)}."
        for flag, group in _GROUPS.items()
        if (names := Group(group).names())
    }


def _refuse(loaded: LoadedFlags) -> None:
    values = loaded.values
    if values["master"] is None and values["master_detector"] is None:
        raise FlagError("Missing required option `--master` or `--master_detector`")
    if values["master"] is not None and values["master_detector"] is not None:
        raise FlagError("Only one of `--master` or `--master_detector` should be specified")
    if values["work_dir"] == "":
        raise FlagError("`--work_dir` must not be empty")


def _remarks(loaded: LoadedFlags) -> list[str]:
    """Say what was chosen and which flags have no effect."""
    remarks = []
    if "work_dir" not in loaded.given:
        remarks.append(f"No --work_dir given: using {loaded.values['work_dir']}")
    values = loaded.values
    if values["acls"] is not None and not (
        values["authenticate_http_readonly"] and values["authenticate_http_readwrite"]
    ):
        remarks.append(
            "--acls without --authenticate_http_readonly and --authenticate_http_readwrite: clients"
            " of a realm that does not authenticate have no name, only rules for ANY or NONE are"
            " about them"
        )
    for name in sorted(loaded.given & WITHOUT_EFFECT.keys()):
        if loaded.values[name] != WITHOUT_EFFECT[name]:
            remarks.append(f"Flag --{loaded.via[name]} is not implemented yet and has no effect")
    return remarks


def _work_dir(environ: Mapping[str, str]) -> str:
    """Choose a directory that survives reboots: the system's for root, else the user's."""
    if os.geteuid() == 0:
        return "/var/lib/mesos"
    state = environ.get("XDG_STATE_HOME", "")
    home = environ.get("HOME", "")
    if not state.startswith("/") and home.startswith("/"):
        state = os.path.join(home, ".local", "state")
    if not state.startswith("/"):
        return os.path.join(tempfile.gettempdir(), f"mesos-{os.geteuid()}")
    return os.path.join(state, "mesos")


def _usable_cgroups() -> bool:
    """Whether the freezer is mounted or, at its usual place, version 2."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            fields = [line.split() for line in file]
    except OSError:
        return False
    return any(
        (f[2] == "cgroup" and "freezer" in f[3].split(","))
        or (f[2] == "cgroup2" and f[1] == "/sys/fs/cgroup")
        for f in fields
        if len(f) > 3
    )


def _discover(command: str) -> str:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdout=subprocess.PIPE,
            timeout=_DISCOVERY_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FlagError(f"Failed to run --ip_discovery_command: {error}") from error
    return done.stdout.decode("utf-8", "replace").strip()
