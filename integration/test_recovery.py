# SPDX-License-Identifier: Apache-2.0
"""An agent is killed and started again while tasks run."""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from containerizer.linux import proc
from integration.agent import OurAgent
from integration.processes import command, environment, eventually
from integration.scene import Scene

pytestmark = pytest.mark.integration


class Running:
    """A mesos-execute that goes on."""

    def __init__(self, agent: OurAgent, log: str, *arguments: str) -> None:
        self._log = log
        with open(log, "wb") as file:
            self.program = subprocess.Popen(
                command("execute", f"--master={agent.master}", *arguments),
                stdout=file,
                stderr=file,
                env=environment(),
            )

    @property
    def text(self) -> str:
        """What it said until now."""
        return Path(self._log).read_text(encoding="utf-8")

    @property
    def states(self) -> list[str]:
        """States of all updates until now."""
        return [
            line.split()[3] for line in self.text.splitlines() if "Received status update" in line
        ]

    def until(self, state: str, timeout_s: float = 60.0) -> None:
        """Wait for an update."""
        eventually(lambda: state in self.states, timeout_s, f"{state}: {self.text}")


@contextmanager
def executing(scene: Scene, agent: OurAgent, name: str, *arguments: str) -> Iterator[Running]:
    running = Running(agent, scene.path(f"{name}.log"), f"--name={name}", *arguments)
    try:
        yield running
    finally:
        running.program.kill()
        running.program.wait()


def restart(agent: OurAgent, **flags: object) -> None:
    """Kill the agent and start it again, on the same address."""
    agent.kill()
    agent.flags.update(flags)
    agent.spawn()
    agent.wait_until_registered()


def forked_pid(agent: OurAgent) -> int:
    return int(next(Path(agent.work_dir, "meta").rglob("forked.pid")).read_text())


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    return [pid, *(one for child in proc.children(pid) for one in family(child))]


