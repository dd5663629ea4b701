# SPDX-License-Identifier: Apache-2.0
"""The work directory has no room left, really: it is on a tmpfs of two megabytes."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.processes import eventually, get_json
from integration.scene import Scene
from integration.test_recovery import executing, only_task, restart

pytestmark = [pytest.mark.integration, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


class SmallDisk:
    """A file system of its own for a work directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        os.makedirs(directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", directory], check=True)

    @property
    def _filler(self) -> Path:
        return Path(self.directory, "filler")

    def fill(self) -> None:
        """Leave not one free block."""
        with open(self._filler, "ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    pass
        assert os.statvfs(self.directory).f_bavail == 0

    def free(self) -> None:
        self._filler.unlink()

    def close(self) -> None:
        if os.path.ismount(self.directory):
            subprocess.run(["umount", "-l", self.directory], check=True)


@pytest.fixture
def full(scene: Scene) -> Iterator[tuple[OurAgent, SmallDisk]]:
    agent = scene.prepare_agent(scene.master(), gc_delay="1weeks", disk_watch_interval="1secs")
    disk = SmallDisk(agent.work_dir)
    yield agent, disk
    agent.clean()
    disk.close()


def metric(agent: OurAgent, name: str) -> float:
    return float((get_json(agent.address, "/metrics/snapshot") or {}).get(name, -1.0))


@pytest.mark.parametrize("shared", [False, True], ids=["work_dir", "runtime_dir and log_dir, too"])
def test_a_full_disk(scene: Scene, full: tuple[OurAgent, SmallDisk], shared: bool) -> None:
    agent, disk = full
    if shared:
        agent.flags["runtime_dir"] = os.path.join(agent.work_dir, "run")
        agent.flags["log_dir"] = os.path.join(agent.work_dir, "log")
    agent.start()
    script = "while [ ! -e end ]; do sleep 0.1; done"
    with executing(scene, agent, "old", "--checkpoint", f"--command={script}") as running:
        running.until("TASK_RUNNING")
        old = agent.sandbox("old")
        Path(old, "end.not").touch()
        disk.fill()

        for arguments in (("--checkpoint",), ()):
            refused = scene.execute(agent.master, "--name=new", "--command=true", *arguments)
            assert refused.states == ["TASK_DROPPED"], str(refused)
            assert "No space left on device" in refused.stdout
        assert only_task(agent)["state"] == "TASK_RUNNING"

        restart(agent)
        assert only_task(agent)["state"] == "TASK_RUNNING"
        refused = scene.execute(agent.master, "--name=new", "--command=true")
        assert "No space left on device" in refused.stdout

        os.rename(Path(old, "end.not"), Path(old, "end"))
        # Its last update may still fit into the last block of a file; if not, it waits for room.
        disk.free()
        running.until("TASK_FINISHED")
        assert running.program.wait() == 0
    done = scene.execute(agent.master, "--name=later", "--checkpoint", "--command=true")
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert metric(agent, "gc/path_removals_failed") == 0.0


def test_old_sandboxes_make_room(scene: Scene, full: tuple[OurAgent, SmallDisk]) -> None:
    """A task fills the disk; what it leaves goes at the next look at the disk."""
    agent, _ = full
    agent.start()
    greedy = "--command=cat /dev/zero > big"
    with executing(scene, agent, "on", "--checkpoint", "--command=sleep 1000") as running:
        running.until("TASK_RUNNING")
        kept = agent.sandbox("on")
        before = metric(agent, "gc/path_removals_succeeded")
        done = scene.execute(agent.master, "--name=greedy", greedy)
        assert done.states[-1] == "TASK_FAILED", str(done)
        eventually(lambda: not agent.sandboxes("greedy"), 60, "the sandbox to go")
        eventually(
            lambda: metric(agent, "gc/path_removals_succeeded") > before, 60, "it to be counted"
        )
        age = "slave/executor_directory_max_allowed_age_secs"
        eventually(lambda: metric(agent, age) > 0, 60, "the next look at the disk")
        done = scene.execute(agent.master, "--name=later", "--command=true")
        done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
        assert os.path.isdir(kept)
        assert only_task(agent)["state"] == "TASK_RUNNING"


def test_the_age_of_what_an_earlier_process_left(scene: Scene) -> None:
    """It counts from the last change on, not from the start of the agent."""
    agent = scene.agent(scene.master(), gc_delay="1days")
    sandboxes = {}
    for name in ("old", "new"):
        scene.execute(agent.master, f"--name={name}", "--checkpoint", "--command=true")
        sandboxes[name] = Path(agent.sandbox(name))
    agent.kill()
    framework = sandboxes["old"].parents[3]
    two_days_ago = time.time() - 2 * 86400
    checkpoints = Path(agent.work_dir, "meta", framework.relative_to(agent.work_dir))
    for top in (framework, checkpoints):
        assert top.is_dir()
        for folder, _, _ in os.walk(top):
            os.utime(folder, (two_days_ago, two_days_ago))
    agent.spawn()
    agent.wait_until_registered()
    eventually(lambda: not framework.exists(), 60, f"{framework} to go")
    eventually(lambda: not checkpoints.exists(), 60, f"{checkpoints} to go")
    assert sandboxes["new"].is_dir()
    assert metric(agent, "gc/path_removals_pending") >= 1
    assert metric(agent, "gc/path_removals_succeeded") >= 1


def test_the_first_start_on_a_full_disk(scene: Scene, full: tuple[OurAgent, SmallDisk]) -> None:
    """It has no id that it could keep; as soon as it can, it takes tasks."""
    agent, disk = full
    disk.fill()
    agent.spawn()
    agent.wait_for_log("No space left on device")
    assert agent.running
    disk.free()
    agent.wait_until_registered()
    done = scene.execute(agent.master, "--name=later", "--checkpoint", "--command=true")
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    before = agent.state()["id"]
    restart(agent)
    assert agent.state()["id"] == before
