# SPDX-License-Identifier: Apache-2.0
"""mesos-execute against a master of the test's own."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mesos_compat.base import recordio
from mesos_compat.cli import execute
from mesos_compat.cli.execute_plan import FLAGS, ExecuteError, Package, plan
from mesos_compat.master.detected import DetectedMaster, DetectionError, parse_location
from mesos_compat.model import jsonpb
from mesos_compat.model.evolve import evolve
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.scheduler import scheduler_pb2 as api
from tests.certificates import Authority
from tests.libprocess.waiting import until

FRAMEWORK = "f4b41d3f-e4f7-4c99-8f67-4b401badbfa9-0000"
AGENT = "f4b41d3f-e4f7-4c99-8f67-4b401badbfa9-S0"
OFFER = "f4b41d3f-e4f7-4c99-8f67-4b401badbfa9-O0"
TASK = ("--name=test_mesos", "--docker_image=busybox:latest", "--containerizer=mesos")

#: SUBSCRIBE and ACCEPT of upstream's mesos-execute, recorded with a 1.12-dev master.
SUBSCRIBE_BYTES = bytes.fromhex(
    "10011a350a330a04726f6f7412166d65736f732d6578656375746520696e7374616e6365280032012a52"
    "020807520208025202080152020805"
)
ACCEPT_BYTES = bytes.fromhex(
    "0a2b0a2966346234316433662d653466372d346339392d386636372d3462343031626164626661392d3030"
    "3030100322d6010a290a2766346234316433662d653466372d346339392d386636372d3462343031626164"
    "626661392d4f3012a801080112a3010aa0010a0a746573745f6d65736f73120c0a0a746573745f6d65736f"
    "731a290a2766346234316433662d653466372d346339392d386636372d3462343031626164626661392d53"
    "3022130a046370757310001a0909000000000000f03f22120a036d656d10001a090900000000000060403a"
    "141a106563686f2068693b20736c656570203830014a1a08022a160a1408021a100a0e62757379626f783a"
    "6c6174657374"
)


class FakeMaster:
    """Answers calls from ``answers`` or 202, and streams events that the test puts."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[api.Call, bytes]] = asyncio.Queue()
        self.events: asyncio.Queue[api.Event | None] = asyncio.Queue()
        self.headers: list[dict[str, str]] = []
        self.answers: dict[int, list[web.Response]] = {}
        self.address = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        json = request.content_type == "application/json"
        call = jsonpb.parse_message(api.Call, body) if json else api.Call.FromString(body)
        self.headers.append(dict(request.headers))
        self.calls.put_nowait((call, body))
        answers = self.answers.get(call.type)
        if answers:
            return answers.pop(0)
        if call.type != api.Call.SUBSCRIBE:
            return web.Response(status=202)
        response = web.StreamResponse(headers={"Mesos-Stream-Id": "stream-1"})
        await response.prepare(request)
        while (event := await self.events.get()) is not None:
            record = jsonpb.print_message(event) if json else event.SerializeToString()
            await response.write(recordio.encode(record))
        return response

    async def call(self, kind: int) -> api.Call:
        async with asyncio.timeout(60):
            call, _ = await self.calls.get()
        assert call.type == kind, call
        return call

    def subscribed(self) -> None:
        event = api.Event(type=api.Event.SUBSCRIBED)
        event.subscribed.framework_id.value = FRAMEWORK
        self.events.put_nowait(event)

    def offer(self, resources: str, role: str = "*") -> None:
        event = api.Event(type=api.Event.OFFERS)
        offer = event.offers.offers.add(hostname="h")
        offer.id.value = OFFER
        offer.framework_id.value = FRAMEWORK
        offer.agent_id.value = AGENT
        for resource in Resources.parse(resources).allocated(role):
            offer.resources.append(evolve(resource, v1.Resource))
        self.events.put_nowait(event)

    def update(self, task: str, state: v1.TaskState, message: str | None = None) -> None:
        event = api.Event(type=api.Event.UPDATE)
        status = event.update.status
        status.task_id.value = task
        status.agent_id.value = AGENT
        status.state = state
        status.source = v1.TaskStatus.SOURCE_EXECUTOR
        status.uuid = os.urandom(16)
        if message is not None:
            status.message = message
        self.events.put_nowait(event)


