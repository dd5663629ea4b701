# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat doctor``: say what this host can do for an agent, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mesos_compat.agent.flags import agent_flag_values
from mesos_compat.base.errors import FlagError
from mesos_compat.base.tls import Tls
from mesos_compat.doctor.checks import Finding, Level, examine, failed
from mesos_compat.doctor.facts import gather

_USAGE = """\
usage: mesos-compat doctor [--json] [flag of mesos-agent ...]

Say what this host can do for an agent, line by line: ok, warn or missing, and what helps. With the
flags of an agent (--config=…, --isolation=…, --master=…; MESOS_* variables count, too) it also says
what that agent does not run without (missing!) and asks the master.

Exit status: 0 if such an agent would run, 1 if not, 2 for unusable flags. Without root some things
cannot be tried; these say so. Nothing is left behind on the host.
"""
#: Flags that name directories.
_DIRECTORIES = ("work_dir", "runtime_dir", "docker_store_dir")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if any(each in ("--help", "-h") for each in arguments):
        print(_USAGE, end="")
        return 0
    try:
        values = agent_flag_values([each for each in arguments if each != "--json"], os.environ)
        tls = Tls.of(os.environ)
    except FlagError as error:
        notes = getattr(error, "__notes__", [])
        print(error, *notes, f"\n{_USAGE}", sep="\n", end="", file=sys.stderr)
        return 2
    masters, zookeepers = _masters(values)
    facts = gather(
        {flag: values[flag] for flag in _DIRECTORIES},
        [each for each in (values["network_cni_plugins_dir"] or "").split(":") if each],
        masters,
        zookeepers,
        tls,
    )
    findings = examine(facts, values)
    if "--json" in arguments:
        print(json.dumps([_document(each) for each in findings], indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(_line, findings)))
        print(f"\n{_summary(findings)}")
    return 1 if failed(findings) else 0


def _masters(values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the addresses of masters and of ZooKeeper servers that ``--master`` names."""
    text = str(values["master"] or "").strip()
    if text.startswith("zk://"):
        servers = text[len("zk://") :].partition("/")[0].rpartition("@")[2]
        return [], [each for each in servers.split(",") if each]
    address = text.rpartition("@")[2]
    return ([address] if address else []), []


def _line(finding: Finding) -> str:
    mark = "missing!" if finding.level is Level.MISSING and finding.needed else finding.level.value
    action = f"  → {finding.action}" if finding.action and finding.level is not Level.OK else ""
    return f"{mark:<8}  {finding.subject:<28}  {finding.text}{action}"


def _summary(findings: Sequence[Finding]) -> str:
    count = {level: sum(each.level is level for each in findings) for level in Level}
    text = ", ".join(f"{number} {level.value}" for level, number in count.items())
    if failed(list(findings)):
        needed = [e.subject for e in findings if e.level is Level.MISSING and e.needed]
        return f"{text}: an agent with these flags does not run without {', '.join(needed)}"
    return f"{text}: an agent with these flags would run"


def _document(finding: Finding) -> dict[str, Any]:
    return {**dataclasses.asdict(finding), "level": finding.level.value}


if __name__ == "__main__":
    sys.exit(main())
