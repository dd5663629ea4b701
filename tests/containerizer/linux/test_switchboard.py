# SPDX-License-Identifier: Apache-2.0
"""Attached containers on the real kernel: terminals, sessions, and what disturbs them."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from containerizer.create import create_containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.posix import PosixLauncher
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import proc
from containerizer.loggers.sandbox import SandboxLogger
from containerizer.rundir import RuntimeDirectory
from containerizer.switchboard import isolator, records
from containerizer.switchboard.client import AttachAnswer, attach_input, attach_output
from containerizer.switchboard.isolator import IOSwitchboard, SwitchboardConfig
from containerizer.switchboard.records import (
    Encoding,
    ProcessRecord,
    Stream,
    StreamData,
    WindowSize,
)
from mesos_compat.base.errors import ContainerError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

pytestmark = pytest.mark.root

C = ContainerId("c1")
JSON = Encoding.JSON


class Host:
    """A containerizer that nobody else uses; ``restart`` gives another one on the same folders."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        (folder / "work").mkdir(exist_ok=True)
        self._settings = settings
        self.restart()

    def restart(self) -> None:
        self.spawner = Spawner(SpawnerConfig(programs={}))
        self.launcher = PosixLauncher(self.spawner)
        self.mesos = create_containerizer(
            ContainerizerConfig(
                work_dir=str(self.folder / "work"),
                runtime_dir=str(self.folder / "run"),
                launcher="posix",
                **self._settings,  # type: ignore[arg-type]  # of any field
            ),
            self.launcher,
            None,
            Metrics(),
            helpers=self.spawner,
        )

    def never_impatient(self) -> None:
        """Let no server be ended because time has passed."""
        config = SwitchboardConfig(patience_s=1000, kill_after_s=1000)
        self.mesos._switchboard._config = config  # type: ignore[attr-defined] # of the engine

    def sandbox(self, container_id: ContainerId = C) -> Path:
        made = self.folder / "work" / container_id.value
        made.mkdir(exist_ok=True)
        return made

    def configured(
        self, command: str, *, tty: bool = False, container_id: ContainerId = C
    ) -> slave.ContainerConfig:
        made = slave.ContainerConfig(directory=str(self.sandbox(container_id)))
        made.command_info.value = command
        made.executor_info.executor_id.value = "e"
        if tty:
            made.container_info.type = pb.ContainerInfo.MESOS
            made.container_info.tty_info.SetInParent()
        return made

    async def session(self, command: str, name: str, *, tty: bool = False) -> ContainerId:
        """Start a session in the container C."""
        config = slave.ContainerConfig(container_class=slave.ContainerClass.DEBUG)
        config.command_info.value = command
        if tty:
            config.container_info.type = pb.ContainerInfo.MESOS
            config.container_info.tty_info.SetInParent()
        container_id = ContainerId(name, C)
        await self.mesos.launch(container_id, config, {})
        return container_id

    async def output(
        self, container_id: ContainerId, reader: Reader | None = None
    ) -> list[tuple[str, bytes]]:
        """Attach and return all output of each stream."""
        reader = reader or Reader()
        found = reader.found
        stream = await self.mesos.attach_output(container_id, JSON.value)
        reader.attached = True
        try:
            async for payload in stream:
                record = records.decode(payload, JSON)
                if isinstance(record, StreamData):
                    found[record.stream] = found.get(record.stream, b"") + record.data
        finally:
            await stream.aclose()
        return [(each.name, data) for each, data in sorted(found.items(), key=lambda i: i[0].value)]

    async def input(
        self,
        container_id: ContainerId,
        given: Sequence[ProcessRecord],
        hold: asyncio.Event | None = None,
    ) -> AttachAnswer:
        """Attach, type and, after ``hold``, end the request."""

        async def calls() -> AsyncIterator[bytes]:
            for record in given:
                yield records.encode_input(record, JSON)
            if hold is not None:
                await hold.wait()

        answer = await self.mesos.attach_input(container_id, JSON.value, calls())
        return AttachAnswer(answer.status, answer.text)


class Reader:
    """What an attached client has got so far."""

    def __init__(self) -> None:
        self.attached = False
        self.found: dict[Stream, bytes] = {}

    @property
    def text(self) -> bytes:
        return self.found.get(Stream.STDOUT, b"")


