# SPDX-License-Identifier: Apache-2.0
"""The commands with the real engine, as root, on images of one busybox."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from containerizer.linux import cgroup1, mountinfo
from containerizer.linux.cgroup1 import CgroupLayout
from integration.images import BUSYBOX, write_docker
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.root

IMAGE = ("--image", "busybox:latest")
FOREVER = "while :; do sleep 1; done"


class Commands:
    """Runs our program on an engine of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: Mapping[str, str] = {
            **os.environ,
            "MESOS_COMPAT_ENGINE": str(folder / "engine"),
            "MESOS_COMPAT_REGISTRY": str(folder / "registry"),
        }

    def command(self, *argv: str) -> list[str]:
        return [sys.executable, "-m", "mesos_compat.cli.main", *argv]

    def __call__(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*argv),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def rows(self) -> dict[str, dict[str, object]]:
        done = self("ps", "-a", "--json")
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)}

    def left(self) -> list[str]:
        """Return what there is of containers on the host."""
        run = self.folder / "engine" / "run"
        found = [name for name in os.listdir(run) if name != "lock"] if run.is_dir() else []
        found += [entry.target for entry in mountinfo.read_below(str(self.folder))]
        return found


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs busybox (Debian package busybox-static)")
    write_docker(str(tmp_path / "registry"), "busybox:latest")
    made = Commands(tmp_path)
    roots = _cgroups()
    yield made
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(tmp_path / "engine" / "run"):
            if name != "lock":
                made("rm", "-f", name)
    assert made.left() == []
    assert not [root for root in _cgroups() - roots if _ours(root, made)]


def _cgroups() -> set[str]:
    freezer = cgroup1.hierarchies().get("freezer", cgroup1.V2_MOUNT_POINT)
    return {name for name in os.listdir(freezer) if name.startswith("mesos-compat-")}


def _ours(root: str, made: Commands) -> bool:
    """Whether a cgroup was made meanwhile by us and not by another program of this kind."""
    return os.path.exists(made.folder / "engine" / "run" / root.removeprefix("mesos-compat-"))


