# SPDX-License-Identifier: Apache-2.0
"""An agent that asks operators and executors who they are, under real masters."""

import base64
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.fleet import fleet
from integration.processes import environment, flag_arguments
from integration.scene import Scene
from integration.test_recovery import executing
from mesos_compat.agent.machine.tokens import ExecutorTokens
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.simulate.options import make_options

SECRET, KEY = "s3cret-of-\N{SNOWMAN}-operators", b"the s3cret key of executors' tokens\n"
BASIC = "Basic " + base64.b64encode(f"ops:{SECRET}".encode()).decode()
JSON = "application/json"

#: Executors come back in time, however busy the machine is.
PATIENT: dict[str, object] = {"executor_reregistration_timeout": "6secs"}

Answer = tuple[int, str | None, str]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def secured(scene: Scene) -> dict[str, object]:
    """Return the flags of an agent that lets in nobody whom it does not know."""
    known = {"credentials": [{"principal": "ops", "secret": SECRET}]}
    credentials, key = scene.path("credentials.json"), scene.path("key")
    with open(credentials, "w", encoding="utf-8", opener=_private) as file:
        json.dump(known, file)
    with open(key, "wb", opener=_private) as binary:
        binary.write(KEY)
    return {
        "authenticate_http_readonly": True,
        "authenticate_http_readwrite": True,
        "authenticate_http_executors": True,
        "http_credentials": credentials,
        "executor_secret_key": key,
    }


def ask(
    agent: OurAgent | str, path: str, authorization: str | None = None, call: object = None
) -> Answer:
    """GET, or POST a call; return status, challenge and text."""
    address = agent if isinstance(agent, str) else agent.address
    headers = {} if authorization is None else {"Authorization": authorization}
    if call is not None:
        headers |= {"Content-Type": JSON, "Accept": JSON}
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        body = None if call is None else json.dumps(call)
        connection.request("GET" if call is None else "POST", path, body, headers)
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, response.headers.get("WWW-Authenticate"), text
    finally:
        connection.close()


def challenges(realm: str) -> tuple[str, str]:
    """Return header and body for those who sent nothing."""
    body = "\n\n".join(
        f'"{scheme}" authenticator returned:\n401 Unauthorized.' for scheme in ("Basic", "Bearer")
    )
    return f'Basic realm="{realm}",Bearer realm="{realm}"', body


def state(agent: OurAgent) -> Mapping[str, object]:
    status, _, text = ask(agent, "/state", BASIC)
    assert status == 200, text
    found: Mapping[str, object] = json.loads(text)
    return found


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_everybody_says_who_they_are(scene: Scene, version: str) -> None:
    master = scene.master(version)
    rules = {"disabled_endpoints": {"paths": ["/profiler/start", "/containers"]}}
    agent = scene.agent(master, firewall_rules=json.dumps(rules), **secured(scene))
    for path in ("/profiler/start", "/slave(1)/containers"):
        assert ask(agent, path) == (403, None, f"Endpoint '{path}' is disabled")
    for path, call, realm in (
        ("/state", None, "mesos-agent-readonly"),
        ("/files/debug", None, "mesos-agent-readonly"),
        ("/logging/toggle", None, "mesos-agent-readwrite"),
        ("/api/v1", {"type": "GET_HEALTH"}, "mesos-agent-readwrite"),
        ("/slave(1)/api/v1/executor", {"type": "HEARTBEAT"}, "mesos-agent-executor"),
    ):
        assert ask(agent, path, None, call) == (401, *challenges(realm))
        assert ask(agent, path, BASIC[:-4] + "eHg=", call)[0] == 401
    for path in ("/health", "/version", "/system/stats.json"):
        assert ask(agent, path)[0] == 200
    for path in ("/state", "/flags", "/metrics/snapshot", "/logging/toggle"):
        assert ask(agent, path, BASIC)[0] == 200
    assert ask(agent, "/api/v1", BASIC, {"type": "GET_HEALTH"})[0] == 200

    scene.execute(master, "--command=env", "--name=t").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    assert "MESOS_EXECUTOR_ID=t" in agent.stdout()
    assert "TOKEN" not in agent.stdout()
    flags = json.loads(ask(agent, "/flags", BASIC)[2])["flags"]
    assert flags["http_credentials"] == scene.path("credentials.json")
    shown = agent.log_text() + json.dumps(state(agent)) + json.dumps(flags)
    shown += Path(agent.sandbox(), "stderr").read_text()
    for secret in ("s3cret", BASIC[6:], KEY.decode().strip(), "eyJ"):
        assert secret not in shown


def test_executors_are_themselves_and_nobody_else(scene: Scene) -> None:
    """A task goes on over a restart of the agent, as the token of its executor does."""
    agent = scene.agent(scene.master(), **PATIENT, **secured(scene))
    script = "while [ ! -e end ]; do sleep 0.1; done"
    with executing(scene, agent, "on", "--checkpoint", f"--command={script}") as running:
        running.until("TASK_RUNNING")
        check_tokens(agent)
        agent.kill()
        agent.spawn()
        agent.wait_until_registered()
        check_tokens(agent)
        Path(agent.sandbox(), "end").touch()
        running.until("TASK_FINISHED", 60.0)
    assert running.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def check_tokens(agent: OurAgent) -> None:
    """Play the executor that runs, with good and bad tokens."""
    sandbox = Path(agent.sandbox())
    container, executor, framework = sandbox.name, sandbox.parts[-3], sandbox.parts[-5]
    message = {
        "type": "MESSAGE",
        "framework_id": {"value": framework},
        "executor_id": {"value": executor},
        "message": {"data": ""},
    }

    def token(container: str = container, key: bytes = KEY) -> str:
        made = ExecutorTokens(key).token(
            FrameworkId(framework), ExecutorId(executor), ContainerId(container)
        )
        return f"Bearer {made}"

    path = "/slave(1)/api/v1/executor"
    assert ask(agent, path, token(), message) == (202, None, "")
    status, _, text = ask(agent, path, token("other"), message)
    assert status == 403
    assert text.endswith("does not contain a 'cid' claim with the correct active ContainerID")
    status, challenge, _ = ask(agent, path, token(key=KEY.strip()), message)
    assert status == 401
    assert "Invalid JWT: Token signature does not match" in (challenge or "")
    status, _, text = ask(agent, path, BASIC, message)
    assert status == 403
    assert text.startswith("Authenticated principal 'ops' does not contain an 'fid' claim")
    assert ask(agent, "/api/v1", token(), {"type": "GET_HEALTH"})[0] == 200


