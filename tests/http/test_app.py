# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from multidict import CIMultiDict
from yarl import URL

from containerizer.provisioner.progress import LayerProgress, PullTable
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import ApiError, FlagError
from mesos_compat.base.log import Logging
from mesos_compat.http import introspection, monitor
from mesos_compat.http.body import MAX_JSON_BYTES
from mesos_compat.model import jsonpb
from mesos_compat.model.evolve import devolve
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from tests.http.fakes import GOLDEN, FakePort, golden, golden_state, small_state
from tests.http.serving import Client, serving


def golden_port() -> FakePort:
    port = FakePort(golden_state(), golden("get_flags.json")["flags"])
    shown = golden("v1_GET_CONTAINERS.json")["get_containers"]["containers"][0]
    container_id = ContainerId(shown["container_id"]["value"])
    port.containerizer.statuses[container_id] = devolve(
        jsonpb.from_value(v1.ContainerStatus, shown["container_status"]), pb.ContainerStatus
    )
    port.containerizer.usages[container_id] = devolve(
        jsonpb.from_value(v1.ResourceStatistics, shown["resource_statistics"]),
        pb.ResourceStatistics,
    )
    return port


async def get(client: Client, path: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    """Ask for a path as it stands and return status, headers and body."""
    async with client.session.get(
        URL(f"{client.make_url('/')}{path.removeprefix('/')}", encoded=True), **more
    ) as response:
        headers = {k: v for k, v in response.headers.items() if k != "Date"}
        return response.status, headers, await response.read()


def headers_of(name: str) -> dict[str, str]:
    lines = (GOLDEN / name).read_text().splitlines()[1:]
    pairs = (line.split(": ", 1) for line in lines if line)
    return {key: value for key, value in pairs if key != "Date"}


async def test_a_flood_of_requests_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesos_compat.http.app._ACCESSES", 3)
    caplog.set_level("INFO", logger="mesos_compat.http.app")
    async with serving(golden_port(), clock=FakeClock()) as client:
        for _ in range(10):
            assert (await get(client, "/flags"))[0] == 200
            assert (await get(client, "/health"))[0] == 200
    lines = [text for text in caplog.messages if text.startswith("HTTP GET for /slave(1)/flags")]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/flags", "get_flags.json"),
        ("/slave(1)/flags", "get_flags.json"),
        ("/containers", "get_containers.json"),
    ],
)
async def test_documents_equal_the_golden_ones(path: str, document: str) -> None:
    async with serving(golden_port()) as client:
        status, headers, body = await get(client, path, headers={"Accept-Encoding": "identity"})
    assert (status, headers["Content-Type"]) == (200, "application/json")
    expected = (GOLDEN / document).read_bytes().rstrip(b"\n")
    if path == "/containers":  # recorded at another moment
        expected = expected.replace(b"1795418771.69607}", b"1795418771.991042}")
    assert body == expected


async def test_statistics_have_the_golden_shape() -> None:
    async with serving(golden_port()) as client:
        _, _, body = await get(client, "/monitor/statistics")
    expected = golden("get_monitor_statistics.json")
    found = json.loads(body)
    found[0]["statistics"].pop("timestamp")
    expected[0]["statistics"].pop("timestamp")
    assert found == expected


async def test_headers_are_the_golden_ones() -> None:
    async with serving(golden_port()) as client:
        _, headers, body = await get(client, "/health")
        assert (headers, body) == (headers_of("health.hdr"), b"")
        _, headers, _ = await get(client, "/state", headers={"Accept-Encoding": ""})
        expected = headers_of("state.hdr")
        assert set(headers) == set(expected)
        assert headers["Content-Type"] == expected["Content-Type"]


