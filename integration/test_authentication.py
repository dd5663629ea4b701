# SPDX-License-Identifier: Apache-2.0
"""Agents that have to prove to a real master who they are."""

import json
import os

import pytest

from integration.master import LATEST, RealMaster
from integration.processes import get_json
from integration.scene import FAST_PINGS, Scene

PRINCIPAL, SECRET = "agents", "s3cret-of-\N{SNOWMAN}-agents"


def _credential(scene: Scene, name: str, content: str) -> str:
    path = scene.path(name)
    with open(path, "w", encoding="utf-8", opener=_private) as file:
        file.write(content)
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _master(scene: Scene, version: str, **flags: object) -> RealMaster:
    """A master that takes nobody whom it does not know."""
    known = {"credentials": [{"principal": PRINCIPAL, "secret": SECRET}]}
    return scene.master(
        version,
        authenticate_agents=True,
        credentials=_credential(scene, "credentials.json", json.dumps(known)),
        **flags,
    )


def test_the_right_secret_registers(scene: Scene, master_version: str) -> None:
    master = _master(scene, master_version)
    secret = {"principal": PRINCIPAL, "secret": SECRET}
    path = _credential(scene, "agent.json", json.dumps(secret))
    agent = scene.agent(master, credential=f"file://{path}")
    assert f"Successfully authenticated with master master@{master.address}" in agent.log_text()
    scene.execute(master, "--command=true", "--name=t").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    assert SECRET not in agent.log_text()
    state = get_json(agent.address, "/flags")
    assert state["flags"]["credential"] == path


def test_a_master_that_was_started_again_knows_nobody(scene: Scene) -> None:
    master = _master(scene, LATEST, **FAST_PINGS)
    path = _credential(scene, "agent.txt", f"{PRINCIPAL} {SECRET}\n")
    agent = scene.agent(master, credential=path)
    master.restart()
    master.wait_for_agents(1)
    assert agent.log_text().count("Successfully authenticated with master") >= 2


def test_a_wrong_secret_ends_the_agent(scene: Scene, master_version: str) -> None:
    master = _master(scene, master_version)
    agent = scene.prepare_agent(
        master, credential=_credential(scene, "agent.txt", f"{PRINCIPAL} guessed\n")
    ).spawn()
    assert agent.wait() == 1
    assert f"Master master@{master.address} refused authentication" in agent.log_text()
    assert master.agents() == []


def test_without_a_credential_nobody_is_registered(scene: Scene) -> None:
    master = _master(scene, LATEST)
    agent = scene.prepare_agent(master).spawn()
    master.wait_for_log("Refusing registration of agent")
    assert master.agents() == []
    assert agent.running


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_frameworks_say_who_they_are(scene: Scene, version: str) -> None:
    """mesos-execute, with a master that lets in no framework that it does not know."""
    known = {"credentials": [{"principal": PRINCIPAL, "secret": SECRET}]}
    master = scene.master(
        version,
        authenticate_http_frameworks=True,
        http_framework_authenticators="basic",
        credentials=_credential(scene, "credentials.json", json.dumps(known)),
    )
    scene.agent(master)
    task = ("--command=true", "--name=t")
    scene.execute(master, *task, f"--principal={PRINCIPAL}", f"--secret={SECRET}").check(
        "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"
    )
    for wrong in ((), (f"--principal={PRINCIPAL}", "--secret=guessed")):
        refused = scene.execute(master, *task, *wrong)
        assert refused.exit_code == 1
        assert refused.states == []
        assert "401 Unauthorized" in refused.stderr
        assert "guessed" not in refused.stderr
