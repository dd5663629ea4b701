# SPDX-License-Identifier: Apache-2.0
"""Run the tests of this tree in a virtual machine that has cgroups version 2 only.

    python -m integration.qemu.run                      what needs such a host
    python -m integration.qemu.run -- -k memory FILE    these arguments of pytest
    python -m integration.qemu.run --program -- sh -c 'cat /sys/fs/cgroup/cgroup.controllers'

The guest is Debian's kernel under an emulated processor, so /dev/kvm is not needed. Its disks
are made below ~/.cache/mesos-compat/qemu, the first time in about two minutes. Exit status: that
of the guest's program; 125 if there was none.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from integration.qemu import project
from integration.qemu.base import (
    Base,
    UnusableHostError,
    base,
    cache_folder,
    check_host,
    make_image,
    say,
)
from tests import patience

#: What is worth running where cgroups have version 2.
TESTS = (
    "tests/containerizer/linux/test_cgroup2.py",
    "tests/containerizer/isolators/cgroups",
    "tests/containerizer/launcher",
    "tests/containerizer/linux/test_containers.py",
    "tests/cli/containers/test_engine.py::test_too_much_memory_is_told",
    "tests/cli/containers/test_engine.py::test_commands_inside",
    "integration/test_cgroups.py",
)
#: An emulated processor is slow: nothing is wrong with a test that takes longer.
PYTEST = (
    *("-v", "-rs", "--color=no", "-p", "no:cacheprovider", "-o", "timeout=1200"),
    "--basetemp=/tmp/pytest",
    # The parser of Python 3.11.2 fails over the sources of some tracebacks.
    *("--tb=native", "-p", "no:hypothesispytest"),
)
NO_GUEST = 125
_PROJECT_MB = 768
#: Seconds that tests wait there for what takes a moment here.
_PATIENCE_S = "300"
#: A program started with this ends when whoever started it does.
_WITH_US = ("setpriv", "--pdeathsig", "KILL")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the guest's program ended: ``None`` if it did not say."""

    exit: int | None
    console: str


def run(argv: Sequence[str], timeout_s: float, memory_mb: int = 2048) -> Outcome:
    """Run a program in the guest; its output is also shown. Raises UnusableHostError."""
    check_host()
    disk = base()
    with tempfile.TemporaryDirectory(prefix="project-", dir=cache_folder()) as folder:
        say("copying the project …")
        tree = os.path.join(folder, "opt")
        project.write(tree, argv, {patience.VARIABLE: _PATIENCE_S})
        image = os.path.join(folder, "project.img")
        make_image(tree, image, _PROJECT_MB)
        result = os.path.join(folder, "result")
        console = _boot(_command(disk, image, result, memory_mb), timeout_s)
        try:
            with open(result, encoding="ascii") as file:
                return Outcome(int(json.loads(file.read())["exit"]), console)
        except (OSError, ValueError, KeyError):
            return Outcome(None, console)


def _command(disk: Base, image: str, result: str, memory_mb: int) -> list[str]:
    kernel = ("console=ttyS0", "root=/dev/vda", "rw", "init=/sbin/mesos-compat-guest", "quiet")
    return [
        *_WITH_US,
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-m", str(memory_mb), "-smp", "2", "-nic", "none", "-no-reboot"),
        *("-display", "none", "-monitor", "none"),
        *("-serial", "stdio", "-serial", f"file:{result}"),
        *("-kernel", disk.kernel, "-initrd", disk.initrd),
        *("-append", " ".join((*kernel, "panic=-1", "systemd.unified_cgroup_hierarchy=1"))),
        *("-drive", f"file={disk.root},format=raw,if=virtio,snapshot=on"),
        *("-drive", f"file={image},format=raw,if=virtio,readonly=on"),
    ]


def _boot(command: Sequence[str], timeout_s: float) -> str:
    """Run the machine until it is switched off, at most so long; return what it wrote."""
    say("starting the guest …")
    started = time.monotonic()
    lines = []
    with subprocess.Popen(
        [*_WITH_US, "timeout", "--foreground", "--signal=KILL", str(timeout_s), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as machine:
        assert machine.stdout is not None
        try:
            for line in machine.stdout:
                lines.append(line.rstrip() + "\n")
                sys.stdout.write(lines[-1])
                sys.stdout.flush()
        finally:
            machine.kill()
    say(f"the guest ended after {time.monotonic() - started:.0f} s")
    return "".join(lines)


def pytest_command(arguments: Sequence[str]) -> list[str]:
    """Return the guest's command line for tests; without names these are all of ours."""
    named = [f"/opt/project/{a}" if os.path.exists(a) else a for a in arguments]
    if not any(argument.startswith("/opt/project/") for argument in named):
        named += [f"/opt/project/{name}" for name in TESTS]
    return ["/opt/venv/bin/python3", "-m", "pytest", "--rootdir=/opt/project", *PYTEST, *named]


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m integration.qemu.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--timeout", type=float, default=900, help="seconds for the guest")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes of the guest")
    parser.add_argument("--program", action="store_true", help="run any program, not pytest")
    parser.add_argument("arguments", nargs="*", help="of pytest, or the program with its own")
    given = parser.parse_args()
    argv = given.arguments if given.program else pytest_command(given.arguments)
    try:
        outcome = run(argv, given.timeout, given.memory)
    except UnusableHostError as error:
        print(error, file=sys.stderr)
        return NO_GUEST
    return NO_GUEST if outcome.exit is None else outcome.exit & 0xFF


if __name__ == "__main__":
    sys.exit(main())