@pytest_asyncio.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    sockets = Path(f"/tmp/mesos-compat-test-{uuid.uuid4().hex[:8]}")
    monkeypatch.setattr(isolator, "_SOCKET_PREFIX", f"{sockets}-")
    made = Host(tmp_path)
    try:
        yield made
    finally:
        async with asyncio.timeout(60):
            await asyncio.gather(*(made.mesos.destroy(each) for each in made.mesos.containers()))
            await made.mesos.close()
    assert list(sockets.parent.glob(f"{sockets.name}-*")) == []


async def until(condition: Callable[[], object]) -> None:
    """Return once something holds that gives no event."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def typed(text: bytes) -> StreamData:
    return StreamData(Stream.STDIN, text)


async def test_a_terminal(host: Host) -> None:
    groups = "echo groups $(ps -o pgid=,tpgid= -p $$)"
    command = f"stty size; read x; stty size; tty; {groups}; echo got $x"
    await host.mesos.launch(C, host.configured(command, tty=True), {})
    async with Scope("test") as scope:
        waited = scope.spawn(host.mesos.wait(C), "wait")
        reader = Reader()
        output = scope.spawn(host.output(C, reader), "output")
        await until(lambda: reader.attached and (host.sandbox() / "stdout").read_bytes())
        # The end of the container ends the request.
        answer = await host.input(C, [WindowSize(33, 44), typed(b"hello\n")], asyncio.Event())
        assert answer == AttachAnswer(200, "")
        ((name, data),) = await output
        assert await waited == slave.ContainerTermination(status=0)
    lines = data.decode().split("\r\n")
    logged = (host.sandbox() / "stdout").read_bytes()
    assert name == "STDOUT"
    assert logged.startswith(b"0 0\r\n")
    assert "33 44" in lines
    assert "got hello" in lines
    assert any(line.startswith("/dev/pts/") for line in lines)
    (found,) = [line.split() for line in lines if line.startswith("groups ")]
    assert found[1] == found[2]


async def test_a_session_loses_no_output(host: Host) -> None:
    await host.mesos.launch(C, host.configured("sleep 100"), {})
    session = await host.session("echo hi; echo bye >&2; exit 3", "s")
    await asyncio.sleep(0.3)
    assert await host.output(session) == [("STDOUT", b"hi\n"), ("STDERR", b"bye\n")]
    assert await host.mesos.wait(session) == slave.ContainerTermination(status=768)


async def test_a_session_with_input(host: Host) -> None:
    await host.mesos.launch(C, host.configured("sleep 100"), {})
    session = await host.session("cat; echo end", "s")
    async with Scope("test") as scope:
        reader = Reader()
        output = scope.spawn(host.output(session, reader), "output")
        assert await host.input(session, []) == AttachAnswer(200, "")
        assert await host.input(session, [typed(b"one\n")]) == AttachAnswer(200, "")
        end = asyncio.Event()
        first = scope.spawn(host.input(session, [typed(b"two\n")], end), "input")
        await until(lambda: reader.text.endswith(b"two\n"))
        refused = await host.input(session, [typed(b"other\n")])
        assert refused == AttachAnswer(409, "Multiple input connections are not allowed")
        end.set()
        assert await first == AttachAnswer(200, "")
        assert await host.input(session, [typed(b"")]) == AttachAnswer(200, "")
        assert await output == [("STDOUT", b"one\ntwo\nend\n")]
    assert await host.mesos.wait(session) == slave.ContainerTermination(status=0)


async def test_a_server_that_is_killed_takes_its_container_along(host: Host) -> None:
    await host.mesos.launch(C, host.configured("echo ready; sleep 100", tty=True), {})
    await until((host.sandbox() / "stdout").read_bytes)
    pid = int((host.folder / "run/containers/c1/io_switchboard/pid").read_text())
    os.kill(pid, signal.SIGKILL)
    ended = await host.mesos.wait(C)
    assert ended is not None
    assert ended.reason == pb.TaskStatus.REASON_IO_SWITCHBOARD_EXITED
    assert ended.state == pb.TASK_FAILED
    assert ended.message == "'IOSwitchboard' terminated with signal Killed"
    assert ended.status in (signal.SIGKILL, signal.SIGHUP)


async def test_no_server_nothing_to_attach_to(host: Host) -> None:
    await host.mesos.launch(C, host.configured("sleep 100"), {})
    with pytest.raises(
        ContainerError, match=r"^I/O switchboard server was disabled for this container$"
    ):
        await host.mesos.attach_output(C, JSON.value)
    with pytest.raises(ContainerError, match=r"^Unknown container c2$"):
        await host.mesos.attach_output(ContainerId("c2"), JSON.value)
    assert not (host.folder / "run/containers/c1/io_switchboard").exists()


async def test_two_hundred_short_commands_with_terminals(host: Host) -> None:
    """The end of a terminal is no failure of its server, ever."""

    async def one(number: int) -> tuple[slave.ContainerTermination | None, bytes]:
        container_id = ContainerId(f"t{number}")
        command = f"echo {number}"
        config = host.configured(command, tty=True, container_id=container_id)
        await host.mesos.launch(container_id, config, {})
        ended = await host.mesos.wait(container_id)
        return ended, (host.sandbox(container_id) / "stdout").read_bytes()

    for first in range(0, 200, 10):
        done = await asyncio.gather(*(one(first + each) for each in range(10)))
        for number, (ended, output) in enumerate(done, first):
            assert ended in (None, slave.ContainerTermination(status=0))
            assert output == f"{number}\r\n".encode()
    assert not os.listdir(host.folder / "run/containers")


async def test_a_terminal_belongs_to_its_user(host: Host) -> None:
    config = host.configured("stat -c %U $(tty); echo x > /dev/stdout; sleep 0.3", tty=True)
    config.user = "nobody"
    os.chown(host.sandbox(), *_nobody())
    await host.mesos.launch(C, config, {})
    await host.mesos.wait(C)
    assert (host.sandbox() / "stdout").read_bytes() == b"nobody\r\nx\r\n"


async def test_a_session_can_open_its_streams_again(host: Host) -> None:
    config = host.configured("sleep 100")
    config.user = "nobody"
    os.chown(host.sandbox(), *_nobody())
    await host.mesos.launch(C, config, {})
    session = await host.session("id -un > /dev/stdout; echo e > /dev/stderr", "s")
    assert await host.output(session) == [("STDOUT", b"nobody\n"), ("STDERR", b"e\n")]


async def test_keys_reach_the_command_once(host: Host) -> None:
    script = "trap 'n=$((n+1)); echo int $n' INT; echo ready; while ! read x; do :; done; echo end"
    await host.mesos.launch(C, host.configured(script, tty=True), {})
    async with Scope("test") as scope:
        reader = Reader()
        output = scope.spawn(host.output(C, reader), "output")
        await until(lambda: reader.attached and (host.sandbox() / "stdout").read_bytes())
        await host.input(C, [typed(b"\x03")])
        await until(lambda: b"int 1" in reader.text)
        await host.input(C, [typed(b"x\n")])
        ((_, data),) = await output
    assert data.count(b"int 1") == 1
    assert b"int 2" not in data
    assert data.endswith(b"end\r\n")


async def test_a_container_survives_the_agent_and_can_be_attached_to_again(host: Host) -> None:
    await host.mesos.launch(C, host.configured("cat; echo end", tty=True), {})
    state = slave.ContainerState(
        container_id=C.message(),
        pid=int((host.folder / "run/containers/c1/pid").read_text()),
        directory=str(host.sandbox()),
    )
    await host.mesos.close()
    switchboard = IOSwitchboard(
        SwitchboardConfig(),
        SandboxLogger(),
        RuntimeDirectory(str(host.folder / "run")).path,
    )
    await switchboard.recover([state], [])
    address = await switchboard.address(C)
    async with Scope("test") as scope:
        watching = scope.spawn(switchboard.watch(C), "watch")
        stream = await attach_output(address, C, JSON)

        async def calls() -> AsyncIterator[bytes]:
            yield records.encode_input(typed(b"hi\n\x04"), JSON)

        assert await attach_input(address, C, calls(), JSON) == AttachAnswer(200, "")
        found = b""
        async for payload in stream:
            record = records.decode(payload, JSON)
            assert isinstance(record, StreamData)
            found += record.data
        await stream.aclose()
        assert found.replace(b"^D\x08\x08", b"") == b"hi\r\nhi\r\nend\r\n"
        await asyncio.sleep(0.1)
        assert not watching.done()
        await switchboard.cleanup(C)
    assert not os.path.exists(address)
    host.restart()
    await host.mesos.recover([])


async def test_the_next_agent_takes_over(host: Host) -> None:
    await host.mesos.launch(C, host.configured("cat", tty=True), {})
    folder = host.folder / "run/containers/c1"
    state = slave.ContainerState(
        container_id=C.message(),
        pid=int((folder / "pid").read_text()),
        directory=str(host.sandbox()),
    )
    state.executor_info.executor_id.value = "e"
    await host.mesos.close()
    host.restart()
    await host.mesos.recover([state])
    assert await host.input(C, [typed(b"hi\n")]) == AttachAnswer(200, "")
    stream = await host.mesos.attach_output(C, JSON.value)
    os.kill(int((folder / "io_switchboard/pid").read_text()), signal.SIGKILL)
    ended = await host.mesos.wait(C)
    assert ended is not None
    assert ended.reason == pb.TaskStatus.REASON_IO_SWITCHBOARD_EXITED
    with pytest.raises(ContainerError):
        async for _ in stream:
            pass
    await stream.aclose()


async def test_a_session_does_not_outlive_its_agent(host: Host) -> None:
    await host.mesos.launch(C, host.configured("sleep 100"), {})
    mark = host.folder / "written"
    await host.session(f"echo lost; touch {mark}; sleep 100", "s")
    await until(mark.exists)
    folder = host.folder / "run/containers/c1/containers/s/io_switchboard"
    address = (folder / "socket").read_text()
    pid = int((folder / "pid").read_text())
    await host.mesos.close()
    host.restart()
    host.never_impatient()
    await host.mesos.recover([])
    async with asyncio.timeout(60):
        await asyncio.gather(*(host.mesos.destroy(each) for each in host.mesos.containers()))
    assert not os.path.exists(address)
    assert not proc.runs_since(pid, time.time())
    sandbox = host.sandbox() / "containers" / "s"
    assert (sandbox / "stdout").read_bytes() == b"lost\n"


async def test_a_server_that_dies_while_there_is_no_agent(host: Host) -> None:
    await host.mesos.launch(C, host.configured("sleep 100", tty=True), {})
    folder = host.folder / "run/containers/c1"
    state = slave.ContainerState(
        container_id=C.message(), pid=int((folder / "pid").read_text()), directory=""
    )
    await host.mesos.close()
    os.kill(int((folder / "io_switchboard/pid").read_text()), signal.SIGKILL)
    paths = RuntimeDirectory(str(host.folder / "run")).path
    switchboard = IOSwitchboard(SwitchboardConfig(), SandboxLogger(), paths)
    await switchboard.recover([state], [])
    limitation = await switchboard.watch(C)
    assert limitation.reason == pb.TaskStatus.REASON_IO_SWITCHBOARD_EXITED
    with pytest.raises(ContainerError, match=r"^I/O switchboard has shutdown$"):
        await attach_output(await switchboard.address(C), C, JSON)
    await switchboard.cleanup(C)
    (folder / "io_switchboard/pid").write_text("nonsense")
    damaged = IOSwitchboard(SwitchboardConfig(), SandboxLogger(), paths)
    await damaged.recover([state], [])
    await damaged.cleanup(C)
    host.restart()
    await host.mesos.recover([])


async def test_nobody_is_waited_for_after_a_destroy(host: Host) -> None:
    """Whoever launched the session is gone, and so nobody is going to attach."""
    host.never_impatient()
    await host.mesos.launch(C, host.configured("sleep 600"), {})
    early = await host.session("echo unread; sleep 600", "early")
    await host.mesos.destroy(early)
    late = await host.session("echo unread", "late")
    async with asyncio.timeout(60):
        while (pid := host.launcher.pid(late)) and not proc.is_zombie_or_gone(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert late in host.mesos.containers()
    await host.mesos.destroy(late)
    await host.session("echo unread; sleep 600", "inner")
    await host.mesos.destroy(C)
    assert host.mesos.containers() == frozenset()


async def test_a_launch_that_fails_leaves_no_server(host: Host) -> None:
    config = host.configured("true", tty=True)
    config.command_info.value = ""
    config.command_info.shell = False
    config.command_info.ClearField("value")
    await host.mesos.launch(C, config, {})
    await host.mesos.wait(C)
    for number in range(5):
        config = host.configured("true", tty=True, container_id=ContainerId(f"f{number}"))
        async with Scope("launch") as scope:
            launch = scope.spawn(host.mesos.launch(ContainerId(f"f{number}"), config, {}), "launch")
            await asyncio.sleep(0.001 * number)
        assert launch.done()
        await host.mesos.destroy(ContainerId(f"f{number}"))


def _nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid
