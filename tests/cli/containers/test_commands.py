# SPDX-License-Identifier: Apache-2.0
"""From command lines to what is asked of containers, and back to what people read."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.local.measure import Sample
from containerizer.local.order import BindVolume, ContainerOrder, SessionOrder
from mesos_compat.agent.workdir import DirectoryLock, publish
from mesos_compat.cli import main as program
from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.target import Row, Usage
from tests.cli.containers.fakes import FakeTarget

WEB = Row("0123", "web", "busybox:latest", "sh -c 'a\x1b[0m'", "running", 77, 0.0)
OLD = Row("4567", "old", "", "true", "exited (3)", None)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTarget]:
    for name in ("MESOS_COMPAT_AGENT", "MESOS_COMPAT_ENGINE", "MESOS_COMPAT_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    made = FakeTarget([WEB, OLD])
    monkeypatch.setattr(common, "choose", lambda options: made)
    yield made
    assert made.closed or not made.asked


def run(*argv: str) -> int:
    return program.main(argv)


def test_run_with_everything(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    code = run(
        *("run", "--image", "busybox", "--registry=/r", "--name", "n", "-e", "A=b=c", "-e", "OURS"),
        *("--volume", "/s:/t:ro", "--volume", "s:/u", "-w", "/w", "-u", "nobody", "--cpus", "0.5"),
        *("--memory", "64M", "-i", "echo", "-n", "--", "hi"),
    )
    assert code == 7
    order = ContainerOrder(
        command=("echo", "-n", "--", "hi"),
        name="n",
        image="busybox",
        registry="/r",
        environment={"A": "b=c", "OURS": "1"},
        volumes=(BindVolume("/s", "/t", True), BindVolume(os.path.abspath("s"), "/u")),
        working_directory="/w",
        user="nobody",
        cpus=0.5,
        memory_bytes=64 << 20,
    )
    assert target.asked == [("run", order, True, False)]


def test_run_of_what_the_image_says(target: FakeTarget) -> None:
    assert run("run", "-d", "--rm", "--appc", "--image", "x") == 7
    order = ContainerOrder((), image="x", image_type="appc", detached=True, remove=True)
    assert target.asked == [("run", order, False, False)]


@pytest.mark.parametrize(
    "argv",
    [
        ["-d", "-it", "x"],
        ["--volume", "/a", "x"],
        ["--volume", "/a:b", "x"],
        ["--volume", "/a:/b:rx", "x"],
        ["--cpus", "0", "x"],
        ["--cpus", "nan", "x"],
        ["--memory", "-5", "x"],
        ["--memory", "much", "x"],
        ["-e", "=x", "x"],
        ["--nosuch", "x"],
    ],
)
def test_unusable_command_lines(target: FakeTarget, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("run", *argv)
    assert ended.value.code == 2
    assert target.asked == []


@pytest.mark.parametrize("command", ["run", "exec", "ps", "logs", "inspect", "kill", "rm", "top"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    assert ended.value.code == 0
    assert f"example:\n  mesos-compat {command} " in capsys.readouterr().out


def test_exec(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "vt100")
    assert run("exec", "-it", "web", "ps", "-a") == 8
    order = SessionOrder(("ps", "-a"), {"TERM": "vt100"})
    assert target.asked == [("execute", "web", order, True, True)]
    assert run("exec", "-w", "/", "-u", "root", "-eA=b", "web", "--", "ls") == 8
    order = SessionOrder(("ls",), {"A": "b"}, "root", "/")
    assert target.asked[1:] == [("execute", "web", order, False, False)]


def test_ps(target: FakeTarget, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ps") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "NAME", "IMAGE", "COMMAND", "STATE", "PID", "AGE"]
    assert len(lines) == 2
    assert lines[1].startswith("0123  web   busybox:latest  sh -c 'a\\x1b[0m'  running  77 ")
    assert run("ps", "-aq") == 0
    assert capsys.readouterr().out == "0123\n4567\n"
    assert run("ps", "-a", "--json") == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == [
        "running",
        "exited (3)",
    ]


def test_kill_and_rm(target: FakeTarget) -> None:
    assert run("kill", "a", "b") == 0
    assert run("kill", "-s", "sigterm", "a") == 0
    assert run("kill", "-s10", "a") == 0
    assert run("rm", "-f", "a") == 0
    assert target.asked == [
        ("kill", "a", signal.SIGKILL),
        ("kill", "b", signal.SIGKILL),
        ("kill", "a", signal.SIGTERM),
        ("kill", "a", signal.SIGUSR1),
        ("remove", "a", True),
    ]
    for text in ("NOSUCH", "0", "99999"):
        with pytest.raises(SystemExit):
            run("kill", "-s", text, "a")


def test_inspect(target: FakeTarget, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "a", "b") == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "a"}, {"name": "b"}]


def test_logs(target: FakeTarget, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    target.all_logs.content = {"stdout": b"1\n2\n3", "stderr": b"e\nf\n"}
    for argv, expected in (
        ([], (b"1\n2\n3", b"e\nf\n")),
        (["--tail", "1"], (b"3", b"f\n")),
        (["--tail", "2", "--stdout"], (b"2\n3", b"")),
        (["--tail", "0"], (b"", b"")),
        (["--tail", "9", "--stderr"], (b"", b"e\nf\n")),
    ):
        assert run("logs", *argv, "web") == 0
        assert tuple(capfdbinary.readouterr()) == expected


def test_logs_until_the_end(
    target: FakeTarget, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesos_compat.cli.containers.logs._POLL_S", 0)
    target.all_logs.content = {"stdout": b"1\n"}
    target.all_logs.growth = [{}, {"stdout": b"2\n"}, {"stderr": b"x"}]
    assert run("logs", "-f", "web") == 0
    assert tuple(capfdbinary.readouterr()) == (b"1\n2\n", b"x")


def test_top(
    target: FakeTarget, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesos_compat.cli.containers.top._ONCE_S", 0)
    idle = Row("9", "idle", "", "sleep", "running", 5)

    def looks(pressure: float | None = None) -> list[list[Usage]]:
        first = [Usage(WEB, 1.0, Sample(2.0)), Usage(idle, 1.0, Sample())]
        busy = Sample(3.0, 3 << 20, 64 << 20, 4, cpu_pressure=pressure)
        return [first, [Usage(idle, 3.0, Sample()), Usage(WEB, 3.0, busy)]]

    target.all_usages = looks()
    assert run("top", "--once") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["ID", "NAME", "CPU", "%", "MEMORY", "LIMIT", "PIDS", "COMMAND"]
    assert first.split()[:6] == ["0123", "web", "50.0", "3.0M", "64.0M", "4"]
    assert second.split()[:6] == ["9", "idle", "-", "-", "-", "-"]
    target.all_usages = looks(1.5)
    assert run("top", "--once") == 0
    header, first, _ = capsys.readouterr().out.splitlines()
    assert header.split()[7:10] == ["CPU-P", "MEM-P", "IO-P"]
    assert first.split()[6:9] == ["1.5", "-", "-"]
    target.all_usages = looks()
    assert run("top", "--once", "--json") == 0
    assert json.loads(capsys.readouterr().out)[1]["cpu_percent"] == 50.0


def test_failures_are_one_line(target: FakeTarget, capsys: pytest.CaptureFixture[str]) -> None:
    target.failure = "There is no container 'x'"
    assert run("inspect", "x") == 125
    assert capsys.readouterr().err == "mesos-compat: There is no container 'x'\n"


def test_whose_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MESOS_COMPAT_AGENT", "MESOS_COMPAT_ENGINE"):
        monkeypatch.delenv(name, raising=False)

    def chosen(*argv: str) -> str:
        options = common.parser("ps", "", "").parse_args(argv)
        return type(common.choose(options)).__name__

    directory = ("--agent-runtime-dir", str(tmp_path))
    assert chosen(*directory) == "LocalTarget"
    assert chosen("--agent", "a:1") == "AgentTarget"
    lock = DirectoryLock("runtime_dir", str(tmp_path))
    assert chosen(*directory) == "LocalTarget"
    publish(str(tmp_path), "127.0.0.1:5051")
    assert common.agent_address(str(tmp_path)) == "127.0.0.1:5051"
    assert chosen(*directory) == "AgentTarget"
    assert chosen("--local", "--agent", "a:1", *directory) == "LocalTarget"
    assert chosen("--engine", str(tmp_path / "e"), *directory) == "LocalTarget"
    lock.release()
    assert common.agent_address(str(tmp_path)) is None
