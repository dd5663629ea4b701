# SPDX-License-Identifier: Apache-2.0
"""What our launch helper is told, upstream's understands, and does the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.master import LATEST
from integration.processes import environment
from integration.scene import bin_folder
from mesos_compat.model.jsonpb import print_message
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.realmaster import cache
from tests.containerizer.launcher.host import launch_info

pytestmark = pytest.mark.root

OURS = [os.path.join(bin_folder(), "mesos-containerizer")]


@pytest.fixture(scope="module")
def upstreams() -> list[str]:
    """Return the command of upstream's helper."""
    prefetch = ("master", f"--version={LATEST}", "--prefetch")
    subprocess.run(
        [os.path.join(bin_folder(), "mesos-compat"), *prefetch], check=True, capture_output=True
    )
    library = max(Path(cache.cache_folder(os.environ)).glob(f"libmesos-{LATEST}-*.so"))
    return [sys.executable, "-m", "integration.cpp_helper", str(library)]


def launched(
    helper: list[str], info: slave.ContainerLaunchInfo, runtime_directory: Path | None
) -> tuple[int, str, str, str | None]:
    """Run a helper; return its exit status, what the command wrote, and the status file."""
    flags = [f"--launch_info={print_message(info).decode()}", "--unshare_namespace_mnt=false"]
    if runtime_directory is not None:
        runtime_directory.mkdir()
        flags.append(f"--runtime_directory={runtime_directory}")
    done = subprocess.run(
        [*helper, "launch", "--help=false", *flags],
        env=environment(),
        cwd=os.path.dirname(os.path.dirname(__file__)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    status = None if runtime_directory is None else (runtime_directory / "status").read_text()
    return done.returncode, done.stdout, done.stderr, status


# Capabilities are left out: upstream's aborts where the kernel has newer ones than it knows.
SHOW = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|SigIgn|SigBlk)' /proc/self/status; ulimit -n"
NICE = {"rlimits": [{"type": "RLMT_NOFILE", "soft": 100, "hard": 200}]}


@pytest.mark.parametrize("forked", [False, True], ids=["in place", "forked"])
@pytest.mark.parametrize(
    "info",
    [
        launch_info("echo out; echo err >&2; exit 5"),
        launch_info("kill -9 $$"),
        launch_info("/bin/cat", arguments=["any name", "/proc/self/cmdline"]),
        launch_info("env | sort", environment={"B": "2"}),
        launch_info("pwd; touch x", working_directory="FOLDER"),
        launch_info("tool", arguments=["tool"], working_directory="FOLDER"),
        launch_info(SHOW, user="daemon"),
        launch_info(SHOW, no_new_privileges=True, rlimits=NICE),
        launch_info("echo never", user="nobody-knows"),
        launch_info("id -G", user="daemon", supplementary_groups=[4711]),
        launch_info("echo main", pre_exec_commands=[{"value": "echo before"}]),
    ],
    ids=lambda info: info.command.value.split()[0],
)
def test_both_do_the_same(
    upstreams: list[str], tmp_path: Path, info: slave.ContainerLaunchInfo, forked: bool
) -> None:
    if info.HasField("working_directory"):
        info.working_directory = str(tmp_path)
    (tmp_path / "tool").write_text("#!/bin/sh\necho tool\n")
    (tmp_path / "tool").chmod(0o755)
    told = [
        launched(helper, info, tmp_path / name if forked else None)
        for name, helper in (("theirs", upstreams), ("ours", OURS))
    ]
    assert told[0] == told[1]


def test_a_missing_program_is_told_once(upstreams: list[str], tmp_path: Path) -> None:
    """Upstream's writes the status of a forked command that could not be executed twice; what its
    init exits with means nothing.
    """
    info = launch_info("/no/such", arguments=["x"])
    theirs, ours = (
        launched(helper, info, tmp_path / name)
        for name, helper in (("theirs", upstreams), ("ours", OURS))
    )
    assert (
        theirs[1:3]
        == ours[1:3]
        == ("", "Failed to execute '/no/such': No such file or directory\n")
    )
    assert (theirs[3], ours[3]) == ("256256", "256")
