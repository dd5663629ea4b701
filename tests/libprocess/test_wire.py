# SPDX-License-Identifier: Apache-2.0
"""Messages to bytes and back: golden bytes, any split, hostile input."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.libprocess import wire
from mesos_compat.libprocess.upid import UPID

GOLDEN = Path(__file__).parent.parent / "golden" / "libprocess"
FLOWS = sorted(GOLDEN.glob("*.requests.bin"))

MASTER = UPID("master", "10.0.0.1", 5050)
SLAVE = UPID("slave(1)", "10.0.0.2", 5051)


def read(data: bytes) -> list[wire.Received]:
    reader = wire.RequestReader()
    found = [request.message() for request in reader.feed(data)]
    assert reader.error is None
    assert reader.idle
    return found


def target(flow: bytes, message: wire.Received) -> UPID:
    """Take the target's address from the ``Host`` header of the flow."""
    start = flow.index(b"Host: ") + 6
    host = flow[start : flow.index(b"\r", start)].decode()
    return UPID.parse(f"{message.target_id}@{host}")


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name[:2])
def test_recorded_flows_are_reproduced_byte_for_byte(path: Path) -> None:
    flow = path.read_bytes()
    messages = read(flow)
    assert len(messages) > 3
    again = b"".join(wire.encode(m.sender, target(flow, m), m.name, m.body) for m in messages)
    assert again == flow


def test_there_are_flows() -> None:
    assert [path.name[:2] for path in FLOWS] == ["01", "02", "05", "06"]


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.name[:2])
def test_recorded_flows_byte_by_byte(path: Path) -> None:
    flow = path.read_bytes()
    reader = wire.RequestReader()
    found = [r.message() for i in range(len(flow)) for r in reader.feed(flow[i : i + 1])]
    assert found == read(flow)


def test_an_empty_body_has_neither_length_nor_chunks() -> None:
    pong = wire.encode(SLAVE, UPID("slave-observer(1)", *MASTER.address), "m.Pong", b"")
    assert pong == (
        b"POST /slave-observer(1)/m.Pong HTTP/1.1\r\n"
        b"User-Agent: libprocess/slave(1)@10.0.0.2:5051\r\n"
        b"Libprocess-From: slave(1)@10.0.0.2:5051\r\n"
        b"Connection: Keep-Alive\r\n"
        b"Host: 10.0.0.1:5050\r\n\r\n"
    )


def test_old_peers_send_an_empty_host() -> None:
    data = wire.encode(MASTER, SLAVE, "m.Ping", b"x", host_header=False)
    assert b"\r\nHost: \r\n" in data
    assert read(data) == [wire.Received(MASTER, "slave(1)", "m.Ping", b"x")]


