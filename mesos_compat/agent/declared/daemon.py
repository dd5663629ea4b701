# SPDX-License-Identifier: Apache-2.0
"""The agent as a program: its configuration, log, directories and plug-ins.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesos_compat.base.flags import (
    BOOL,
    INT,
    JSON_OBJECT,
    NAMES,
    PATH,
    STRING,
    flag,
    optional,
)


def _logging_level(value: str) -> str | None:
    if value in ("INFO", "WARNING", "ERROR"):
        return None
    return (
        f"'{value}' is not a valid logging level. Possible values for 'logging_level' flag are: "
        "'INFO', 'WARNING', 'ERROR'."
    )


@dataclass(frozen=True, kw_only=True)
class DaemonFlags:
    """The agent as a program: its configuration, log, directories and plug-ins."""

    # --- program and configuration ---
    help: bool = flag(BOOL, "Print this text and exit.", default=False)
    version: bool = flag(BOOL, "Print the version and exit.", default=False)
    config: str | None = optional(PATH, "A file of TOML with flags (docs/operations.md).")
    config_dir: str | None = optional(
        PATH,
        "A directory with a file per flag, as the Mesos packages' /etc/mesos-slave, with what goes"
        " with it: /etc/default/mesos, /etc/default/mesos-slave, /etc/mesos/zk.",
    )

    # --- log ---
    quiet: bool = flag(BOOL, "Write no log to stderr.", default=False)
    logging_level: str = flag(
        STRING,
        "Least severity that is logged: INFO, WARNING or ERROR. GLOG_v=1 adds verbose lines.",
        default="INFO",
        check=_logging_level,
    )
    log_dir: str | None = optional(PATH, "Directory for log files; made if missing.")
    logbufsecs: int = flag(
        INT, "Seconds that lines may be buffered; they are written at once.", default=0
    )
    external_log_file: str | None = optional(
        PATH, "A log file written by something else, shown by the file browser as this agent's."
    )

    # --- directories ---
    work_dir: str = flag(
        PATH, "Root of sandboxes, meta data, volumes and container file systems.", default=""
    )
    runtime_dir: str = flag(
        PATH,
        "Root of state that must survive a restart of the agent but not of the machine.",
        default="",
    )
    launcher_dir: str = flag(PATH, "Directory of the programs that run in containers.", default="")
    sandbox_directory: str = flag(
        STRING,
        "Where containers with an own root file system see their sandbox.",
        default="/mnt/mesos/sandbox",
    )
    frameworks_home: str = flag(STRING, "Prefix of relative URIs.", default="")

    # --- plug-ins ---
    hooks: str | None = optional(NAMES, "Hook plug-ins, comma separated, in the order of calls.")
    modules: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Parameters of plug-ins, as a JSON object of libraries with their modules."
    )
    modules_dir: str | None = optional(PATH, "Directory of files with what --modules takes.")
    secret_resolver: str | None = optional(
        STRING, "Plug-in that resolves references to secrets; without it only values are known."
    )