@pytest.mark.parametrize(
    "path",
    [
        "/state",
        "/slave(1)/state",
        "/slave%281%29/state",
        "/slave%281)/state/",
        "/state/",
        "/state/x/y",
        "//state",
        "/slave(1)//state",
        "/state.json",
        "/slave(1)/state.json",
    ],
)
async def test_ways_to_the_state(path: str) -> None:
    async with serving(FakePort(small_state())) as client:
        status, _, body = await get(client, path)
    assert status == 200
    assert json.loads(body)["id"] == "S0"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/slave(1)",
        "/slave(1)/%73tate",
        "/slave(0)/state",
        "/slave/state",
        "/stats.json",
        "/slave(1)/stats.json",
        "/metrics",
        "/metrics/nope",
        "/files",
        "/monitor",
        "/version/x",
        "/__processes__/x",
        "/slave(1)/../state",
        "/..",
        "/state/..x",
        "/%zz/state",
        "/memory-profiler/state",
        "/help/nope",
    ],
)
async def test_unknown_paths(path: str) -> None:
    async with serving(FakePort(small_state())) as client:
        status, headers, body = await get(client, path)
    assert (status, body) == (404, b"404 Not Found.")
    assert headers == {"Content-Type": "text/plain; charset=utf-8", "Content-Length": "14"}


async def test_the_method_does_not_matter() -> None:
    async with serving(FakePort(small_state(), {"a": "b"})) as client:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            async with client.session.request(method, client.make_url("/flags")) as response:
                assert await response.read() == b'{"flags":{"a":"b"}}'
        async with client.session.head(client.make_url("/flags")) as response:
            assert response.status == 200
            assert await response.read() == b""


async def test_bytes_of_a_reply() -> None:
    async with serving(FakePort(small_state())) as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    lines = answer.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert sorted(line.split(b":")[0] for line in lines[1:-2]) == [b"Content-Length", b"Date"]


@pytest.mark.parametrize(
    "request_line",
    [b"GET http://h HTTP/1.1", b"OPTIONS * HTTP/1.1"],
)
async def test_targets_without_path(request_line: bytes) -> None:
    async with serving(FakePort(small_state())) as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert answer.endswith(b"Request URL path must start with '/'")