def test_a_target_without_id() -> None:
    assert wire.encode(SLAVE, UPID("", *MASTER.address), "n", b"").startswith(b"POST /n HTTP/1.1")


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(categories=["L", "N"], max_codepoint=127), min_size=1),
            st.binary(max_size=300),
            st.booleans(),
        ),
        max_size=5,
    ),
    st.data(),
)
def test_any_split_gives_the_same_messages(
    messages: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    stream = b"".join(
        wire.encode(MASTER, SLAVE, name, body, host_header=host) for name, body, host in messages
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = wire.RequestReader()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [request.message() for request in reader.feed(stream[start:end])]
    assert found == [wire.Received(MASTER, "slave(1)", name, body) for name, body, _ in messages]
    assert reader.idle
    assert reader.held == 0


class TestForms:
    def test_content_length(self) -> None:
        data = (
            b"POST /slave%281%29/m HTTP/1.1\r\nHost:\r\nContent-Length: 3\r\n"
            b"libprocess-from: master@10.0.0.1:5050\r\n\r\nabc"
        )
        assert read(data) == [wire.Received(MASTER, "slave(1)", "m", b"abc")]

    def test_many_chunks_extensions_and_trailers(self) -> None:
        data = (
            b"POST /slave(1)/m HTTP/1.1\nUser-Agent: libprocess/master@10.0.0.1:5050\r\n"
            b"Transfer-Encoding: Chunked\r\n\r\n"
            b"1;x=y\r\na\r\n00002 \r\nbc\r\n0\r\nX-Trailer: y\r\n\r\n"
        )
        assert read(data * 2) == [wire.Received(MASTER, "slave(1)", "m", b"abc")] * 2

    def test_gzip(self) -> None:
        body = gzip.compress(b"abc")
        data = (
            b"POST /slave(1)/m HTTP/1.1\r\nLibprocess-From: master@10.0.0.1:5050\r\n"
            b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert read(data)[0].body == b"abc"
        reader = wire.RequestReader()
        reader.feed(data.replace(body, b"\0" * len(body)))
        assert "gzip" in str(reader.error)

    def test_a_gzip_bomb_is_refused(self) -> None:
        with pytest.raises(wire.RefusedBody):
            wire.gunzip(gzip.compress(b"\0" * 1_000_000), 1000)
        with pytest.raises(WireError, match="truncated"):
            wire.gunzip(gzip.compress(b"abc")[:-4], 1000)

    @pytest.mark.parametrize(
        ("path", "target_id", "name"),
        [
            ("/slave(1)/a/b", "slave(1)", "a/b"),
            ("/slave(1)", "slave(1)", ""),
            ("/slave(1)/", "slave(1)", ""),
            ("/a+b%20c/n%41", "a b c", "n%41"),
            ("/", "", ""),
            ("/x/n?query", "x", "n"),
        ],
    )
    def test_paths(self, path: str, target_id: str, name: str) -> None:
        headers = {"libprocess-from": " master@10.0.0.1:5050 "}
        assert wire.address_of(path, headers) == (MASTER, target_id, name)

    @pytest.mark.parametrize(
        ("path", "sender"),
        [("/x/n", "nobody"), ("/x%/n", "a@1.2.3.4:5"), ("/%zz/n", "a@1.2.3.4:5")],
    )
    def test_undeterminable(self, path: str, sender: str) -> None:
        with pytest.raises(WireError):
            wire.address_of(path, {"libprocess-from": sender})


class TestForeign:
    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"GET /state HTTP/1.1\r\nLibprocess-From: x\r\n\r\n",
            b"POST /slave(1)/api/v1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"P",
            b"\x16\x03\x01",
        ],
    )
    def test_the_rest_begins_with_the_foreign_request(self, request_bytes: bytes) -> None:
        reader = wire.RequestReader()
        before = wire.encode(MASTER, SLAVE, "m", b"x")
        assert len(reader.feed(before + request_bytes)) == 1
        assert reader.foreign is (request_bytes != b"P")
        assert reader.rest == request_bytes

    def test_more_bytes_are_kept(self) -> None:
        reader = wire.RequestReader()
        reader.feed(b"GET ")
        reader.feed(b"/x")
        assert reader.rest == b"GET /x"


class TestHostile:
    head = b"POST /slave(1)/m HTTP/1.1\r\nLibprocess-From: master@10.0.0.1:5050\r\n"

    @pytest.mark.parametrize(
        "more",
        [
            b"Transfer-Encoding: gzip, chunked\r\n\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            b"Content-Length: -1\r\n\r\n",
            b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
            b"Content-Length: 99999999999999999999\r\n\r\n",
            b"Content-Length: 1001\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 9000,
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 600,
            b" folded\r\n\r\n",
            b"Bad Name: x\r\n\r\n",
            b"no colon\r\n\r\n",
            b"X: a\0b\r\n\r\n",
            b"X: " + b"a" * 3000,
        ],
    )
    def test_it_ends_the_reader_after_the_good_messages(self, more: bytes) -> None:
        reader = wire.RequestReader(max_head_bytes=2000, max_body_bytes=1000)
        good = wire.encode(MASTER, SLAVE, "m", b"x")
        assert len(reader.feed(good + self.head + more)) == 1
        assert reader.error is not None
        assert reader.feed(good) == []
        assert reader.held == 0

    @pytest.mark.parametrize(
        "line", [b"POST  / HTTP/1.1", b"POST / HTTP/2.0", b"POST /\x01 HTTP/1.1"]
    )
    def test_bad_request_lines(self, line: bytes) -> None:
        reader = wire.RequestReader()
        reader.feed(line + b"\r\n\r\n")
        assert str(reader.error) == "Malformed request line"

    def test_one_body_is_bounded_over_all_chunks(self) -> None:
        reader = wire.RequestReader(max_body_bytes=1000)
        reader.feed(self.head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(9):
            reader.feed(b"64\r\n" + b"x" * 100 + b"\r\n")
            assert reader.error is None
        reader.feed(b"65\r\n")
        assert isinstance(reader.error, wire.RefusedBody)

    @given(st.binary(max_size=400), st.booleans())
    @settings(max_examples=200)
    def test_noise_never_raises(self, noise: bytes, started: bool) -> None:
        reader = wire.RequestReader(max_head_bytes=100, max_body_bytes=100)
        for request in reader.feed(self.head * started + noise):
            try:
                request.message()
            except WireError:
                pass
