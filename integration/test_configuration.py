# SPDX-License-Identifier: Apache-2.0
"""An agent is configured as on hosts that had the Mesos packages, and by a file of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.processes import environment
from integration.scene import Scene

pytestmark = pytest.mark.integration


class Configured(OurAgent):
    """An agent whose command line says only where its flags are."""

    places: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the whole command line."""
        return [*super().arguments()[:3], *self.places]

    def wanted(self) -> dict[str, str]:
        """The flags that it is to find."""
        pairs = (each[2:].partition("=") for each in super().arguments()[3:])
        return {name: value for name, equals, value in pairs if equals}


def test_a_host_of_the_packages(scene: Scene) -> None:
    master = scene.master()
    agent = Configured(master, scene.path("agent"))
    etc = Path(scene.path("etc"))
    for name in ("mesos-slave/attributes", "default", "mesos"):
        (etc / name).mkdir(parents=True)
    for name, value in agent.wanted().items():
        if name != "master":
            (etc / "mesos-slave" / name).write_text(f"{value}\n")
    (etc / "mesos-slave" / "?no-hostname_lookup").touch()
    (etc / "mesos-slave" / "?no-switch_user").touch()
    if os.geteuid() != 0:
        (etc / "mesos-slave" / "launcher").write_text("posix")
    (etc / "mesos-slave" / "attributes" / "rack").write_text("r1\n")
    (etc / "mesos" / "zk").write_text(f"{master.address}\n")
    (etc / "default" / "mesos-slave").write_text(
        f"MASTER=`cat {etc}/mesos/zk`\nexport MESOS_GC_DELAY=2days GLOG_v=1\n"
    )
    config = etc / "agent.toml"
    config.write_text('gc_delay = "3days"\n[recovery]\nstrict = false\n')
    agent.places = (f"--config_dir={etc}/mesos-slave", f"--config={config}")
    try:
        agent.start()
        state = agent.state()
        assert state["attributes"] == {"rack": "r1"}
        flags = state["flags"]
        assert (flags["gc_delay"], flags["strict"], flags["switch_user"]) == (
            "3days",
            "false",
            "false",
        )
        assert "Event 1: " in agent.log_text()  # a verbose line: GLOG_v
        assert f"Flag --work_dir is set in {etc}/mesos-slave/work_dir" in agent.log_text()
        done = scene.execute(master, "--name=t", "--command=true")
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")

        answer = subprocess.run(
            [sys.executable, "-m", "mesos_compat.cli.doctor", "--json", *agent.places],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = {each["subject"]: each for each in json.loads(answer.stdout)}
        assert found[f"master {master.address}"]["text"] == "Mesos 1.11.0"
        assert answer.returncode == 0
    finally:
        left = agent.clean()
    assert not left, str(left)


def test_a_file_with_mistakes(scene: Scene) -> None:
    agent = Configured("127.0.0.1:1", scene.path("agent"))
    config = Path(scene.path("agent.toml"))
    config.write_text('mastr = "h:1"\nport = "5051"\n[gcc]\ngc_delay = "1days"\n')
    agent.places = (f"--config={config}",)
    agent.spawn()
    assert agent.wait() == 1
    assert agent.log_text().splitlines()[:3] == [
        f"{config}: unknown flag 'mastr'; did you mean 'master'?",
        f"{config}: 'port': expecting an integer, not a text",
        f"{config}: unknown section [gcc]; did you mean [gc]?",
    ]