async def test_absolute_targets() -> None:
    async with serving(FakePort(small_state())) as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET http://h:1/health?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_jsonp() -> None:
    async with serving(FakePort(small_state(), {"a": "b"})) as client:
        _, headers, body = await get(client, "/flags?jsonp=angular.callbacks._0&_=1")
        assert body == b'angular.callbacks._0({"flags":{"a":"b"}})'
        assert headers["Content-Type"] == "text/javascript"
        _, _, body = await get(client, "/flags?jsonp=")
        assert body == b'({"flags":{"a":"b"}})'
        status, headers, _ = await get(client, "/flags?jsonp=alert(1)%2F%2F")
        assert (status, headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
        status, _, _ = await get(client, "/state?jsonp=cb%zz")
        assert status == 400


async def test_gzip() -> None:
    async with serving(golden_port()) as client:
        _, headers, body = await get(client, "/state", headers={"Accept-Encoding": "gzip"})
        assert headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(body).startswith(b'{"version"')
        for refused in ("gzip;q=0", "", "identity", "*;q=0", "gzip;q=0,*"):
            _, headers, body = await get(client, "/state", headers={"Accept-Encoding": refused})
            assert "Content-Encoding" not in headers
        for admitted in ("*", "deflate, gzip;q=0.1", "gzip;q=x", "*;q=0, gzip"):
            _, headers, _ = await get(client, "/state", headers={"Accept-Encoding": admitted})
            assert headers["Content-Encoding"] == "gzip"
        _, headers, _ = await get(client, "/version", headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in headers


async def test_while_recovering() -> None:
    state = small_state()
    state.phase = AgentPhase.RECOVERING
    async with serving(FakePort(state)) as client:
        for path in ("/state", "/api/v1", "/api/v1/executor"):
            status, _, body = await get(client, path)
            assert (status, body) == (503, b"Agent has not finished recovery")
        assert (await get(client, "/health"))[0] == 200


async def test_version_has_the_golden_keys() -> None:
    async with serving(FakePort(small_state())) as client:
        _, _, body = await get(client, "/version")
    found, expected = json.loads(body), golden("get_version.json")
    assert list(found) == list(expected)
    assert [type(value) for value in found.values()] == [type(v) for v in expected.values()]
    assert found["version"] == "1.12.0"


async def test_container_filters() -> None:
    async with serving(golden_port()) as client:
        status, _, body = await get(client, "/containers?executor_id=x")
        assert (status, body.decode()) == (
            400,
            "Supported query parameters are container_id only, framework_id only, "
            "or executor_id and framework_id only",
        )
        assert (await get(client, "/containers?container_id=x"))[2] == b"[]"
        framework = golden("get_containers.json")[0]["framework_id"]
        _, _, body = await get(
            client, f"/containers?framework_id={framework}&executor_id=test_mesos"
        )
        assert len(json.loads(body)) == 1


async def test_a_container_that_cannot_be_asked_is_still_listed() -> None:
    async with serving(FakePort(small_state())) as client:
        _, _, body = await get(client, "/containers")
        assert json.loads(body) == [
            {
                "container_id": "c",
                "executor_id": "E",
                "executor_name": "",
                "framework_id": "F",
                "source": "",
            }
        ]
        assert (await get(client, "/monitor/statistics"))[2] == b"[]"


async def test_containerizer_debug_shows_pulls_of_images() -> None:
    table = PullTable()
    async with serving(FakePort(small_state()), pulls=table.documents) as client:
        with table.pull("busybox") as progress:
            progress.layers.append(LayerProgress("sha256:1", 5))
            value = json.loads((await get(client, "/containerizer/debug"))[2])
        (pull,) = value["image_pulls"]
        assert pull["image"] == "busybox"
        assert pull["layers"] == [
            {"digest": "sha256:1", "received_bytes": 0, "size_bytes": 5, "state": "waiting"}
        ]
        assert (await get(client, "/containerizer/debug"))[2] == b'{"pending":[]}'


async def test_containerizer_debug_and_processes() -> None:
    port = FakePort(small_state())
    async with serving(port) as client:
        assert (await get(client, "/containerizer/debug"))[2] == b'{"pending":[]}'
        port.containerizer.operations.append(("network/cni::prepare", ContainerId("c")))
        assert json.loads((await get(client, "/containerizer/debug"))[2]) == {
            "pending": [{"args": {"containerId": "c"}, "operation": "network/cni::prepare"}]
        }
        _, _, body = await get(client, "/__processes__")
        assert {"events": [], "id": "slave(1)"} in json.loads(body)
        _, headers, body = await get(client, "/help", headers={"User-Agent": "curl/8"})
        assert headers["Content-Type"] == "text/x-markdown"
        _, headers, body = await get(client, "/help/metrics?format=json")
        assert json.loads(body)["processes"][0]["endpoints"] == [{"name": "/snapshot", "text": ""}]
        status, _, body = await get(client, "/help/metrics/nope")
        assert (status, body) == (400, b"No help available for '/metrics/nope'.\n")
        assert (await get(client, "/profiler/start"))[0] == 400


async def test_metrics() -> None:
    port = FakePort(small_state())
    port.metrics.counter("slave/b").increment(3)
    port.metrics.gauge("slave/a", lambda: 0.5)
    port.metrics.gauge("slave/gone", lambda: None)
    async with serving(port) as client:
        body = (await get(client, "/metrics/snapshot"))[2]
        assert body.startswith(b'{"slave/a":0.5,"slave/b":3.0,"system/cpus_total":')
        system = {name for name in json.loads(body) if name.startswith("system/")}
        golden_names = golden("get_metrics_snapshot.json")
        assert system == {name for name in golden_names if name.startswith("system/")}
        status, _, body = await get(client, "/metrics/snapshot?timeout=100ms&jsonp=f")
        assert (status, body[:16], body[-1:]) == (200, b'f({"slave/a":0.5', b")")
        for value, why in (
            ("5", "Invalid duration '5'"),
            (
                "5x",
                "Unknown duration unit 'x'; supported units are "
                "'ns', 'us', 'ms', 'secs', 'mins', 'hrs', 'days', and 'weeks'",
            ),
        ):
            status, _, body = await get(client, f"/metrics/snapshot?timeout={value}")
            assert (status, body.decode()) == (400, f"Invalid timeout '{value}': {why}.\n")


@pytest.mark.parametrize(
    ("text", "interval_s"), [(None, 0.5), ("", 0.0), ("10/1secs", 0.1), ("1/2mins", 120.0)]
)
def test_pace_of_metrics(text: str | None, interval_s: float) -> None:
    environ = {} if text is None else {introspection.RATE_LIMIT_VARIABLE: text}
    assert introspection.metrics_interval_s(environ) == interval_s


@pytest.mark.parametrize("text", ["x", "1", "1/", "0/1secs", "-1/1secs", "nan/1secs", "1/5"])
def test_bad_pace_of_metrics(text: str) -> None:
    with pytest.raises(FlagError):
        introspection.metrics_interval_s({introspection.RATE_LIMIT_VARIABLE: text})


async def test_requests_wait_for_their_turn() -> None:
    clock = FakeClock()
    pace = monitor.Pace(0.5, clock)
    done: list[int] = []

    async def ask(number: int) -> None:
        await pace.turn()
        done.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(ask(number))
        for expected in ([0], [0, 1], [0, 1, 2]):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert done == expected
            clock.advance(0.5)


async def test_too_many_waiting_requests_are_refused() -> None:
    pace = monitor.Pace(0.5, FakeClock())
    pace._next = 0.5 * monitor.MAX_WAITING + 1
    with pytest.raises(ApiError) as caught:
        await pace.turn()
    assert caught.value.status == 503


async def test_logging_toggle() -> None:
    logs, clock = Logging("INFO", 0, {}), FakeClock()
    async with serving(FakePort(small_state()), logs=logs, clock=clock) as client:
        assert (await get(client, "/logging/toggle"))[2] == b"0\n"
        for query, text in (
            ("level=1", "Expecting 'duration=value' in query.\n"),
            ("duration=1secs", "Expecting 'level=value' in query.\n"),
            ("level=x&duration=1secs", "Failed to convert 'x' to number.\n"),
            ("level=-1&duration=1secs", "Invalid level '-1'.\n"),
            ("level=1&duration=1", "Invalid duration '1'.\n"),
        ):
            status, _, body = await get(client, f"/logging/toggle?{query}")
            assert (status, body.decode()) == (400, text)
        try:
            status, _, body = await get(client, "/logging/toggle?level=2&duration=10secs")
            assert (status, body) == (200, b"")
            assert (await get(client, "/logging/toggle"))[2] == b"2\n"
        finally:
            clock.advance(10)
        assert (await get(client, "/logging/toggle"))[2] == b"0\n"
        logs.initial_verbosity = 1
        status, _, body = await get(client, "/logging/toggle?level=0&duration=1secs")
        assert (status, body) == (400, b"'0' < original level.\n")


async def test_system_stats() -> None:
    async with serving(FakePort(small_state())) as client:
        _, _, body = await get(client, "/system/stats.json")
    found = json.loads(body)
    assert list(found) == [
        "avg_load_15min",
        "avg_load_1min",
        "avg_load_5min",
        "cpus_total",
        "mem_free_bytes",
        "mem_total_bytes",
    ]
    assert 0 < found["mem_free_bytes"] < found["mem_total_bytes"]
    assert isinstance(found["cpus_total"], int)


# Files.


@pytest.fixture
def sandbox(tmp_path: Path) -> FakePort:
    (tmp_path / "bin").write_bytes(b'a\x00b\xff"/\\\n\t\xc3\xa9')
    (tmp_path / "d").mkdir()
    (tmp_path / "x.html").write_text("<b>\n")
    os.symlink("/etc/passwd", tmp_path / "pw")
    port = FakePort(small_state())
    port.files["/frameworks/F/executors/E/runs/latest"] = str(tmp_path)
    return port


LATEST = "/frameworks/F/executors/E/runs/latest"


async def test_files_over_http(sandbox: FakePort) -> None:
    async with serving(sandbox) as client:
        status, headers, body = await get(client, f"/files/browse?path={LATEST}/d&jsonp=cb")
        assert (status, headers["Content-Type"], body) == (200, "text/javascript", b"cb([])")
        for path in ("/files/browse", "/files/read", "/files/download", "/files/browse?path="):
            status, _, body = await get(client, path)
            assert (status, body) == (400, b"Expecting 'path=value' in query.\n")
        status, headers, body = await get(client, "/files/browse?path=/nope&jsonp=cb")
        assert (status, body) == (404, b"")
        assert headers == {"Content-Type": "text/plain; charset=utf-8", "Content-Length": "0"}
        assert (await get(client, "/files/download?path=/nope"))[2] == b"404 Not Found."
        status, _, body = await get(client, f"/files/read?path={LATEST}/pw&offset=0")
        assert (status, body.endswith(b"/pw' is inaccessible.\n")) == (400, True)
        _, _, body = await get(client, "/files/debug")
        assert json.loads(body) == sandbox.files


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("", b'{"data":"","offset":11}'),
        ("&offset=-1&length=5", b'{"data":"","offset":11}'),
        ("&offset=0", b'{"data":"a\\u0000b\xff\\"/\\\\\\n\\t\xc3\xa9","offset":0}'),
        ("&offset=2&length=3", b'{"data":"b\xff\\"","offset":2}'),
        ("&offset=0&offset=100", b'{"data":"","offset":100}'),
        ("&offset=2&length=1&jsonp=cb", b'cb({"data":"b","offset":2})'),
    ],
)
async def test_reading(sandbox: FakePort, query: str, data: bytes) -> None:
    async with serving(sandbox) as client:
        status, _, body = await get(client, f"/files/read?path={LATEST}/bin{query}")
    assert (status, body) == (200, data)


