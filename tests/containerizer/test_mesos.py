# SPDX-License-Identifier: Apache-2.0
"""The life of containers, with fakes for everything around them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from containerizer.api import Containerizer, LaunchOutcome
from containerizer.isolators.caller import NamedIsolator
from containerizer.isolators.context import ContainerizerConfig
from containerizer.mesos import MesosContainerizer
from containerizer.provisioner.base import ProvisionInfo
from containerizer.rundir import RuntimeDirectory
from containerizer.switchboard.isolator import IOSwitchboard, SwitchboardConfig
from containerizer.volume_gids import VolumeGids
from mesos_compat.base.errors import ContainerError, IsolatorError, LaunchAborted, ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.fakes import (
    FakeIsolator,
    FakeLauncher,
    FakeProvisioner,
    NullLogger,
    Steps,
    TopLevelOnlyIsolator,
    forking_fails,
)

C = ContainerId("c")
N = ContainerId("n", C)

#: The steps of a launch with an image, in order.
LAUNCH = ("provision c", "a prepare c", "b prepare c", "fork c", "a isolate c")

#: In which state of the container a step is taken, if not in PREPARING.
DURING = {"provision c": "provisioning", "a isolate c": "isolating"}

ALWAYS_KEPT = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="kept"))

DESTROY_ERRORS = "containerizer/mesos/container_destroy_errors"


class World:
    """A containerizer and all that is around it."""

    def __init__(self, folder: Path, gids: VolumeGids | None = None) -> None:
        self.folder = folder
        self.steps = Steps()
        self.launcher = FakeLauncher(self.steps)
        self.provisioner = FakeProvisioner(self.steps, ProvisionInfo("/rootfs", ("/up",)))
        self.a = FakeIsolator("a", self.steps)
        self.b = FakeIsolator("b", self.steps)
        self.top = TopLevelOnlyIsolator("top", self.steps)
        self.metrics = Metrics()
        self.rundir = RuntimeDirectory(str(folder / "run"))
        self.mesos = MesosContainerizer(
            ContainerizerConfig(
                work_dir=str(folder),
                runtime_dir=str(folder / "run"),
                launcher="linux",
                kept_images=(ALWAYS_KEPT,),
            ),
            self.launcher,
            self.provisioner,
            IOSwitchboard(SwitchboardConfig(), NullLogger(), self.rundir.path),
            [
                NamedIsolator("a", self.a),
                NamedIsolator("b", self.b),
                NamedIsolator("top", self.top),
            ],
            self.metrics,
            sandboxes=self,
            gids=gids,
        )
        #: What became of sandboxes of nested containers.
        self.collected: list[str] = []

    def schedule_aged(self, root: str, relative: str) -> None:
        assert root == str(self.folder / "sandbox")
        self.collected.append(relative)

    async def settled(self, path: str) -> None:
        await self.steps.take(f"settled {os.path.relpath(path, self.folder / 'sandbox')}")

    def unschedule(self, path: str) -> None:
        self.collected.append(f"keep {os.path.relpath(path, self.folder / 'sandbox')}")

    def config(self, image: bool = True) -> slave.ContainerConfig:
        sandbox = self.folder / "sandbox"
        sandbox.mkdir(exist_ok=True)
        made = slave.ContainerConfig(directory=str(sandbox))
        made.command_info.value = "true"
        made.executor_info.executor_id.value = "e"
        made.resources.add(name="mem", type=pb.Value.SCALAR).scalar.value = 64
        if image:
            made.container_info.type = pb.ContainerInfo.MESOS
            made.container_info.mesos.image.type = pb.Image.DOCKER
            made.container_info.mesos.image.docker.name = "busybox"
        return made

    def nested(self) -> slave.ContainerConfig:
        made = slave.ContainerConfig()
        made.command_info.value = "true"
        return made

    async def launch(self, container_id: ContainerId = C, **options: bool) -> None:
        outcome = await self.mesos.launch(container_id, self.config(**options), {})
        assert outcome is LaunchOutcome.SUCCESS

    @property
    def destroy_errors(self) -> float:
        return self.metrics.snapshot()[DESTROY_ERRORS]


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    descriptors = len(os.listdir("/proc/self/fd"))
    made = World(tmp_path)
    yield made
    made.mesos.check()
    for container_id in made.a.watching:
        assert container_id in made.mesos.containers()
    await made.mesos.close()
    assert made.launcher.closed
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def implements(containerizer: Containerizer) -> Containerizer:
    return containerizer


async def test_a_container_lives_and_exits(world: World) -> None:
    implements(world.mesos)
    await world.launch()
    assert world.steps.done == [
        *("provision c", "a prepare c", "b prepare c", "top prepare c", "fork c"),
        *("a isolate c", "b isolate c", "top isolate c", "release"),
    ]
    waiting = [asyncio.ensure_future(world.mesos.wait(C)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    world.steps.done.clear()
    world.launcher.exit(C, 256)
    for waiter in waiting:
        ended = await waiter
        assert ended == slave.ContainerTermination(status=256)
    assert world.steps.done == [
        *("kill c", "top cleanup c", "b cleanup c", "a cleanup c", "unprovision c")
    ]
    assert world.mesos.containers() == frozenset()
    assert not os.path.exists(world.rundir.path(C))
    assert await world.mesos.wait(C) is None
    assert await world.mesos.destroy(C) is None
    assert not await world.mesos.kill(C, signal.SIGKILL)


async def test_what_is_on_disk_while_it_runs(world: World) -> None:
    pid_file = str(world.folder / "meta" / "forked.pid")
    await world.mesos.launch(C, world.config(), {"A": "1"}, pid_file)
    directory = Path(world.rundir.path(C))
    pid = world.launcher.inits[C].pid
    assert sorted(os.listdir(directory)) == ["config", "launch_info", "pid"]
    assert (directory / "pid").read_text() == str(pid) == Path(pid_file).read_text()
    assert stat.S_IMODE((directory / "launch_info").stat().st_mode) == 0o600
    config = world.rundir.read_config(C)
    assert config is not None
    assert config.rootfs == "/rootfs"
    assert list(config.ephemeral_volumes) == ["/up"]
    info = world.rundir.read_launch_info(C)
    assert info == world.launcher.requests[C].launch_info
    assert info is not None
    assert info.rootfs == "/rootfs"
    assert [(v.name, v.value) for v in info.environment.variables] == [
        ("A", "1"),
        ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
    ]
    await world.mesos.destroy(C)


async def test_known_and_foreign_containers(world: World) -> None:
    await world.launch()
    again = await world.mesos.launch(C, world.config(), {})
    assert again is LaunchOutcome.ALREADY_LAUNCHED
    docker = world.config(image=False)
    docker.container_info.type = pb.ContainerInfo.DOCKER
    other = ContainerId("d")
    assert await world.mesos.launch(other, docker, {}) is LaunchOutcome.NOT_SUPPORTED
    assert world.mesos.containers() == {C}
    await world.mesos.destroy(C)


@pytest.mark.parametrize("step", LAUNCH)
async def test_destroy_during_each_step(world: World, step: str) -> None:
    world.steps.hold(step)
    launch = asyncio.ensure_future(world.launch())
    await world.steps.reached(step)
    destroy = asyncio.ensure_future(world.mesos.destroy(C))
    await asyncio.sleep(0)
    assert await world.mesos.launch(C, world.config(), {}) is LaunchOutcome.ALREADY_LAUNCHED
    assert not any("cleanup" in done for done in world.steps.done)
    if step != "provision c":
        world.steps.release(step)
    during = DURING.get(step, "preparing")
    with pytest.raises(LaunchAborted, match=rf"^Container is being destroyed during {during}$"):
        await launch
    ended = await destroy
    assert ended is not None
    assert ("provision c cancelled" in world.steps.done) == (step == "provision c")
    assert ("a cleanup c" in world.steps.done) == (step != "provision c")
    assert ("kill c" in world.steps.done) == (step in ("fork c", "a isolate c"))
    assert world.steps.done[-1] == "unprovision c"
    assert "release" not in world.steps.done
    assert ended.HasField("status") == (step == "a isolate c")
    assert world.mesos.containers() == frozenset()


@pytest.mark.parametrize("step", LAUNCH)
async def test_launch_cancelled_in_each_step(world: World, step: str) -> None:
    world.steps.hold(step)
    launch = asyncio.ensure_future(world.launch())
    await world.steps.reached(step)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert f"{step} cancelled" in world.steps.done
    assert all(init.aborted for init in world.launcher.inits.values())
    assert world.mesos.containers() == {C}
    assert await world.mesos.destroy(C) is not None
    assert world.mesos.containers() == frozenset()
    assert world.mesos.pending() == []


@pytest.mark.parametrize("step", LAUNCH)
async def test_launch_failing_in_each_step(world: World, step: str) -> None:
    world.steps.fail(step, forking_fails("broken"))
    with pytest.raises(ContainerError) as caught:
        await world.launch()
    prefix = {"fork c": "Failed to fork: ", "a isolate c": "Collect failed: "}.get(step, "")
    assert str(caught.value) == f"{prefix}broken"
    assert await world.mesos.destroy(C) is not None
    assert world.destroy_errors == 0
    assert world.mesos.containers() == frozenset()


async def test_both_destroyed_and_cancelled_is_cancelled(world: World) -> None:
    world.steps.hold("provision c")
    launch = asyncio.ensure_future(world.launch())
    await world.steps.reached("provision c")
    destroy = asyncio.ensure_future(world.mesos.destroy(C))
    await asyncio.sleep(0)
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    await destroy


async def test_a_callers_cancellation_does_not_stop_a_destroy(world: World) -> None:
    await world.launch()
    world.steps.hold("kill c")
    first = asyncio.ensure_future(world.mesos.destroy(C))
    await world.steps.reached("kill c")
    second = asyncio.ensure_future(world.mesos.destroy(C))
    first.cancel()
    await asyncio.sleep(0)
    world.steps.release("kill c")
    assert await second is not None
    assert world.steps.done.count("kill c") == 1


async def test_the_termination_tells_why(world: World) -> None:
    await world.launch()
    why = slave.ContainerTermination(state=pb.TASK_FAILED, message="m", status=5)
    why.reason = pb.TaskStatus.REASON_EXECUTOR_REGISTRATION_TIMEOUT
    ended = await world.mesos.destroy(C, why)
    why.status = 9
    assert ended == why


async def test_a_limitation_destroys(world: World) -> None:
    await world.launch()
    waiting = asyncio.ensure_future(world.mesos.wait(C))
    await asyncio.sleep(0)
    limitation = slave.ContainerLimitation(message="too much")
    limitation.reason = pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    limitation.resources.add(name="mem", type=pb.Value.SCALAR).scalar.value = 64
    world.b.limitations[C].set_result(limitation)
    ended = await waiting
    assert ended is not None
    assert ended.state == pb.TASK_FAILED
    assert ended.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert ended.message == "too much"
    assert list(ended.limited_resources) == list(limitation.resources)
    assert ended.status == 9


async def test_a_limitation_wins_over_the_exit_that_it_caused(world: World) -> None:
    await world.launch()
    await asyncio.sleep(0)
    world.launcher.exit(C, None)
    world.a.limitations[C].set_result(slave.ContainerLimitation(message="oom"))
    ended = await world.mesos.wait(C)
    assert ended is not None
    assert ended.message == "oom"


async def test_a_failing_watch_destroys_without_a_reason(world: World) -> None:
    await world.launch()
    await asyncio.sleep(0)
    world.a.limitations[C].set_exception(IsolatorError("blind"))
    ended = await world.mesos.wait(C)
    assert ended == slave.ContainerTermination(status=9)


async def test_a_failing_cleanup_keeps_the_container_for_ever(world: World) -> None:
    await world.launch()
    world.steps.fail("a cleanup c", IsolatorError("x"))
    world.steps.fail("top cleanup c", IsolatorError("y"))
    for _ in range(2):
        with pytest.raises(ContainerError) as caught:
            await world.mesos.destroy(C)
        assert str(caught.value) == (
            "Failed to clean up an isolator when destroying container: y; x"
        )
    with pytest.raises(ContainerError):
        await world.mesos.wait(C)
    assert "b cleanup c" in world.steps.done
    assert "unprovision c" not in world.steps.done
    assert world.destroy_errors == 1
    assert world.mesos.containers() == {C}


class Groups(VolumeGids):
    """Those of volumes, which writes down who lets go of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(((10000, 10001),), str(folder), str(folder), Metrics())
        self.done: list[str] = []
        self.failure: IsolatorError | None = None

    async def deallocate(self, path: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.done.append(path)


async def test_groups_in_a_sandbox_end_with_its_container(tmp_path: Path) -> None:
    """Before the isolators clean up, which do not when that fails."""
    gids = Groups(tmp_path)
    world = World(tmp_path, gids)
    await world.launch()
    await world.mesos.launch(N, world.nested(), {})
    await world.mesos.destroy(N)
    sandbox = str(tmp_path / "sandbox")
    assert gids.done == [f"{sandbox}/containers/n"]
    gids.failure = IsolatorError("x")
    why = "^Failed to deallocate gid when destroying container: x$"
    with pytest.raises(ContainerError, match=why):
        await world.mesos.destroy(C)
    assert "kill c" in world.steps.done
    assert "a cleanup c" not in world.steps.done
    await world.mesos.close()


async def test_the_switchboard_is_prepared_last_and_cleaned_up_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in ("prepare", "cleanup"):
        asked = getattr(IOSwitchboard, verb)

        async def noted(self: IOSwitchboard, *given: Any, asked: Any = asked) -> Any:
            world.steps.done.append(f"switchboard {asked.__name__}")
            return await asked(self, *given)

        monkeypatch.setattr(IOSwitchboard, verb, noted)
    await world.launch()
    await world.mesos.destroy(C)
    done = [step for step in world.steps.done if "prepare" in step or "cleanup" in step]
    assert done == [
        *("a prepare c", "b prepare c", "top prepare c", "switchboard prepare"),
        *("switchboard cleanup", "top cleanup c", "b cleanup c", "a cleanup c"),
    ]


async def test_failing_to_kill_stops_the_destroy(world: World) -> None:
    await world.launch()
    world.steps.fail("kill c", forking_fails("alive"))
    with pytest.raises(
        ContainerError, match=r"^Failed to kill all processes in the container: alive$"
    ):
        await world.mesos.destroy(C)
    assert "a cleanup c" not in world.steps.done


async def test_failing_to_remove_the_rootfs_stops_the_destroy(world: World) -> None:
    await world.launch()
    world.steps.fail("unprovision c", ProvisionError("busy"))
    with pytest.raises(ContainerError) as caught:
        await world.mesos.destroy(C)
    assert str(caught.value) == (
        "Failed to destroy the provisioned rootfs when destroying container: busy"
    )


async def test_nested_containers_go_first_and_are_remembered(world: World) -> None:
    await world.launch()
    assert await world.mesos.launch(N, world.nested(), {}) is LaunchOutcome.SUCCESS
    config = world.rundir.read_config(N)
    assert config is not None
    assert config.directory == str(world.folder / "sandbox" / "containers" / "n")
    assert stat.S_IMODE(os.stat(config.directory).st_mode) == 0o750
    assert config.executor_info.executor_id.value == "e"
    assert "top prepare c.n" not in world.steps.done
    with pytest.raises(ContainerError, match="Nested container has not terminated yet"):
        await world.mesos.remove(N)
    world.launcher.exit(N, 512)
    ended = await world.mesos.wait(N)
    assert ended == slave.ContainerTermination(status=512)
    assert await world.mesos.wait(N) == ended
    assert await world.mesos.destroy(N) == ended
    await world.mesos.launch(N, world.nested(), {})
    world.launcher.exit(N, 256)
    assert await world.mesos.wait(N) == slave.ContainerTermination(status=256)
    await world.mesos.remove(N)
    await world.mesos.remove(N)
    assert not os.path.exists(config.directory)
    assert await world.mesos.wait(N) is None
    await world.mesos.launch(N, world.nested(), {})
    world.steps.done.clear()
    await world.mesos.destroy(C)
    assert world.steps.done.index("unprovision c.n") < world.steps.done.index("kill c")
    assert await world.mesos.wait(N) is None


async def test_what_a_nested_container_may_not_have(world: World) -> None:
    with pytest.raises(ContainerError, match=r"^Parent container c does not exist$"):
        await world.mesos.launch(N, world.nested(), {})
    await world.launch()
    executor = world.nested()
    executor.executor_info.executor_id.value = "e"
    with pytest.raises(ContainerError, match="may not supply a TaskInfo/ExecutorInfo"):
        await world.mesos.launch(N, executor, {})
    with pytest.raises(ContainerError, match="may not be checkpointed"):
        await world.mesos.launch(N, world.nested(), {}, "/pid")
    world.steps.hold("kill c")
    destroy = asyncio.ensure_future(world.mesos.destroy(C))
    await world.steps.reached("kill c")
    with pytest.raises(ContainerError, match=r"^Parent container c is in 'DESTROYING' state$"):
        await world.mesos.launch(N, world.nested(), {})
    world.steps.release("kill c")
    await destroy


async def test_an_ended_nested_container_may_come_again(world: World) -> None:
    await world.launch()
    for wait_status in (256, 512):
        await world.mesos.launch(N, world.nested(), {})
        world.launcher.exit(N, wait_status)
        assert await world.mesos.wait(N) == slave.ContainerTermination(status=wait_status)
    await world.mesos.destroy(C)


async def test_removing_while_others_ask(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.launch()
    await world.mesos.launch(N, world.nested(), {})
    world.launcher.exit(N)
    await world.mesos.wait(N)
    begun, go_on = threading.Event(), threading.Event()

    def slow(root: str, container_id: ContainerId) -> None:
        begun.set()
        go_on.wait(60)
        raise ContainerError("Failed to remove the sandbox directory: x")

    monkeypatch.setattr("containerizer.sandbox.remove_nested", slow)
    removing = asyncio.ensure_future(world.mesos.remove(N))
    await asyncio.to_thread(begun.wait, 60)
    removing.cancel()
    for call in (world.mesos.remove(N), world.mesos.launch(N, world.nested(), {})):
        with pytest.raises(ContainerError, match=r"^Container c\.n is being removed$"):
            await call
    go_on.set()
    monkeypatch.undo()
    async with asyncio.timeout(60):
        while True:
            try:
                await world.mesos.remove(N)
                break
            except ContainerError:
                await asyncio.sleep(0.001)
    assert not (world.folder / "sandbox" / "containers" / "n").exists()
    await world.mesos.destroy(C)
    with pytest.raises(ContainerError, match=r"^Unknown root container$"):
        await world.mesos.remove(N)
    with pytest.raises(ContainerError, match=r"^Unknown container c$"):
        await world.mesos.attach_output(C, "application/json")


async def test_a_failing_nested_destroy_fails_the_parents(world: World) -> None:
    await world.launch()
    await world.mesos.launch(N, world.nested(), {})
    world.steps.fail("a cleanup c.n", IsolatorError("x"))
    with pytest.raises(ContainerError, match=r"^Failed to destroy nested containers: Failed to"):
        await world.mesos.destroy(C)
    assert world.destroy_errors == 2
    assert "kill c" not in world.steps.done


async def test_a_planted_link_does_not_move_a_nested_sandbox(world: World) -> None:
    await world.launch()
    outside = world.folder / "outside"
    outside.mkdir()
    (world.folder / "sandbox" / "containers").symlink_to(outside)
    with pytest.raises(ContainerError, match=r"^Failed to create nested sandbox "):
        await world.mesos.launch(N, world.nested(), {})
    assert list(outside.iterdir()) == []
    await world.mesos.destroy(C)


async def test_uris_are_refused_and_cleaned_up(world: World) -> None:
    config = world.config()
    config.command_info.uris.add(value="http://example.com/x")
    with pytest.raises(ContainerError, match=r"^Failed to fetch all URIs for container 'c'"):
        await world.mesos.launch(C, config, {})
    assert await world.mesos.destroy(C) == slave.ContainerTermination()


async def test_an_image_without_provisioner(world: World, tmp_path: Path) -> None:
    mesos = MesosContainerizer(
        ContainerizerConfig(work_dir="/", runtime_dir=str(tmp_path / "r"), launcher="posix"),
        world.launcher,
        None,
        IOSwitchboard(SwitchboardConfig(), NullLogger(), world.rundir.path),
        [],
        Metrics(),
    )
    with pytest.raises(ContainerError, match=r"^Unsupported container image type: DOCKER$"):
        await mesos.launch(C, world.config(), {})
    await mesos.destroy(C)
    await mesos.close()


async def test_standalone_containers_are_marked_and_hidden(world: World) -> None:
    config = world.config()
    config.ClearField("executor_info")
    await world.mesos.launch(C, config, {})
    assert "standalone.marker" in os.listdir(world.rundir.path(C))
    assert not any(done.startswith("top ") for done in world.steps.done)
    await world.mesos.destroy(C)
    assert not any(done.startswith("top ") for done in world.steps.done)


async def test_updates_reach_isolators_of_living_top_level_containers(world: World) -> None:
    await world.launch()
    more = [pb.Resource(name="cpus", type=pb.Value.SCALAR, scalar=pb.Value.Scalar(value=1.5))]
    await world.mesos.update(C, more, {"cpus": float("inf"), "mem": 100.7})
    assert "a update c" in world.steps.done
    used = await world.mesos.usage(C)
    assert used.mem_rss_bytes == 7
    assert used.cpus_soft_limit == 1.5
    assert used.cpus_limit == os.cpu_count()
    assert used.mem_limit_bytes == 100 << 20
    assert not used.HasField("mem_soft_limit_bytes")
    with pytest.raises(ContainerError):
        await world.mesos.update(N, more, {})
    world.steps.fail("a update c", IsolatorError("no"))
    with pytest.raises(ContainerError, match=r"^Collect failed: no$"):
        await world.mesos.update(C, more, {})
    await world.mesos.destroy(C)
    await world.mesos.update(C, more, {})


async def test_usage_and_status_of_unknown_containers(world: World) -> None:
    with pytest.raises(ContainerError, match=r"^Unknown container c$"):
        await world.mesos.usage(C)
    with pytest.raises(ContainerError, match=r"^Unknown container: c$"):
        await world.mesos.status(C)


async def test_failing_statistics_are_left_out(world: World) -> None:
    await world.launch()
    world.steps.fail("a usage c", IsolatorError("no"))
    world.steps.fail("a status c", IsolatorError("no"))
    assert (await world.mesos.usage(C)).mem_rss_bytes == 7
    status = await world.mesos.status(C)
    assert status.container_id == C.message()
    assert status.executor_pid == world.launcher.inits[C].pid
    await world.mesos.destroy(C)


async def test_kill_before_there_is_a_process_destroys(world: World) -> None:
    world.steps.hold("provision c")
    launch = asyncio.ensure_future(world.launch())
    await world.steps.reached("provision c")
    assert await world.mesos.kill(C, signal.SIGTERM)
    with pytest.raises(LaunchAborted):
        await launch
    await world.mesos.wait(C)


async def test_kill_of_a_vanished_process(world: World) -> None:
    await world.launch()
    with pytest.raises(ContainerError, match=r"^Unable to send signal to container: No such"):
        await world.mesos.kill(C, signal.SIGTERM)
    await world.mesos.destroy(C)


async def test_prune_keeps_what_is_used(world: World) -> None:
    await world.launch()
    kept = pb.Image(type=pb.Image.APPC)
    await world.mesos.prune_images([kept])
    used = world.config().container_info.mesos.image
    assert world.provisioner.pruned == [kept, ALWAYS_KEPT, used]
    await world.mesos.destroy(C)
    await world.mesos.prune_images([])
    assert world.provisioner.pruned == [ALWAYS_KEPT]


async def test_nothing_is_pruned_while_somebodys_image_is_unknown(world: World) -> None:
    world.launcher.orphans = frozenset({C})
    world.steps.hold("kill c")
    await world.mesos.recover([])
    with pytest.raises(ContainerError) as caught:
        await world.mesos.prune_images([])
    assert str(caught.value) == (
        "Container c does not have ContainerConfig checkpointed. Image pruning is disabled"
    )
    world.steps.release("kill c")
    await world.mesos.wait(C)


async def test_sandboxes_of_ended_nested_containers_are_let_go_of(world: World) -> None:
    await world.launch()
    await world.mesos.launch(N, world.nested(), {})
    assert world.collected == ["keep containers/n"]
    world.launcher.exit(N)
    await world.mesos.wait(N)
    assert world.collected[1:] == ["containers/n"]
    await world.mesos.remove(N)
    assert world.collected[2:] == ["keep containers/n"]
    await world.mesos.destroy(C)
    assert len(world.collected) == 3


@pytest.mark.parametrize("call", ["launch", "remove"])
async def test_a_sandbox_whose_removal_has_begun(world: World, call: str) -> None:
    await world.launch()
    await world.mesos.launch(N, world.nested(), {})
    world.launcher.exit(N)
    await world.mesos.wait(N)
    sandbox = world.folder / "sandbox" / "containers" / "n"
    world.steps.hold("settled containers/n")
    again = world.mesos.launch(N, world.nested(), {}) if call == "launch" else world.mesos.remove(N)
    waiting = asyncio.ensure_future(again)
    await world.steps.reached("settled containers/n")
    # the collector is in the middle of it, and done only later
    assert not waiting.done()
    assert sandbox.is_dir()
    shutil.rmtree(sandbox)
    world.steps.release("settled containers/n")
    await waiting
    assert sandbox.is_dir() is (call == "launch")
    await world.mesos.destroy(C)


async def test_a_launch_that_waited_finds_its_parent_gone(world: World) -> None:
    await world.launch()
    world.steps.hold("settled containers/n")
    waiting = asyncio.ensure_future(world.mesos.launch(N, world.nested(), {}))
    await world.steps.reached("settled containers/n")
    await world.mesos.destroy(C)
    world.steps.release("settled containers/n")
    with pytest.raises(ContainerError, match=r"^Parent container c does not exist$"):
        await waiting
    assert not (world.folder / "sandbox" / "containers").exists()


async def test_sandboxes_that_an_earlier_agent_kept_are_let_go_of(world: World) -> None:
    await world.launch()
    await world.mesos.launch(N, world.nested(), {})
    world.launcher.exit(N)
    await world.mesos.wait(N)
    await world.mesos.close()
    state = slave.ContainerState(
        container_id=C.message(), pid=world.launcher.inits[C].pid, directory="/"
    )
    state.executor_info.executor_id.value = "e"
    later = World(world.folder)
    await later.mesos.recover([state])
    assert later.collected == ["containers/n"]
    await later.mesos.destroy(C)
    await later.mesos.close()


async def test_closing_lets_waiters_go(world: World) -> None:
    await world.launch()
    waiting = asyncio.ensure_future(world.mesos.wait(C))
    await asyncio.sleep(0)
    await world.mesos.close()
    with pytest.raises(ContainerError, match=r"^The containerizer is closed$"):
        await waiting
    with pytest.raises(ContainerError, match=r"^The containerizer is closed$"):
        await world.mesos.destroy(C)
    assert not any(done.startswith("kill") for done in world.steps.done)


async def test_closing_during_a_destroy(world: World) -> None:
    await world.launch()
    world.steps.hold("kill c")
    destroying = asyncio.ensure_future(world.mesos.destroy(C))
    await world.steps.reached("kill c")
    await world.mesos.close()
    with pytest.raises(ContainerError, match=r"^The destroy of container c did not end$"):
        await destroying
