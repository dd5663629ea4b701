# SPDX-License-Identifier: Apache-2.0
"""Calls of the operator API, one after the other."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from mesos_compat.executor.client import ClientSettings
from mesos_compat.executor.loop import Loop
from mesos_compat.executor.nested import Answer, Line
from mesos_compat.pb.mesos.v1.agent import agent_pb2

CALL = agent_pb2.Call(type=agent_pb2.Call.GET_HEALTH)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def line_to(port: int, loop: Loop) -> Line:
    environ = {
        "MESOS_SLAVE_PID": f"slave(1)@127.0.0.1:{port}",
        "MESOS_FRAMEWORK_ID": "f",
        "MESOS_EXECUTOR_ID": "e",
    }
    return Line(loop, ClientSettings.of(environ))


def play(*answers: bytes, calls: int) -> list[Answer]:
    """Make calls; each connection gets one of ``answers`` and is closed then."""
    loop = Loop()
    given: list[Answer] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = line_to(listener.getsockname()[1], loop)

        def answered(answer: Answer) -> None:
            given.append(answer)
            if len(given) == calls:
                loop.stop(0)
            else:
                line.ask(CALL, answered)

        left = list(answers)

        def accept(events: int) -> None:
            peer = listener.accept()[0]

            def read(events: int) -> None:
                if peer.recv(4096):
                    peer.sendall(left.pop(0))
                    if left and left[0] == b"":
                        left.pop(0)
                        return
                loop.unwatch(peer.fileno())
                peer.close()

            loop.watch(peer.fileno(), 1, read)

        loop.watch(listener.fileno(), 1, accept)
        line.ask(CALL, answered)
        loop.later(60, lambda: loop.stop(1))
        assert loop.run() == 0
        line.close()
    return given


def test_a_connection_that_is_closed_is_made_again() -> None:
    kept = b""
    given = play(OK, kept, OK, OK, calls=4)
    # Nobody knows what became of a call that was made while the other side hung up.
    assert [answer.status for answer in given] == [200, 200, 0, 200]


@pytest.mark.parametrize(
    "garbage", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"noise\r\n\r\n"]
)
def test_what_is_no_answer(garbage: bytes) -> None:
    lost, found = play(garbage, OK, calls=2)
    assert lost.lost
    assert lost.text
    assert found.status == 200


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesos_compat.executor.nested._MAX_BODY_BYTES", 1000)
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 2000
    [lost] = play(long, calls=1)
    assert (lost.lost, lost.text) == (True, "the answer is too long")


def test_without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing breaks but the call."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    loop = Loop()
    line = line_to(1, loop)
    given: list[Answer] = []
    with monkeypatch.context() as context:
        context.setattr(socket, "socket", refuse)
        line.ask(CALL, given.append)
        loop.later(0.01, lambda: loop.stop(0))
        loop.run()
    assert given == [Answer.none("Too many open files")]