async def test_downloading(sandbox: FakePort) -> None:
    async with serving(sandbox) as client:
        _, headers, body = await get(client, f"/files/download?path={LATEST}/x.html")
        assert body == b"<b>\n"
        assert headers == {
            "Content-Length": "4",
            "Content-Disposition": "attachment; filename=x.html",
            "Content-Type": "text/html",
        }
        status, _, body = await get(client, f"/files/download?path={LATEST}/d")
        assert (status, body) == (400, b"Cannot download a directory.\n")


async def test_downloading_much(sandbox: FakePort, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "big").write_bytes(data)
    async with serving(sandbox) as client:
        _, _, body = await get(client, f"/files/download?path={LATEST}/big")
        headers = CIMultiDict({"Range": "bytes=0-1"})
        status, _, _ = await get(client, f"/files/download?path={LATEST}/big", headers=headers)
    assert body == data
    assert status == 200


async def test_encoded_names(sandbox: FakePort, tmp_path: Path) -> None:
    (tmp_path / "a b;c").write_text("x")
    async with serving(sandbox) as client:
        for name in ("a+b%3Bc", "a%20b%3Bc"):
            _, _, body = await get(client, f"/files/read?path={LATEST}/{name}&offset=0")
            assert body == b'{"data":"x","offset":0}'