@asynccontextmanager
async def fake_master(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeMaster]:
    made = FakeMaster()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.01)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.address = "{}:{}".format(*runner.addresses[0])
    yield made
    made.events.put_nowait(None)
    await runner.cleanup()


@pytest.fixture
async def master() -> AsyncIterator[FakeMaster]:
    async with fake_master() as made:
        yield made


Start = Callable[..., asyncio.Task[int]]


@pytest.fixture
async def start(master: FakeMaster) -> AsyncIterator[Start]:
    started: list[asyncio.Task[int]] = []

    def start_one(*arguments: str) -> asyncio.Task[int]:
        defaults = (
            []
            if any(a.startswith("--master") for a in arguments)
            else [f"--master={master.address}"]
        )
        loaded = FLAGS.load([*defaults, *arguments])
        loaded.raise_error()
        wanted = plan(loaded.values)
        started.append(asyncio.ensure_future(execute.execute(wanted)))
        return started[-1]

    yield start_one
    for one in started:
        one.cancel()
    await asyncio.gather(*started, return_exceptions=True)


async def finish(master: FakeMaster, task: str, *states: v1.TaskState) -> None:
    for state in states:
        master.update(task, state)
        acknowledge = await master.call(api.Call.ACKNOWLEDGE)
        assert acknowledge.acknowledge.task_id.value == task


