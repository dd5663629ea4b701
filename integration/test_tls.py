# SPDX-License-Identifier: Apache-2.0
"""Agents with TLS, beside real masters with it and without."""

import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.master import LATEST
from integration.processes import Program, command, environment, eventually
from integration.scene import Scene
from integration.tls_master import TlsMaster, fetch
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
    key = Path(scene.path("key"))
    key.write_bytes(b"the key of executors' tokens, which they show by TLS")
    agent = scene.agent(
        master,
        variables=_variables(authority, SUPPORT_DOWNGRADE="true"),
        authenticate_http_executors=True,
        http_authenticators="jwt",
        jwt_secret_key=str(key),
    )
    assert "going on in plain" in agent.log_text()
    done = scene.execute(master, "--command=env", "--name=t")
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    # Its executor came by TLS, of which the task knows nothing.
    assert "TLS" not in agent.stdout("t").upper()
    _https(agent, authority, "/state")
    agent.state()


@pytest.mark.root
def test_an_executor_in_an_image(scene: Scene, authority: Authority, docker_images: str) -> None:
    master = scene.master()
    agent = scene.agent(
        master,
        variables=_variables(authority, SUPPORT_DOWNGRADE="true"),
        isolation="filesystem/linux,docker/runtime",
        image_providers="docker",
        docker_registry=docker_images,
    )
    done = scene.execute(
        master,
        "--command=env",
        "--name=t",
        "--docker_image=busybox:latest",
        "--containerizer=mesos",
    )
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert "TLS" not in agent.stdout("t").upper()


def test_without_downgrade_a_plain_master_is_not_reached(
    scene: Scene, authority: Authority
) -> None:
    master = scene.master()
    agent = scene.prepare_agent(master, variables=_variables(authority)).spawn()
    agent.wait_for_log(f"Master master@{master.address} cannot be reached")
    assert master.agents() == []
    eventually(lambda: _https(agent, authority, "/version"), 60, "the agent to answer")


def test_commands_reach_an_agent_that_serves_tls_alone(scene: Scene, authority: Authority) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", variables=_variables(authority)).spawn()
    agent.wait_for_log("Agent started on")

    def ps(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "mesos_compat.cli.main", "ps", *arguments]
        return subprocess.run(
            program, env=environment(**variables), capture_output=True, text=True, check=False
        )

    verified = ps(f"--agent=https://{agent.address}", LIBPROCESS_SSL_CA_FILE=authority.cert)
    assert verified.returncode == 0, verified
    # as this host's own agent
    found = ps("--agent-runtime-dir", agent.runtime_dir)
    assert (found.returncode, found.stdout) == (0, verified.stdout), found
    unverified = ps(f"--agent=https://{agent.address}")
    assert unverified.returncode == 125, unverified


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
        timeout=60,
    )
    assert "Verification: OK" in done.stderr
    assert "Protocol version: TLSv1.2" in done.stderr


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> str:
    """OpenSSL 1.0."""
    try:
        return fetch(str(tmp_path_factory.mktemp("openssl")))
    except OSError as error:
        pytest.skip(str(error))


class TestMastersWithTls:
    """Both sides show certificates, which the other one verifies."""

    @pytest.fixture(params=["1.10.0", LATEST])
    def master(
        self,
        request: pytest.FixtureRequest,
        libraries: str,
        authority: Authority,
        tmp_path: Path,
    ) -> Iterator[TlsMaster]:
        """One that demands certificates. Those before 1.10 need another libevent, too."""
        variables = _variables(
            authority,
            VERIFY_CERT="true",
            REQUIRE_CERT="true",
            VERIFY_SERVER_CERT="true",
            REQUIRE_CLIENT_CERT="true",
            VERIFY_IPADD="true",
        )
        made = TlsMaster(request.param, str(tmp_path / "master"), libraries, variables).start()
        yield made
        made.stop()

    @pytest.mark.parametrize("scheme", ["legacy", "openssl"])
    def test_an_agent_registers(
        self, scene: Scene, master: TlsMaster, authority: Authority, scheme: str
    ) -> None:
        agent = scene.prepare_agent(
            master.address,
            variables=_variables(
                authority,
                REQUIRE_CLIENT_CERT="true",
                VERIFY_IPADD="true",
                HOSTNAME_VALIDATION_SCHEME=scheme,
            ),
        ).spawn()
        (found,) = master.wait_for_agents(1)
        assert found["pid"] == f"slave(1)@{agent.address}"
        agent.wait_for_log("Registered with master")

    def test_a_task(self, scene: Scene, master: TlsMaster, authority: Authority) -> None:
        variables = _variables(authority, VERIFY_SERVER_CERT="true", VERIFY_IPADD="true")
        agent = scene.prepare_agent(master.address, variables=variables).spawn()
        master.wait_for_agents(1)
        task = ("--name=t", "--command=true")
        done = scene.execute(master.address, *task, variables=variables)
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
        named = f"https://localhost:{master.port}"
        done = scene.execute(named, *task, variables=variables)
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
        assert agent.running
        strangers = {"LIBPROCESS_SSL_ENABLED": "true", "LIBPROCESS_SSL_VERIFY_CERT": "true"}
        refused = scene.execute(named, *task, "--offer_timeout=2secs", variables=strangers)
        assert (refused.exit_code, refused.stdout) == (1, "")

    def test_a_simulated_agent(self, scene: Scene, master: TlsMaster, authority: Authority) -> None:
        variables = _variables(authority, REQUIRE_CLIENT_CERT="true", VERIFY_IPADD="true")
        program = Program("simulate", scene.path("simulate.log"))
        # Masters look the name of an address up, and answer nobody meanwhile: one that has a name.
        arguments = (f"--master={master.address}", "--agents=1", "--ip=127.0.0.1")
        program.launch(command("simulate", *arguments), variables, scene.folder)
        try:
            (found,) = master.wait_for_agents(1)
            assert found["pid"].startswith("slave(1)@127.0.0.1:")
        finally:
            program.kill()

    def test_one_with_another_authority_does_not(
        self, scene: Scene, master: TlsMaster, tmp_path: Path
    ) -> None:
        other = Authority(tmp_path, "other")
        agent = scene.prepare_agent(
            master.address, variables=_variables(other, REQUIRE_CLIENT_CERT="true")
        ).spawn()
        agent.wait_for_log("ertificate")
        assert master.agents() == []
        assert agent.running
