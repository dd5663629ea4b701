# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat systemd-unit``: print a unit that runs this agent as a service.

Source: systemd.service(5), systemd.exec(5), systemd.resource-control(5).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence

#: Flags of the service if none are given.
DEFAULT_FLAGS = ("--config=/etc/mesos-compat/agent.toml",)

_USAGE = """\
usage: mesos-compat systemd-unit [flag of mesos-agent ...] > /etc/systemd/system/mesos-agent.service

Print a systemd unit that runs mesos-agent of this installation with these flags, or, without any,
with --config=/etc/mesos-compat/agent.toml.
"""

_UNIT = """\
[Unit]
Description=Mesos agent (mesos-compat)
Wants=network-online.target
After=network-online.target time-sync.target
# Try for ever: a host whose agent stays away loses its tasks.
StartLimitIntervalSec=0

[Service]
ExecStart={command}
# Ready when executors of an earlier process are back; systemctl status shows the master.
Type=notify
NotifyAccess=main
TimeoutStartSec=10min
# An agent whose loop stands still is replaced; its containers go on.
WatchdogSec=60
Restart=always
RestartSec=5
# Containers outlive the agent, whatever ends it.
KillMode=process
Delegate=yes
TimeoutStopSec=60
# If memory runs out the agent goes last. Containers do not inherit this.
OOMScoreAdjust=-500
TasksMax=infinity
# The agent takes the second, its containers start with the first.
LimitNOFILE=1024:1048576

[Install]
WantedBy=multi-user.target
"""


def unit(command: Sequence[str]) -> str:
    """Return the text of a unit that runs ``command``."""
    return _UNIT.format(command=" ".join(map(_quoted, command)))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the unit; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if any(each in ("--help", "-h") for each in arguments):
        print(_USAGE, end="")
        return 0
    wrong = [each for each in arguments if not each.startswith("--") or "\n" in each]
    if wrong:
        print(f"mesos-compat systemd-unit: '{wrong[0]}' is no flag\n\n{_USAGE}", file=sys.stderr)
        return 2
    program = os.path.join(sysconfig.get_path("scripts"), "mesos-agent")
    print(unit([program, *(arguments or DEFAULT_FLAGS)]), end="")
    return 0


def _quoted(argument: str) -> str:
    """Return ``argument`` so that systemd neither splits nor expands it."""
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    plain = text.replace("/", "").replace("_", "").replace("-", "").replace("=", "")
    plain = plain.replace(".", "").replace(":", "").replace(",", "")
    return text if plain.isalnum() and plain.isascii() else f'"{text}"'


if __name__ == "__main__":
    sys.exit(main())
