# SPDX-License-Identifier: Apache-2.0
"""The real master by itself."""

import os
import socket
import subprocess

from integration.processes import command, environment, get, get_json, post_json
from integration.scene import Scene


def test_it_answers_as_its_version_and_ends_when_asked(master_version: str, scene: Scene) -> None:
    master = scene.master(master_version)
    assert master.state()["version"] == master_version
    # The same with and without the actor's prefix, as in mesos-master.
    assert get_json(master.address, "/master/state")["id"] == master.state()["id"]
    answer = post_json(master.address, "/api/v1", {"type": "GET_VERSION"})
    assert answer["get_version"]["version_info"]["version"] == master_version
    assert master.stop() == 0


def test_flags_reach_it_and_the_log_goes_to_a_file(master_version: str, scene: Scene) -> None:
    log = scene.path("own.log")
    master = scene.master(
        master_version, log_file=log, slave_ping_timeout="7secs", root_submissions=False
    )
    flags = get_json(master.address, "/flags")["flags"]
    assert flags["agent_ping_timeout"] == "7secs"
    assert flags["root_submissions"] == "false"
    master.stop()
    with open(log, encoding="utf-8") as file:
        assert "Elected as the leading master!" in file.read()


def test_its_registry_survives_a_crash(scene: Scene) -> None:
    master = scene.master()
    before = master.state()["id"]
    master.restart()
    assert master.state()["id"] != before
    assert "Successfully recovered registrar" in master.log_text() or (
        "Recovered 0 agents from the registry" in master.log_text()
    )


def run_master(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command("master", *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )


def test_unusable_flags_end_it_with_1_and_the_reason(scene: Scene) -> None:
    base = ["--ip=127.0.0.1", f"--work_dir={scene.path('w')}", "--port=0"]
    unknown = run_master(*base, "--no_such_flag=1")
    assert unknown.returncode == 1
    assert "Failed to load unknown flag 'no_such_flag'" in unknown.stderr
    bad_value = run_master(*base, "--agent_ping_timeout=soon")
    assert bad_value.returncode == 1
    assert "Failed to load flag 'agent_ping_timeout'" in bad_value.stderr
    missing = run_master("--version=9.9.9")
    assert missing.returncode == 1
    assert "no real master of version 9.9.9" in missing.stderr


def test_a_port_in_use_is_told(scene: Scene) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_master("--ip=127.0.0.1", f"--port={port}", f"--work_dir={scene.path('w')}")
    assert done.returncode not in (0, None)
    assert "Address already in use" in done.stderr


def test_help_is_that_of_the_version(scene: Scene) -> None:
    old, new = (run_master(f"--version={v}", "--help").stdout for v in ("1.4.3", "1.11.0"))
    assert "--registry_fetch_timeout=VALUE" in old
    assert "--offer_constraints_re2_max_mem=VALUE" in new
    assert "--offer_constraints_re2_max_mem=VALUE" not in old
    assert not os.path.exists(scene.path("w"))


def test_the_web_uis_endpoints_answer(scene: Scene) -> None:
    master = scene.master()
    for path in ("/health", "/metrics/snapshot", "/slaves", "/frameworks", "/state-summary"):
        get(master.address, path)