def until(condition: Callable[[], object]) -> None:
    """Return once something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def outputs(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """Return what a command has printed."""
    return done.stdout, done.stderr


def until_text(stream: object, text: str) -> None:
    """Read lines until one is ``text``."""
    for line in stream:  # type: ignore[attr-defined]
        if line.strip() == text:
            return
    raise AssertionError(f"no {text}")


def test_output_input_and_exit_codes(commands: Commands) -> None:
    done = commands(
        *("run", "-i", *IMAGE, "-e", "A=b c", "-w", "/tmp", "--"),
        *("sh", "-c", "cat; echo $A; pwd; echo $$; echo err >&2; exit 7"),
        stdin="typed\n",
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "typed\nb c\n/tmp\n2\n", "err\n")
    assert commands.left() == []
    assert commands("run", *IMAGE, "--", "sh", "-c", "kill -TERM $$").returncode == 128 + 15
    done = commands("run", *IMAGE, "nosuch")
    assert done.returncode == 1
    assert done.stderr == "Failed to execute 'nosuch': No such file or directory\n"
    assert commands.rows() == {}


def test_what_cannot_be_started_leaves_nothing(commands: Commands) -> None:
    for argv, text in (
        (("--image", "nosuch", "true"), "Failed to find archive for image 'nosuch'"),
        ((*IMAGE, "-u", "no-such-user", "true"), "There is no user 'no-such-user' on this host"),
        ((*IMAGE, "--volume", "/nosuch/x:/y", "true"), "There is no '/nosuch/x' to be mounted"),
        (("--isolation", "nosuch", "true"), "Unknown or unsupported isolator 'nosuch'"),
        ((*IMAGE, "--isolation", "cgroups/cpu", "true"), "Unsupported container image type"),
        ((), "There is nothing to run"),
    ):
        done = commands("run", *argv)
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr.startswith("mesos-compat: ")
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert commands.left() == []


def test_volumes_and_limits(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("x")
    done = commands(
        *("run", *IMAGE, "--volume", f"{tmp_path}/given:/a/b:ro", "--memory", "64M"),
        *("--cpus", "0.5", "--", "sh", "-c", "cat /a/b; echo y > /a/b; cat $0"),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    )
    assert done.stdout == f"x{64 << 20}\n"
    assert "Read-only file system" in done.stderr


def test_too_much_memory_is_told(commands: Commands) -> None:
    done = commands("run", *IMAGE, "--memory", "32M", "--", "sh", "-c", "tail -c 200m /dev/zero")
    assert done.returncode == 128 + 9
    # version 2 does not tell how much was asked for, as upstream's does not
    asked = "" if cgroup1.layout() is CgroupLayout.V2 else "Requested: 32MB"
    assert f"Memory limit exceeded: {asked}" in done.stderr


def test_signals_are_for_the_container(commands: Commands) -> None:
    script = f"trap 'echo got; exit 5' TERM; echo up; {FOREVER}"
    run = commands.start("run", "--name", "web", *IMAGE, "--", "sh", "-c", script)
    assert run.stdout is not None
    until_text(run.stdout, "up")
    assert commands.rows()["web"]["state"] == "running"
    assert "goes to the command that runs it" in commands("logs", "web").stderr
    run.send_signal(signal.SIGTERM)
    stdout, _ = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, stdout) == (5, "got\n")
    assert commands.left() == []


def test_a_detached_container(commands: Commands) -> None:
    script = f"echo one; echo two; echo err >&2; export A=1; {FOREVER}"
    done = commands("run", "-d", "--name", "web", *IMAGE, "-e", "B=2", "--", "sh", "-c", script)
    assert done.returncode == 0
    made = done.stdout.strip()
    assert commands("run", "--name", "web", "true").stderr == (
        "mesos-compat: The name 'web' is taken; remove that container first: mesos-compat rm web\n"
    )
    until(lambda: outputs(commands("logs", "--tail", "1", "web")) == ("two\n", "err\n"))
    row = commands.rows()["web"]
    assert (row["id"], row["state"], row["image"]) == (made, "running", "busybox:latest")
    inspected = json.loads(commands("inspect", made[:6]).stdout)[0]
    assert (inspected["name"], inspected["attended"]) == ("web", False)
    top = json.loads(commands("top", "--once", "--json").stdout)[0]
    assert top["id"] == made
    assert top["processes"] >= 2
    assert commands("rm", "web").returncode == 125
    assert commands("kill", "-s", "TERM", "web").returncode == 0
    assert commands("logs", "-f", "--stdout", "web").stdout == "one\ntwo\n"
    assert commands.rows()["web"]["state"] == f"exited ({128 + 15})"
    assert commands("kill", "web").stderr.startswith("mesos-compat: Container 'web' is not running")
    assert commands("rm", "web").returncode == 0
    assert commands.left() == []


def test_kept_output_is_rotated_and_followed(commands: Commands) -> None:
    script = "while read x; do seq $x; done < /mnt/mesos/sandbox/pipe"
    limits = ("--log-size", "64K", "--log-files", "3")
    inner = f"mkfifo /mnt/mesos/sandbox/pipe; {script}"
    done = commands("run", "-d", "--name", "log", *limits, *IMAGE, "--", "sh", "-c", inner)
    assert done.returncode == 0, done.stderr
    sandbox = Path(json.loads(commands("inspect", "log").stdout)[0]["sandbox"])
    until((sandbox / "pipe").exists)
    with commands.start("logs", "-f", "log") as follower, open(sandbox / "pipe", "w") as pipe:
        assert follower.stdout is not None
        for count in (10, 20_000, 10, 30_000):
            print(count, file=pipe, flush=True)
            for number in range(count):
                assert follower.stdout.readline() == f"{number + 1}\n"
        pipe.close()
        assert follower.wait(PATIENCE_S) == 0
        assert follower.stdout.read() == ""
    names = {path.name for path in sandbox.iterdir()}
    assert names == {"pipe", "stderr", "stdout", "stdout.1", "stdout.2"}
    assert all(path.stat().st_size <= 64 << 10 for path in sandbox.iterdir())
    assert commands("logs", "--tail", "2", "log").stdout == "29999\n30000\n"
    assert commands("rm", "log").returncode == 0


def test_names_of_images(commands: Commands) -> None:
    for name in ("busybox", "library/busybox", "docker.io/library/busybox:latest"):
        assert commands("run", "--image", name, "--", "true").returncode == 0
    done = commands("run", "--image", "busybox:2", "--", "true")
    assert "Failed to find archive for image 'busybox:2'" in done.stderr
    assert done.returncode == 125


def test_commands_inside(commands: Commands) -> None:
    argv = (*IMAGE, "-e", "B=2", "-w", "/tmp", "--memory", "64M", "--", "sleep", "1000")
    assert commands("run", "-d", "--name", "web", *argv).returncode == 0
    script = "echo $B $C; pwd; ps | grep -c 'sleep 1000'; cat; cat /proc/self/cgroup; exit 6"
    done = commands("exec", "-i", "-e", "C=3", "web", "--", "sh", "-c", script, stdin="typed\n")
    lines = done.stdout.splitlines()
    made = str(commands.rows()["web"]["id"])
    assert done.returncode == 6
    assert lines[:2] == ["2 3", "/tmp"]
    assert lines[3] == "typed"
    if cgroup1.layout() is CgroupLayout.V2:
        # seen from the cgroup namespace of the container: a session has a cgroup beside its own
        assert re.fullmatch(r"0::/\.\./mesos/\w+/leaf", lines[4])
    else:
        (cgroup,) = [line for line in lines[4:] if ":memory:" in line]
        assert f":memory:/mesos-compat-{made}/{made}" in cgroup
    stays = commands.start("exec", "web", "--", "sh", "-c", f"echo up; {FOREVER}")
    assert stays.stdout is not None
    until_text(stays.stdout, "up")
    stays.terminate()
    stays.communicate(timeout=PATIENCE_S)
    assert stays.returncode == 128 + 15
    assert commands.rows()["web"]["state"] == "running"
    assert commands("rm", "-f", "web").returncode == 0
    assert commands("exec", "web", "true").stderr == "mesos-compat: There is no container 'web'\n"


def test_one_command_never_destroys_what_another_one_runs(commands: Commands) -> None:
    first = commands.start("run", "--name", "a", *IMAGE, "--", "sh", "-c", f"echo up; {FOREVER}")
    assert first.stdout is not None
    until_text(first.stdout, "up")
    assert commands("run", "-d", "--name", "b", *IMAGE, "--", "sleep", "1000").returncode == 0
    assert commands("run", *IMAGE, "true").returncode == 0
    rows = commands.rows()
    assert {name: row["state"] for name, row in rows.items()} == {"a": "running", "b": "running"}
    assert commands("rm", "-f", "b", "a").returncode == 0
    first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 128 + 9
    assert commands.left() == []


def test_a_container_survives_its_command(commands: Commands) -> None:
    run = commands.start("run", "--name", "web", *IMAGE, "--", "sh", "-c", f"echo up; {FOREVER}")
    assert run.stdout is not None
    until_text(run.stdout, "up")
    run.kill()
    # The container has the pipes, too.
    run.wait(timeout=PATIENCE_S)
    assert run.stderr is not None
    run.stdout.close()
    run.stderr.close()
    assert commands.rows()["web"]["state"] == "running"
    assert commands("exec", "web", "true").returncode == 0
    assert commands("kill", "web").returncode == 0
    # Nobody waits for it, so it is forgotten as soon as somebody looks.
    until(lambda: not commands.rows())
    assert commands.left() == []


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, commands: Commands, *argv: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, commands.command(*argv), dict(commands.environment))
        self.resize(30, 90)
        self._seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self._fd, text)

    def shows(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self._seen:
            assert time.monotonic() < deadline, self._seen
            if select.select([self._fd], [], [], 0.1)[0]:
                self._seen += os.read(self._fd, 4096)
        self._seen = self._seen.partition(text)[2]

    def exit_code(self) -> int:
        with contextlib.suppress(OSError):
            while os.read(self._fd, 4096):
                pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_terminal(commands: Commands) -> None:
    shell = Terminal(commands, "run", "-it", "--name", "web", *IMAGE, "--", "sh")
    shell.shows(b"# ")
    shell.type(b"stty size; echo do''ne\n")
    shell.shows(b"30 90\r\ndone")
    shell.resize(40, 120)
    # What is typed may overtake the new size.
    shell.type(b"until stty size | grep '^40 '; do sleep 0.05; done\n")
    shell.shows(b"40 120\r\n")
    # Neither echo nor sleep loses the signal, as a shell between the two might.
    shell.type(b"sh -c 'echo be\"\"gin; exec sleep 1000'\n")
    shell.shows(b"begin")
    shell.type(b"\x03")
    shell.shows(b"# ")
    inside = Terminal(commands, "exec", "-it", "web", "--", "sh")
    inside.shows(b"# ")
    inside.type(b"test -t 0 && echo ter''minal; exit 4\n")
    inside.shows(b"terminal")
    assert inside.exit_code() == 4
    shell.type(b"exit 3\n")
    assert shell.exit_code() == 3
    assert commands.left() == []


def test_a_terminal_needs_one(commands: Commands) -> None:
    done = commands("run", "-it", *IMAGE, "sh")
    assert (done.returncode, done.stderr) == (
        125,
        "mesos-compat: The input is no terminal: leave out -t\n",
    )
    assert commands("run", "-t", *IMAGE, "--", "sh", "-c", "test -t 1").returncode == 0
