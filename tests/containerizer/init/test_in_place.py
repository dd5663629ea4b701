# SPDX-License-Identifier: Apache-2.0
"""Launches without init: in a forked child, and as the program of foreign agents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from containerizer.init import launch, mounts
from containerizer.init.spec import LaunchSpec
from containerizer.linux import mount, mountinfo, namespaces
from containerizer.linux.namespaces import CLONE_NEWNS
from tests.containerizer.launcher.host import image_mounts, is_static_busybox, make_image

_MAIN = "import sys; from containerizer.init.launch import main; sys.exit(main(sys.argv[1:]))"


def _in_child(tmp_path: Path, act: Callable[[], None]) -> tuple[int, str, str]:
    """Run ``act`` in a forked child with its output in files; exit code and output."""
    pid = os.fork()
    if pid == 0:
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT), number)
            act()
        finally:
            os._exit(99)
    _, wait_status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(wait_status)
    return code, (tmp_path / "out").read_text(), (tmp_path / "err").read_text()


def _spec(value: str, **fields: object) -> LaunchSpec:
    return LaunchSpec.of({"command": {"value": value}, **fields})


def test_exec_in_place(tmp_path: Path) -> None:
    spec = _spec("pwd; exit 3", working_directory=str(tmp_path), environment={})
    result = _in_child(tmp_path, lambda: launch.exec_in_place(spec, unshare_mounts=False))
    assert result == (3, f"{tmp_path}\n", "")


def test_exec_in_place_without_arguments(tmp_path: Path) -> None:
    spec = LaunchSpec.of({"command": {"value": sys.executable, "shell": False}})
    code, _, err = _in_child(tmp_path, lambda: launch.exec_in_place(spec, unshare_mounts=False))
    assert code == 0, err


def test_script_without_interpreter_line(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo script $1\n")
    script.chmod(0o755)
    spec = LaunchSpec.of(
        {"command": {"value": str(script), "shell": False, "arguments": ["s", "one"]}}
    )
    result = _in_child(tmp_path, lambda: launch.exec_in_place(spec, unshare_mounts=False))
    assert result == (0, "script one\n", "")


def test_exec_in_place_fails_with_one_line(tmp_path: Path) -> None:
    spec = LaunchSpec.of(
        {
            "command": {"value": "no-such-program", "shell": False, "arguments": ["x"]},
            "environment": {"variables": [{"name": "PATH", "value": str(tmp_path)}]},
        }
    )
    result = _in_child(tmp_path, lambda: launch.exec_in_place(spec, unshare_mounts=False))
    assert result == (1, "", "Failed to execute 'no-such-program': No such file or directory\n")


def test_file_that_may_not_be_executed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    spec = LaunchSpec.of(
        {
            "command": {"value": "plain", "shell": False, "arguments": ["x"]},
            "environment": {
                "variables": [{"name": "PATH", "value": f"{tmp_path}:/no/such/folder"}]
            },
        }
    )
    result = _in_child(tmp_path, lambda: launch.exec_in_place(spec, unshare_mounts=False))
    assert result == (1, "", "Failed to execute 'plain': Permission denied\n")


@pytest.mark.root
def test_task_of_a_command_executor_in_an_image(tmp_path: Path) -> None:
    """The executor's init makes the mounts; the task gets a namespace and enters the root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not is_static_busybox():
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    root = make_image(str(tmp_path.resolve() / "image"))
    outer = LaunchSpec.of(
        {
            "command": {"value": "true"},
            "clone_namespaces": [CLONE_NEWNS],
            "mounts": image_mounts(root),
        }
    )
    more = str(tmp_path / "more")
    os.mkdir(more)
    task = _spec(
        "ls /; id -u; ls /late && pwd",
        rootfs=root,
        user="daemon",
        working_directory="/work",
        clone_namespaces=[CLONE_NEWNS],
        mounts=[{"source": more, "target": f"{root}/late", "flags": mount.MS_BIND}],
        environment={},
    )

    def act() -> None:
        namespaces.unshare(CLONE_NEWNS)
        mounts.perform(outer)
        launch.exec_in_place(task, unshare_mounts=True)

    code, out, err = _in_child(tmp_path, act)
    assert code == 0, err
    assert out.split() == ["bin", "dev", "late", "proc", "tmp", "work", "1", "/work"]
    assert mountinfo.below(mountinfo.read(), root) == []


def _program(
    *arguments: str, environ: dict[str, str] | None = None, fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", _MAIN, *arguments],
        env=environ or {},
        pass_fds=fds,
        capture_output=True,
        text=True,
        check=False,
    )


def test_program_takes_flags_from_the_environment_and_writes_a_status(tmp_path: Path) -> None:
    variables = [{"name": "A", "value": "b"}]
    info = {"command": {"value": "echo $A; exit 6"}, "environment": {"variables": variables}}
    read, write = os.pipe()
    os.write(write, b"\0")
    done = _program(
        "launch",
        f"--runtime_directory={tmp_path}",
        environ={
            "MESOS_CONTAINERIZER_LAUNCH_INFO": json.dumps(info),
            "MESOS_CONTAINERIZER_PIPE_READ": str(read),
            "MESOS_CONTAINERIZER_PIPE_WRITE": str(write),
            "MESOS_CONTAINERIZER_UNSHARE_NAMESPACE_MNT": "false",
        },
        fds=(read, write),
    )
    os.close(read)
    os.close(write)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b\n", "")
    assert (tmp_path / "status").read_text() == str(6 << 8)


def test_program_without_release(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(write)
    null = os.open(os.devnull, os.O_WRONLY)
    done = _program(
        "launch",
        f"--runtime_directory={tmp_path}",
        f"--pipe_read={read}",
        f"--pipe_write={null}",
        '--launch_info={"command":{"value":"true"}}',
        fds=(read, null),
    )
    os.close(read)
    os.close(null)
    assert done.returncode == 1
    assert done.stderr == "Failed to synchronize with agent (it's probably exited)\n"
    assert (tmp_path / "status").read_text() == "256"


def test_program_in_place(tmp_path: Path) -> None:
    path = tmp_path / "info"
    path.write_text('{"command":{"value":"exit 8"}}')
    assert _program("launch", f"--launch_info=file://{path}").returncode == 8


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 1, "Usage: mesos-containerizer launch"),
        (("mount",), 1, "Usage: mesos-containerizer launch"),
        (("launch", "--help"), 0, "Usage: mesos-containerizer launch"),
        (("launch",), 1, "Flag --launch_info is not specified"),
        (("launch", "--launch_info={"), 1, "Failed to parse launch info"),
        (("launch", "--launch_info=file:///no/such"), 1, "Error reading file '/no/such'"),
        (("launch", "--launch_info={}"), 1, "Launch command is not specified"),
        (("launch", "--pipe_read=3"), 1, "--pipe_read and --pipe_write"),
        (("launch", "--pipe_read=x"), 1, "Failed to load flag 'pipe_read': not a number: 'x'"),
        (("launch", "--launch_info"), 1, "Failed to load non-boolean flag 'launch_info'"),
        (("launch", "--nope=1"), 1, "Failed to load unknown flag 'nope'"),
        (("launch", "--help=perhaps"), 1, "Failed to load flag 'help'"),
        (("launch", "--runtime_directory=/no/such"), 1, "Failed to open '/no/such/status'"),
    ],
)
def test_program_with_bad_flags(arguments: tuple[str, ...], code: int, text: str) -> None:
    done = _program(*arguments)
    assert done.returncode == code
    assert text in done.stderr