def has_ended(pid: int) -> bool:
    """Whether a process, which may be nobody's child by now, is gone or waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def only_task(agent: OurAgent) -> dict[str, Any]:
    tasks = [
        task
        for framework in agent.state()["frameworks"]
        for executor in framework["executors"]
        for task in executor["tasks"]
    ]
    assert len(tasks) == 1, tasks
    return dict(tasks[0])


@pytest.mark.parametrize("version", ["1.4.3", "1.11.0"])
def test_a_task_goes_on(scene: Scene, version: str) -> None:
    agent = scene.agent(scene.master(version))
    before = agent.state()["id"]
    info = Path(agent.work_dir, "meta", "slaves", before, "slave.info")
    written = info.stat().st_mtime_ns, info.read_bytes()
    script = "while [ ! -e end ]; do sleep 0.1; done"
    with executing(scene, agent, "on", "--checkpoint", f"--command={script}") as running:
        running.until("TASK_RUNNING")
        for _ in range(2):
            restart(agent)
            assert (info.stat().st_mtime_ns, info.read_bytes()) == written
            assert agent.state()["id"] == before
            assert only_task(agent)["state"] == "TASK_RUNNING"
        Path(agent.sandbox("on"), "end").touch()
        running.until("TASK_FINISHED")
        assert running.program.wait() == 0
        assert running.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_a_task_ends_while_the_agent_is_away(scene: Scene) -> None:
    """Its executor keeps the last update until there is an agent."""
    agent = scene.agent(scene.master())
    script = "while [ ! -e end ]; do sleep 0.1; done; exit 3"
    with executing(scene, agent, "ends", "--checkpoint", f"--command={script}") as running:
        running.until("TASK_RUNNING")
        agent.kill()
        Path(agent.sandbox("ends"), "end").touch()
        agent.spawn()
        running.until("TASK_FAILED")
        assert "exited with status 3" in running.text


def test_an_executor_ends_while_the_agent_is_away(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    with executing(scene, agent, "gone", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        pid = forked_pid(agent)
        agent.kill()
        os.kill(pid, signal.SIGKILL)
        agent.spawn()
        running.until("TASK_FAILED")
        assert "REASON_EXECUTOR_TERMINATED" in running.text


def test_an_executor_that_hangs_is_gone(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    with executing(scene, agent, "hangs", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        pid = forked_pid(agent)
        os.kill(pid, signal.SIGSTOP)
        restart(agent)
        running.until("TASK_GONE")
        assert "Executor did not reregister within 2secs" in running.text


def test_a_task_of_a_framework_that_does_not_checkpoint_ends(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    with executing(scene, agent, "ends", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        restart(agent)
        running.until("TASK_LOST")
        assert "Agent 127.0.0.1 disconnected" in running.text
        assert not agent.state()["frameworks"]
        (sandbox,) = agent.sandboxes()
        restart(agent, gc_delay="1secs")
        eventually(lambda: not os.path.exists(sandbox), 60, "its sandbox to be collected")


def test_after_a_reboot_the_tasks_have_failed(scene: Scene) -> None:
    agent = scene.agent(scene.master(), launcher="posix")
    before = agent.state()["id"]
    with executing(scene, agent, "old", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        agent.kill()
        for pid in family(forked_pid(agent)):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(agent.runtime_dir)
        Path(agent.work_dir, "meta", "boot_id").write_text("another")
        agent.spawn()
        agent.wait_until_registered()
        running.until("TASK_FAILED")
        assert "Abnormal executor termination: unknown container" in running.text
        assert agent.state()["id"] == before


def test_a_changed_agent_does_not_go_on(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    before = agent.state()["id"]
    agent.kill()
    agent.flags["attributes"] = "rack:1"
    agent.spawn()
    assert agent.wait() == 1
    text = Path(agent.log).read_text()
    assert "Failed to perform recovery: Incompatible agent info detected." in text
    assert f"rm -f {agent.work_dir}/meta/slaves/latest" in text
    restart(agent, reconfiguration_policy="additive")
    assert agent.state()["id"] == before
    agent.kill()
    agent.flags["hostname"] = "another"
    agent.spawn()
    assert agent.wait() == 1
    Path(agent.work_dir, "meta", "boot_id").write_text("another")
    agent.spawn()
    agent.wait_until_registered()
    assert agent.state()["id"] != before


def test_clean_up(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    with executing(scene, agent, "old", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        pid = forked_pid(agent)
        agent.kill()
        agent.flags["recover"] = "cleanup"
        agent.spawn()
        assert agent.wait() == 0
        assert has_ended(pid)
        assert Path(agent.work_dir, "meta", "slaves", "latest").exists()


def test_a_damaged_checkpoint(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    with executing(scene, agent, "bad", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        agent.kill()
        info = next(Path(agent.work_dir, "meta").rglob("executor.info"))
        info.write_bytes(info.read_bytes()[:-5])
        agent.spawn()
        assert agent.wait() == 1
        assert "hit EOF unexpectedly" in Path(agent.log).read_text()
        restart(agent, strict=False)
        running.until("TASK_DROPPED")


def test_an_agent_that_is_killed_again_and_again(scene: Scene) -> None:
    """Before it has finished recovery, and in the middle of it."""
    agent = scene.agent(scene.master())
    with executing(scene, agent, "on", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        for pause_s in (0.2, 0.6, 1.2):
            agent.kill()
            agent.spawn()
            time.sleep(pause_s)
        restart(agent)
        assert only_task(agent)["state"] == "TASK_RUNNING"
        assert running.states == ["TASK_STARTING", "TASK_RUNNING"]


def test_updates_that_the_master_did_not_acknowledge(scene: Scene) -> None:
    """Written before the agent was killed, they are sent by the next process, once."""
    master = scene.master()
    agent = scene.agent(master)
    script = "while [ ! -e end ]; do sleep 0.1; done"
    with executing(scene, agent, "kept", "--checkpoint", f"--command={script}") as running:
        running.until("TASK_RUNNING")
        master.kill()
        Path(agent.sandbox("kept"), "end").touch()
        pid = forked_pid(agent)
        eventually(lambda: has_ended(pid), 60, "the acknowledged executor to leave")
        agent.kill()
        master.start()
        agent.spawn()
        agent.wait_until_registered()
        running.until("TASK_FINISHED")
        assert running.program.wait() == 0
        assert running.states == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


def test_who_asks_while_the_agent_recovers(scene: Scene) -> None:
    agent = scene.agent(scene.master())
    with executing(scene, agent, "on", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        os.kill(forked_pid(agent), signal.SIGSTOP)
        agent.kill()
        agent.flags["executor_reregistration_timeout"] = "8secs"
        agent.spawn()
        wanted = (503, "Agent has not finished recovery")
        eventually(lambda: status_of(agent, "/state") == wanted, 60, "an agent that recovers")
        assert status_of(agent, "/health")[0] == 200
        assert status_of(agent, "/metrics/snapshot")[0] == 200
        os.kill(forked_pid(agent), signal.SIGCONT)
        agent.wait_until_registered()
        assert only_task(agent)["state"] == "TASK_RUNNING"


def status_of(agent: OurAgent, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{agent.address}{path}", timeout=60) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
