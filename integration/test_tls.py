# SPDX-License-Identifier: Apache-2.0
"""Agents with TLS, beside real masters without it."""

import json
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.processes import eventually
from integration.scene import Scene
from tests.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of agents."""
    return Authority(tmp_path_factory.mktemp("certificates"))


def _variables(authority: Authority, **more: str) -> dict[str, str]:
    made = authority.sign("agent", "IP:127.0.0.1", "DNS:localhost")
    return {
        "LIBPROCESS_SSL_ENABLED": "true",
        "LIBPROCESS_SSL_CERT_FILE": made.cert,
        "LIBPROCESS_SSL_KEY_FILE": made.key,
        "LIBPROCESS_SSL_CA_FILE": authority.cert,
        **{f"LIBPROCESS_SSL_{name}": value for name, value in more.items()},
    }


def _https(agent: OurAgent, authority: Authority, path: str) -> object:
    context = ssl.create_default_context(cafile=authority.cert)
    with urllib.request.urlopen(f"https://{agent.address}{path}", context=context) as reply:
        return json.loads(reply.read())


def test_with_downgrade_beside_a_plain_master(
    scene: Scene, master_version: str, authority: Authority
) -> None:
    master = scene.master(master_version)
    agent = scene.agent(master, variables=_variables(authority, SUPPORT_DOWNGRADE="true"))
    assert "going on in plain" in agent.log_text()
    done = scene.execute(master, "--command=env", "--name=t")
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    # Its executor came by TLS, of which the task knows nothing.
    assert "TLS" not in agent.stdout("t").upper()
    _https(agent, authority, "/state")
    agent.state()


def test_without_downgrade_a_plain_master_is_not_reached(
    scene: Scene, authority: Authority
) -> None:
    master = scene.master()
    agent = scene.prepare_agent(master, variables=_variables(authority)).spawn()
    agent.wait_for_log(f"Master master@{master.address} cannot be reached")
    assert master.agents() == []
    eventually(lambda: _https(agent, authority, "/version"), 10.0, "the agent to answer")


def test_a_wrong_key_ends_the_agent(scene: Scene, authority: Authority, tmp_path: Path) -> None:
    other = authority.sign("other")
    variables = _variables(authority) | {"LIBPROCESS_SSL_KEY_FILE": other.key}
    agent = scene.prepare_agent("127.0.0.1:1", variables=variables).spawn()
    assert agent.wait() == 1
    assert "Could not load the certificate" in agent.log_text()


def test_openssls_own_tools_agree(scene: Scene, authority: Authority) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", variables=_variables(authority)).spawn()
    agent.wait_for_log("Agent started on")
    done = subprocess.run(
        [
            *("openssl", "s_client", "-brief", "-verify_return_error"),
            *("-connect", agent.address, "-CAfile", authority.cert),
        ],
        input="",
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert "Verification: OK" in done.stderr
    assert "Protocol version: TLSv1.2" in done.stderr