def test_executors_without_a_token_are_refused_and_ended(scene: Scene) -> None:
    """Authentication that is switched on while they run."""
    agent = scene.agent(scene.master())
    flags = secured(scene)
    with executing(scene, agent, "on", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        agent.kill()
        agent.flags.update(flags)
        agent.spawn()
        agent.wait_until_registered()
        running.until("TASK_GONE", 60.0)
    assert "401 by realm mesos-agent-executor" in agent.log_text()


def test_simulated_agents_ask_too(scene: Scene) -> None:
    master = scene.master()
    flags = flag_arguments(secured(scene))
    with fleet(master.address, make_options({"agents": 1}, tuple(flags))):
        address = master.wait_for_agents(1)[0]["pid"].partition("@")[2]
        assert ask(address, "/state") == (401, *challenges("mesos-agent-readonly"))
        assert ask(address, "/state", BASIC)[0] == 200


def test_commands_say_who_we_are(scene: Scene) -> None:
    """A session in the executor's container does not see its token."""
    agent = scene.agent(scene.master(), **secured(scene))
    credential = scene.path("credential")
    with open(credential, "w", encoding="utf-8", opener=_private) as file:
        file.write(f"ops {SECRET}\n")

    def ours(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        place = f"--agent-runtime-dir={agent.runtime_dir}"
        return subprocess.run(
            [sys.executable, "-m", "mesos_compat.cli.main", name, place, *arguments],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )

    with executing(scene, agent, "on", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        refused = ours("ps")
        assert (refused.returncode, refused.stdout) == (125, "")
        assert "does not know us: give a file with principal and secret" in refused.stderr
        session = ours("exec", f"--credential={credential}", "on", "--", "env")
        assert session.returncode == 0, session.stderr
        assert "MESOS_EXECUTOR_ID=on" in session.stdout
        assert "TOKEN" not in session.stdout


def test_what_is_missing_ends_the_start(scene: Scene) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", authenticate_http_executors=True).spawn()
    assert agent.wait() == 1
    assert (
        "--jwt_secret_key must be specified when --authenticate_http_executors is set to true"
        in agent.log_text()
    )


def group(*commands: str) -> str:
    """Return the value of --task_group."""
    resources = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in (("cpus", 0.1), ("mem", 32), ("disk", 32))
    ]
    tasks = [
        {
            "name": f"t{index}",
            "task_id": {"value": f"t{index}"},
            "agent_id": {"value": ""},
            "resources": resources,
            "command": {"value": command},
        }
        for index, command in enumerate(commands)
    ]
    return f"--task_group={json.dumps({'tasks': tasks})}"


def test_a_task_group_by_a_unix_socket(scene: Scene) -> None:
    """Nested containers are launched with the executor's token, which tasks do not see."""
    flags = secured(scene) | {"http_executor_domain_sockets": True}
    master = scene.master()
    agent = scene.agent(master, **flags)
    done = scene.execute(master, group("env > out; env", "true"))
    assert done.exit_code == 0, str(done)
    assert done.states.count("TASK_FINISHED") == 2, str(done)
    (out,) = Path(agent.work_dir).rglob("out")
    assert "MESOS_" in out.read_text()
    assert "TOKEN" not in out.read_text()


class _Unix(http.client.HTTPConnection):
    """To a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.host)


def by_socket(path: str, method: str, target: str, body: str | None = None) -> tuple[int, str]:
    connection = _Unix(path)
    try:
        connection.request(method, target, body, {"Content-Type": JSON, "Host": "agent"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_executors_by_a_unix_socket(scene: Scene) -> None:
    """Their connections are no others; a restart of the agent makes the socket anew."""
    flags: dict[str, object] = {
        "http_executor_domain_sockets": True,
        "domain_socket_location": scene.path("s"),
    }
    agent = scene.agent(scene.master(), **PATIENT, **flags)
    path = scene.path("s")
    call = json.dumps({"type": "GET_HEALTH"})
    script = "while [ ! -e end ]; do sleep 0.1; done; env"
    with executing(scene, agent, "on", "--checkpoint", f"--command={script}") as running:
        running.until("TASK_RUNNING")
        assert f"unix:{path}" in Path(agent.sandbox(), "stderr").read_text()
        for again in (False, True):
            if again:
                agent.kill()
                agent.spawn()
                agent.wait_until_registered()
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
            assert by_socket(path, "POST", "/slave(1)/api/v1", call)[0] == 200
            for target in ("/slave(1)/state", "/state", "/api/v1", "/health"):
                assert by_socket(path, "GET", target) == (403, "403 Forbidden.")
        Path(agent.sandbox(), "end").touch()
        running.until("TASK_FINISHED", 60.0)
    assert f"MESOS_DOMAIN_SOCKET={path}" in agent.stdout()
    assert "HTTP POST for /slave(1)/api/v1/executor from a local client" in agent.log_text()
    assert "/api/v1/executor from 127" not in agent.log_text()