async def test_the_tutorials_task(
    master: FakeMaster,
    start: Start,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    running = start(*TASK, "--command=echo hi; sleep 8")
    call, body = await master.calls.get()
    assert call.type == api.Call.SUBSCRIBE
    assert body == SUBSCRIBE_BYTES
    master.subscribed()
    master.offer("cpus:2;mem:1024;disk:10;ports:[1-2]")
    _, body = await master.calls.get()
    assert body == ACCEPT_BYTES
    await master.call(api.Call.SUPPRESS)
    await finish(master, "test_mesos", v1.TASK_STARTING, v1.TASK_RUNNING)
    master.update("test_mesos", v1.TASK_FINISHED, "Command exited with status 0")
    await master.call(api.Call.ACKNOWLEDGE)
    assert await running == 0
    assert master.headers[-1]["Mesos-Stream-Id"] == "stream-1"
    assert capsys.readouterr().out.splitlines() == [
        f"Subscribed with ID {FRAMEWORK}",
        f"Submitted task 'test_mesos' to agent '{AGENT}'",
        "Received status update TASK_STARTING for task 'test_mesos'",
        "  source: SOURCE_EXECUTOR",
        "Received status update TASK_RUNNING for task 'test_mesos'",
        "  source: SOURCE_EXECUTOR",
        "Received status update TASK_FINISHED for task 'test_mesos'",
        "  message: 'Command exited with status 0'",
        "  source: SOURCE_EXECUTOR",
    ]


async def test_json_and_a_failing_task_is_exit_0(master: FakeMaster, start: Start) -> None:
    running = start("--name=a", "--command=b", "--content_type=json", "--principal=p", "--secret=s")
    subscribe = await master.call(api.Call.SUBSCRIBE)
    assert subscribe.subscribe.framework_info.principal == "p"
    assert master.headers[0]["Content-Type"] == "application/json"
    assert master.headers[0]["Authorization"] == "Basic cDpz"
    master.subscribed()
    master.offer("cpus:2;mem:1024")
    await master.call(api.Call.ACCEPT)
    await master.call(api.Call.SUPPRESS)
    await finish(master, "a", v1.TASK_FAILED)
    assert await running == 0


async def test_a_group(
    master: FakeMaster, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    task = (
        '{"name":"%s","task_id":{"value":"%s"},"agent_id":{"value":""},'
        '"command":{"value":"true"},"resources":'
        '[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5}}]}'
    )
    group = f'{{"tasks":[{task % ("a", "a")},{task % ("b", "b")}]}}'
    running = start(f"--task_group={group}", "--networks=n1,,n2")
    await master.call(api.Call.SUBSCRIBE)
    master.subscribed()
    master.offer("cpus:0.9;mem:1024")
    await master.call(api.Call.DECLINE)
    master.offer("cpus:1;mem:1024")
    accept = (await master.call(api.Call.ACCEPT)).accept
    launch = accept.operations[0].launch_group
    assert accept.operations[0].type == v1.Offer.Operation.LAUNCH_GROUP
    assert launch.executor.executor_id.value == "default-executor"
    assert launch.executor.type == v1.ExecutorInfo.DEFAULT
    assert [n.name for n in launch.executor.container.network_infos] == ["n1", "n2"]
    assert [t.agent_id.value for t in launch.task_group.tasks] == [AGENT, AGENT]
    await master.call(api.Call.SUPPRESS)
    await finish(master, "a", v1.TASK_FINISHED)
    await finish(master, "b", v1.TASK_FINISHED)
    assert await running == 0
    assert f"Submitted task group with tasks [ a, b ] to agent '{AGENT}'\n" in (
        capsys.readouterr().out
    )


async def test_reservations_of_the_role_go_first(master: FakeMaster, start: Start) -> None:
    running = start("--name=a", "--command=b", "--role=web", "--resources=cpus:3")
    subscribe = await master.call(api.Call.SUBSCRIBE)
    assert subscribe.subscribe.framework_info.role == "web"
    master.subscribed()
    master.offer("cpus:2;cpus(web):2", role="web")
    accept = (await master.call(api.Call.ACCEPT)).accept
    resources = accept.operations[0].launch.task_infos[0].resources
    assert [(r.scalar.value, [s.role for s in r.reservations]) for r in resources] == [
        (2.0, ["web"]),
        (1.0, []),
    ]
    assert not any(r.HasField("allocation_info") for r in resources)
    running.cancel()


async def test_kill_after(
    master: FakeMaster, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    running = start("--name=a", "--command=b", "--kill_after=1ms")
    await master.call(api.Call.SUBSCRIBE)
    master.subscribed()
    master.offer("cpus:2;mem:1024")
    await master.call(api.Call.ACCEPT)
    await master.call(api.Call.SUPPRESS)
    await finish(master, "a", v1.TASK_RUNNING)
    kill = (await master.call(api.Call.KILL)).kill
    assert (kill.task_id.value, kill.agent_id.value) == ("a", AGENT)
    await finish(master, "a", v1.TASK_KILLED)
    assert await running == 0
    assert f"Asked to kill task 'a' on agent '{AGENT}'" in capsys.readouterr().out


async def test_no_offer_that_fits(master: FakeMaster, start: Start) -> None:
    running = start("--name=a", "--command=b", "--offer_timeout=100ms")
    await master.call(api.Call.SUBSCRIBE)
    master.subscribed()
    master.offer("cpus:0.5;mem:1024")
    assert (await master.call(api.Call.DECLINE)).decline.offer_ids[0].value == OFFER
    with pytest.raises(
        ExecuteError, match=r"No offer with cpus:1; mem:128 arrived within 100ms \(1 declined"
    ):
        await running


async def test_no_master(start: Start) -> None:
    running = start("--master=127.0.0.1:1", "--name=a", "--command=b", "--offer_timeout=50ms")
    with pytest.raises(ExecuteError, match="Failed to subscribe with the master within 50ms"):
        await running


async def test_the_leading_master_is_followed(master: FakeMaster, start: Start) -> None:
    location = f"//localhost:{master.address.rpartition(':')[2]}/master/api/v1/scheduler"
    master.answers[api.Call.SUBSCRIBE] = [web.Response(status=307, headers={"Location": location})]
    running = start("--name=a", "--command=b")
    await master.call(api.Call.SUBSCRIBE)
    await master.call(api.Call.SUBSCRIBE)
    assert master.headers[-1]["Host"].startswith("localhost:")
    running.cancel()


class Rumours:
    """Finds the masters that the test puts."""

    def __init__(self) -> None:
        self.masters: asyncio.Queue[str | DetectionError | None] = asyncio.Queue()

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        found = await self.masters.get()
        if isinstance(found, DetectionError):
            raise found
        return None if found is None else DetectedMaster(parse_location(found)[0], "h")


class TestDetection:
    @pytest.fixture
    def rumours(self, monkeypatch: pytest.MonkeyPatch) -> Rumours:
        """The detector of every run."""
        made = Rumours()
        monkeypatch.setattr(execute, "detect", lambda location, scope: made)
        monkeypatch.setattr(execute, "RETRY_S", 0.01)
        return made

    async def test_another_master_is_followed(
        self, master: FakeMaster, start: Start, rumours: Rumours
    ) -> None:
        running = start("--master=zk://h/m", "--name=a", "--command=b")
        async with fake_master() as other:
            rumours.masters.put_nowait(None)
            rumours.masters.put_nowait(other.address)
            await other.call(api.Call.SUBSCRIBE)
            other.subscribed()
            other.offer("cpus:2;mem:1024")
            await other.call(api.Call.ACCEPT)
            await other.call(api.Call.SUPPRESS)
            # nobody knows of a master: the subscription goes on
            rumours.masters.put_nowait(None)
            await finish(other, "a", v1.TASK_RUNNING)
            rumours.masters.put_nowait(master.address)
            again = await master.call(api.Call.SUBSCRIBE)
        assert again.framework_id.value == FRAMEWORK
        master.subscribed()
        master.offer("cpus:2;mem:1024")
        await master.call(api.Call.DECLINE)
        await finish(master, "a", v1.TASK_FINISHED)
        assert await running == 0

    async def test_a_named_master_that_fails(
        self, master: FakeMaster, start: Start, rumours: Rumours
    ) -> None:
        location = "//127.0.0.1:1/master/api/v1/scheduler"
        named = web.Response(status=307, headers={"Location": location})
        nobody = web.Response(status=307)
        master.answers[api.Call.SUBSCRIBE] = [named, nobody]
        rumours.masters.put_nowait(master.address)
        running = start("--master=zk://h/m", "--name=a", "--command=b")
        for _ in range(3):
            await master.call(api.Call.SUBSCRIBE)
        running.cancel()

    async def test_no_hope(self, start: Start, rumours: Rumours) -> None:
        running = start("--master=zk://h/m", "--name=a", "--command=b")
        rumours.masters.put_nowait(DetectionError("not allowed"))
        with pytest.raises(ExecuteError, match="Failed to detect a master: not allowed"):
            await running

    async def test_no_master_is_known(self, start: Start, rumours: Rumours) -> None:
        running = start("--master=zk://h/m", "--name=a", "--command=b", "--offer_timeout=50ms")
        with pytest.raises(ExecuteError, match="no master is known"):
            await running


async def test_a_master_with_tls(
    start: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    authority = Authority(tmp_path)
    made = authority.sign("master", "DNS:localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.cert, made.key)
    async with fake_master(context) as master:
        address = master.address.replace("127.0.0.1", "localhost")
        start(f"--master=https://{address}", "--name=a", "--command=b")
        await until(lambda: "unable to get local issuer certificate" in caplog.text)
        assert master.calls.empty()
        monkeypatch.setenv("LIBPROCESS_SSL_CA_FILE", authority.cert)
        start(f"--master=https://{address}", "--name=a", "--command=b")
        await master.call(api.Call.SUBSCRIBE)
        monkeypatch.setenv("LIBPROCESS_SSL_ENABLED", "1")
        start(f"--master={address}", "--name=a", "--command=b")
        await master.call(api.Call.SUBSCRIBE)


async def test_errors_end_it(master: FakeMaster, start: Start) -> None:
    running = start("--name=a", "--command=b")
    event = api.Event(type=api.Event.ERROR)
    event.error.message = "Framework has been removed"
    master.events.put_nowait(event)
    with pytest.raises(ExecuteError, match="Received an ERROR event: Framework has been removed"):
        await running


async def test_refusals_end_it(master: FakeMaster, start: Start) -> None:
    master.answers[api.Call.SUBSCRIBE] = [web.Response(status=403, text="not you")]
    running = start("--name=a", "--command=b")
    wanted = r"ERROR event: Received unexpected '403 Forbidden' \(not you\) for SUBSCRIBE"
    with pytest.raises(ExecuteError, match=wanted):
        await running


async def test_a_stream_that_ends_is_subscribed_again(
    master: FakeMaster, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "RETRY_S", 0.01)
    start("--name=a", "--command=b")
    await master.call(api.Call.SUBSCRIBE)
    master.subscribed()
    master.events.put_nowait(None)
    again = await master.call(api.Call.SUBSCRIBE)
    assert again.framework_id.value == FRAMEWORK
    assert again.subscribe.framework_info.id.value == FRAMEWORK


async def test_sigint_tears_down(master: FakeMaster, start: Start) -> None:
    running = start("--name=a", "--command=b")
    await master.call(api.Call.SUBSCRIBE)
    master.subscribed()
    master.offer("cpus:1;mem:1")
    await master.call(api.Call.DECLINE)
    os.kill(os.getpid(), signal.SIGINT)
    assert (await master.call(api.Call.TEARDOWN)).framework_id.value == FRAMEWORK
    assert await running == 130


def test_details_of_a_status() -> None:
    status = v1.TaskStatus(state=v1.TASK_FAILED, healthy=False, message="m")
    status.task_id.value = "t"
    status.source = v1.TaskStatus.SOURCE_AGENT
    status.reason = v1.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    status.check_status.type = v1.CheckInfo.COMMAND
    status.check_status.command.exit_code = 7
    limit = status.limitation.resources.add(name="mem", type=v1.Value.SCALAR)
    limit.scalar.value = 64
    assert execute.update_lines(status) == [
        "Received status update TASK_FAILED for task 't'",
        "  message: 'm'",
        "  source: SOURCE_AGENT",
        "  reason: REASON_CONTAINER_LIMITATION_MEMORY",
        "  healthy?: 0",
        "  check status: COMMAND exit code 7",
        '  resource limit violation: [{"name":"mem","type":"SCALAR","scalar":{"value":64.0}}]',
    ]


@pytest.mark.parametrize(
    ("kind", "field", "value", "text"),
    [
        (v1.CheckInfo.TCP, None, None, "TCP"),
        (v1.CheckInfo.TCP, "succeeded", True, "TCP connection success"),
        (v1.CheckInfo.TCP, "succeeded", False, "TCP connection failure"),
        (v1.CheckInfo.HTTP, "status_code", 404, "HTTP status code 404"),
        (v1.CheckInfo.COMMAND, None, None, "COMMAND"),
    ],
)
def test_check_results(
    kind: v1.CheckInfo.Type, field: str | None, value: object, text: str
) -> None:
    status = v1.TaskStatus(state=v1.TASK_RUNNING)
    status.task_id.value = "t"
    status.check_status.type = kind
    if field is not None:
        name = v1.CheckInfo.Type.Name(kind).lower()
        setattr(getattr(status.check_status, name), field, value)
    assert execute.update_lines(status)[1:] == [f"  check status: {text}"]


# Flags.


def planned(*arguments: str) -> v1.TaskInfo:
    loaded = FLAGS.load(["--master=h:1", *arguments])
    loaded.raise_error()
    (task,) = plan(loaded.values).tasks
    return task


def test_containers_of_flags(tmp_path: Path) -> None:
    assert not planned("--name=a", "--command=b").HasField("container")
    assert not planned("--name=a", "--command=b", "--containerizer=", "--tty").HasField("container")
    entry_point = planned("--name=a", "--no-shell", "--docker_image=x")
    assert jsonpb.to_value(entry_point.command) == {"shell": False}
    appc = planned("--name=a", "--command=b", "--appc_image=ubuntu").container.mesos.image
    assert jsonpb.to_value(appc) == {
        "type": "APPC",
        "appc": {
            "name": "ubuntu",
            "labels": {
                "labels": [{"key": "os", "value": "linux"}, {"key": "arch", "value": "amd64"}]
            },
        },
        "cached": True,
    }
    docker = planned(
        "--name=a", "--command=b", "--containerizer=docker", "--docker_image=x", "--networks=n"
    ).container
    assert docker.type == v1.ContainerInfo.DOCKER
    assert docker.docker.image == "x"
    assert docker.docker.network == v1.ContainerInfo.DockerInfo.USER
    volumes = tmp_path / "volumes"
    volumes.write_text('[{"container_path":"/c","host_path":"/h","mode":"RO"}]')
    full = planned(
        "--name=a",
        "--command=b",
        f"--volumes=file://{volumes}",
        "--networks=n,,n",
        "--tty",
        '--effective_capabilities={"capabilities":["CHOWN"]}',
        '--bounding_capabilities={"capabilities":["KILL"]}',
        '--rlimits={"rlimits":[{"type":"RLMT_CORE"}]}',
        '--env={"A":"b"}',
        "--package=dir/p.tgz",
    )
    assert full.container.type == v1.ContainerInfo.MESOS
    assert full.container.volumes[0].host_path == "/h"
    assert [n.name for n in full.container.network_infos] == ["n", "n"]
    assert full.container.HasField("tty_info")
    assert full.container.linux_info.effective_capabilities.capabilities == [
        v1.CapabilityInfo.CHOWN
    ]
    assert full.container.linux_info.bounding_capabilities.capabilities == [v1.CapabilityInfo.KILL]
    assert full.container.rlimit_info.rlimits[0].type == v1.RLimitInfo.RLimit.RLMT_CORE
    assert full.command.environment.variables[0].value == "b"
    assert full.command.uris[0].value.startswith("hdfs://localhost:9000/")
    assert full.command.uris[0].value.endswith("/dir/p.tgz")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--command=b"], "Missing required option --name"),
        (["--name=a"], "Missing required option --command"),
        (["--task={}"], "Failed to load flag 'task'"),
        (["--name=a", "--command=b", "--content_type=x"], "Invalid content type 'x'"),
        (
            ["--name=a", "--command=b", "--docker_image=a", "--appc_image=b"],
            "Flags '--docker-image' and '--appc-image' are both set",
        ),
        (
            ["--name=a", "--command=b", "--framework_capabilities=NOSUCH"],
            "specifies an unknown capability 'NOSUCH'",
        ),
        (
            ["--name=a", "--command=b", "--framework_capabilities=MULTI_ROLE"],
            "specifies an unsupported capability 'MULTI_ROLE'",
        ),
        (["--name=a", "--command=b", "--volumes=[1]"], "Failed to convert '--volumes' to protobuf"),
        (["--name=a", "--command=b", "--resources=x"], "Failed to parse resources 'x': "),
        (["--name=a", "--command=b", "--containerizer=rkt"], "Unsupported containerizer: rkt"),
        (
            ["--name=a", "--command=b", "--containerizer=docker"],
            "'Docker' containerizer requires docker image name",
        ),
        (
            [
                "--name=a",
                "--command=b",
                "--containerizer=docker",
                "--docker_image=x",
                "--networks=a,b",
            ],
            "'Docker' containerizer can only support a single network",
        ),
        (
            ["--name=a", "--command=b", "--containerizer=docker", "--docker_image=x", "--tty"],
            "'Docker' containerizer does not allow attaching a TTY",
        ),
        (["--name=a", "--command=b", "--env=[]"], "Failed to load flag 'env'"),
        (
            ["--task_group={}", "--name=a"],
            "'--name', '--command', '--env', '--appc_image', '--docker_image', '--volumes'",
        ),
        (["--nosuch=1"], "Failed to load unknown flag 'nosuch'"),
    ],
)
def test_bad_flags(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute.main(["--master=127.0.0.1:1", *arguments]) == 1
    captured = capsys.readouterr()
    assert why in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    "master", ["x", "host:", ":1", "h:0", "h:70000", "http://h:1/p", "https://", "zk://h", "local"]
)
def test_bad_masters(master: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute.main([f"--master={master}", "--name=a", "--command=b"]) == 1
    assert "EXIT with status 1: Failed to create a master detector: " in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute.main(["--help"]) == 0
    assert "--offer_timeout=DURATION" in capsys.readouterr().out
    assert execute.main([]) == 1
    assert "Flag 'master' is required, but it was not provided" in capsys.readouterr().err


def test_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hadoop = tmp_path / "hadoop"
    hadoop.write_text('#!/bin/sh\necho "$*" >> "$0.log"\n[ "$2" != -test ] || [ -e "$0.there" ]\n')
    hadoop.chmod(0o755)
    package = Package("p", "/u/p", str(hadoop), False)
    execute.upload(package)
    lines = (tmp_path / "hadoop.log").read_text().splitlines()
    assert lines == ["fs -test -e /u/p", "fs -copyFromLocal p /u/p"]
    (tmp_path / "hadoop.there").touch()
    with pytest.raises(ExecuteError, match="File already exists"):
        execute.upload(package)
    execute.upload(Package("p", "/u/p", str(hadoop), True))
    assert "fs -rm /u/p" in (tmp_path / "hadoop.log").read_text()
    with pytest.raises(ExecuteError, match="Failed to run"):
        execute.upload(Package("p", "/u/p", "/nosuch/hadoop", True))
