# SPDX-License-Identifier: Apache-2.0
"""Executors and an agent that speaks TLS."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest

from mesos_compat.executor.connection import Endpoint
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.certificates import Authority
from tests.executor.conftest import Start
from tests.executor.fake_agent import FakeAgent, shell_task


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(agent: FakeAgent, authority: Authority) -> FakeAgent:
    """An agent that speaks nothing but TLS."""
    made = authority.sign("agent", "IP:127.0.0.1")
    agent.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    agent.tls.load_cert_chain(made.cert, made.key)
    return agent


def verifying(authority: Authority) -> dict[str, str]:
    return {
        "LIBPROCESS_SSL_ENABLED": "true",
        "LIBPROCESS_SSL_VERIFY_SERVER_CERT": "true",
        "LIBPROCESS_SSL_VERIFY_IPADD": "true",
        "LIBPROCESS_SSL_HOSTNAME_VALIDATION_SCHEME": "openssl",
        "LIBPROCESS_SSL_CA_FILE": authority.cert,
    }


@pytest.mark.parametrize("verified", [False, True])
def test_a_task(secure: FakeAgent, start: Start, authority: Authority, verified: bool) -> None:
    executor = start(**(verifying(authority) if verified else {"MESOS_AGENT_TLS": "1"}))
    secure.call(api.Call.SUBSCRIBE)
    secure.subscribed()
    # Far more than a record of TLS holds, in both directions.
    task = shell_task('test -z "$MESOS_AGENT_TLS"')
    task.data = b"x" * 3_000_000
    secure.launch(task)
    for state in (v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED):
        secure.update(state)
    assert executor.wait(secure) == 0


def test_a_group(secure: FakeAgent, start_default: Start) -> None:
    executor = start_default(MESOS_AGENT_TLS="1")
    secure.call(api.Call.SUBSCRIBE)
    secure.subscribed()
    secure.launch_group(shell_task("sleep 1000", "a"))
    secure.update(v1.TASK_STARTING)
    secure.ask(agent_pb2.Call.LAUNCH_CONTAINER).answer()
    secure.update(v1.TASK_RUNNING)
    # Far more than a record of TLS holds.
    secure.ask(agent_pb2.Call.WAIT_NESTED_CONTAINER).end(0, message="x" * 300_000)
    assert len(secure.update(v1.TASK_FINISHED).message) > 300_000
    assert executor.wait(secure) == 0


def test_a_broken_connection_is_made_again(secure: FakeAgent, start: Start) -> None:
    executor = start(
        MESOS_AGENT_TLS="1",
        MESOS_CHECKPOINT="1",
        MESOS_RECOVERY_TIMEOUT="1mins",
        MESOS_SUBSCRIPTION_BACKOFF_MAX="100ms",
    )
    secure.call(api.Call.SUBSCRIBE)
    secure.drop()
    secure.call(api.Call.SUBSCRIBE)
    secure.subscribed()
    secure.launch(shell_task("true"))
    for state in (v1.TASK_STARTING, v1.TASK_RUNNING, v1.TASK_FINISHED):
        secure.update(state)
    assert executor.wait(secure) == 0


def test_an_agent_with_a_wrong_certificate(
    secure: FakeAgent, start: Start, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    executor = start(**(verifying(authority) | {"LIBPROCESS_SSL_CA_FILE": other.cert}))
    secure.serve(lambda: secure.broken_handshakes > 0)
    assert not secure.requests
    executor.wait(secure)


def test_openssl_is_loaded_by_those_who_need_it_only() -> None:
    program = (
        "import sys; from mesos_compat.executor import command; "
        "from mesos_compat.executor.connection import Endpoint; "
        "print(Endpoint.of({'MESOS_SLAVE_PID': 'slave(1)@127.0.0.1:1', **%r}),"
        " 'ssl' in sys.modules)"
    )
    for more, expected in (({}, "http:// False"), ({"MESOS_AGENT_TLS": "1"}, "https:// True")):
        done = subprocess.run(
            [sys.executable, "-c", program % more], capture_output=True, text=True, check=True
        )
        scheme, loaded = expected.split()
        assert done.stdout.startswith(f"{scheme}127.0.0.1:1/slave(1)")
        assert done.stdout.split()[-1] == loaded


def test_unix_sockets_are_plain() -> None:
    endpoint = Endpoint.of(
        {
            "MESOS_SLAVE_PID": "slave(1)@127.0.0.1:1",
            "MESOS_DOMAIN_SOCKET": "/s",
            "LIBPROCESS_SSL_ENABLED": "1",
        }
    )
    assert endpoint.tls is None