async def test_names_that_are_no_text(sandbox: FakePort, tmp_path: Path) -> None:
    names = [b"\x01", b"a" * 255, b"new\nline", b'q"uote', b"\xff\xfe", "é".encode()]
    folder = tmp_path / "names"
    folder.mkdir()
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(name)
    async with serving(sandbox) as client:
        _, _, body = await get(client, f"/files/browse?path={LATEST}/names")
        shown = json.loads(body.decode("utf-8", "surrogateescape"))
        assert {os.fsencode(os.path.basename(each["path"])) for each in shown} == set(names)
        for name in names:
            path = f"{LATEST}/names/{quote(name)}"
            status, _, body = await get(client, f"/files/download?path={path}")
            assert (status, body) == (200, name)
            status, _, body = await get(client, f"/files/read?path={path}&offset=0")
            data = json.loads(body.decode("utf-8", "surrogateescape"))["data"]
            assert (status, os.fsencode(data)) == (200, name)


async def test_a_broken_endpoint_is_500_and_the_program_lives() -> None:
    port = FakePort(small_state())

    async def broken(_: ContainerId) -> pb.ResourceStatistics:
        raise RuntimeError("oops")

    port.containerizer.usage = broken  # type: ignore[method-assign,assignment]  # a fault on purpose
    async with serving(port) as client:
        status, _, body = await get(client, "/containers")
        assert (status, body) == (500, b"oops")
        assert (await get(client, "/health"))[0] == 200


@pytest.mark.parametrize("path", ["/api/v1", "/slave(1)/api/v1/executor"])
@pytest.mark.parametrize("packed", [True, False])
async def test_large_json_is_not_even_read(path: str, packed: bool) -> None:
    body = b"[" * (MAX_JSON_BYTES + 1)
    headers = {"Content-Type": "application/json"}
    if packed:
        body = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    async with (
        serving(FakePort(small_state())) as client,
        client.post(path, data=io.BytesIO(body), headers=headers) as response,
    ):
        assert response.status == 413
