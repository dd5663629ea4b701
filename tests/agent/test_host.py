# SPDX-License-Identifier: Apache-2.0
"""What the agent takes from its host: sandboxes, resources, names, locks, old directories."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from containerizer.api import Containerizer
from containerizer.linux import mount
from mesos_compat.agent import discovery, gauges, paths, settings
from mesos_compat.agent import gc as gc_module
from mesos_compat.agent.flags import parse_agent_flags
from mesos_compat.agent.gc import DiskWatch, GarbageCollector
from mesos_compat.agent.image_gc import ImageWatch, watch_images
from mesos_compat.agent.machine.state import AgentState
from mesos_compat.agent.sandbox import SandboxError, make_sandbox
from mesos_compat.agent.settings import agent_config
from mesos_compat.agent.workdir import DirectoryLock
from mesos_compat.base.clock import FakeClock
from mesos_compat.base.errors import ContainerError, FlagError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.libprocess.upid import Address
from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.agent.machine.driver import Driver, run
from tests.libprocess.waiting import until

# Sandboxes.


def test_a_sandbox_has_mode_owner_and_link(tmp_path: Path) -> None:
    first, second = tmp_path / "runs" / "1", tmp_path / "runs" / "2"
    make_sandbox(str(first), None)
    make_sandbox(str(second), None)
    assert stat.S_IMODE(first.stat().st_mode) == 0o750
    assert os.readlink(tmp_path / "runs" / "latest") == str(second)


def test_an_existing_sandbox_is_nobodys(tmp_path: Path) -> None:
    make_sandbox(str(tmp_path / "runs" / "1"), None)
    with pytest.raises(SandboxError, match="File exists"):
        make_sandbox(str(tmp_path / "runs" / "1"), None)


@pytest.mark.parametrize("user", ["no such user", "", "nul\0byte"])
def test_an_unknown_user_leaves_no_sandbox(tmp_path: Path, user: str) -> None:
    directory = tmp_path / "runs" / "1"
    with pytest.raises(SandboxError) as caught:
        make_sandbox(str(directory), user)
    assert str(caught.value) == (
        f"Failed to create executor directory '{directory}': Failed to chown directory to"
        f" '{user}': No such user '{user}'"
    )
    assert not directory.exists()


@pytest.mark.root
def test_a_sandbox_belongs_to_its_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    make_sandbox(str(tmp_path / "runs" / "1"), "nobody")
    assert (tmp_path / "runs" / "1").owner() == "nobody"


def test_paths() -> None:
    home = paths.executor("/w", AgentId("a"), FrameworkId("f"), ExecutorId("e"))
    assert home == "/w/slaves/a/frameworks/f/executors/e"
    assert paths.sandbox(home, ContainerId("c")) == f"{home}/runs/c"
    assert paths.latest_run(home) == f"{home}/runs/latest"


# Resources and names.


def scalars(text: str, tmp_path: Path) -> dict[str, float | None]:
    made = Resources.of(discovery.resources(text, "*", str(tmp_path)))
    return {name: made.scalar(name) for name in ("cpus", "mem", "disk")}


def test_what_is_not_mentioned_is_found_out(tmp_path: Path) -> None:
    made = Resources.of(discovery.resources("", "*", str(tmp_path)))
    assert made.scalar("cpus") == os.cpu_count()
    assert (made.scalar("mem") or 0) > 0
    assert (made.scalar("disk") or 0) > 0
    assert made.ranges("ports") == ((31000, 32000),)


def test_what_is_mentioned_is_taken(tmp_path: Path) -> None:
    made = scalars("cpus:0;mem(web):512;disk:3", tmp_path)
    assert made == {"cpus": None, "mem": 512.0, "disk": 3.0}


@pytest.mark.parametrize(
    ("total_gb", "expected_mb"), [(1, 512), (2, 1024), (3, 2048), (24, 23 * 1024)]
)
def test_memory_is_left_to_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, total_gb: int, expected_mb: int
) -> None:
    known = {"SC_PHYS_PAGES": total_gb * (1 << 18), "SC_PAGE_SIZE": 1 << 12}
    monkeypatch.setattr(os, "sysconf", known.__getitem__)
    assert scalars("", tmp_path)["mem"] == expected_mb


@pytest.mark.parametrize(
    "text",
    [
        "cpus",
        "cpus:one",
        '[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"source":{"type":"BLOCK"}}}]',
        '[{"name":"disk","type":"SCALAR","scalar":{"value":1},'
        '"disk":{"source":{"type":"MOUNT","mount":{"root":"/no/such/mount"}}}}]',
    ],
)
def test_unusable_resources_stop_the_start(text: str, tmp_path: Path) -> None:
    with pytest.raises(FlagError):
        discovery.resources(text, "*", str(tmp_path))


def test_host_names() -> None:
    assert discovery.hostname("given", True, "10.0.0.1") == "given"
    assert discovery.hostname(None, False, "10.0.0.1") == "10.0.0.1"
    with pytest.raises(FlagError, match="Failed to get hostname: "):
        discovery.hostname(None, True, "not an address at all!")


def test_settings_from_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LIBRARY_FOLDERS", ())
    flags = parse_agent_flags(
        [
            "--master=127.0.0.1:5050",
            "--ip=127.0.0.1",
            "--hostname=h",
            f"--work_dir={tmp_path}",
            f"--launcher_dir={tmp_path}",
            "--attributes=rack:r1",
            '--executor_environment_variables={"A":"b"}',
            '--default_container_info={"type":"MESOS"}',
            "--no-switch_user",
        ],
        {},
    )
    made = agent_config(flags, Address("127.0.0.1", 5051), str(tmp_path), {})
    assert made.pid == "slave(1)@127.0.0.1:5051"
    assert made.info.hostname == "h"
    assert [a.text.value for a in made.info.attributes] == ["r1"]
    assert made.executor_environment == (("LIBPROCESS_IP", "127.0.0.1"), ("A", "b"))
    assert made.default_container_info == pb.ContainerInfo(type=pb.ContainerInfo.MESOS)
    assert made.command_executor is None
    assert "No such file or directory" in made.command_executor_error
    assert not made.switch_user


@pytest.mark.parametrize("given", [{}, {"MESOS_NATIVE_LIBRARY": "/mine"}])
def test_where_upstreams_library_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    monkeypatch.setattr(settings, "LIBRARY_FOLDERS", (f"{tmp_path}/none", str(tmp_path)))
    variables = f"--executor_environment_variables={json.dumps(given)}"
    flags = parse_agent_flags(["--master=127.0.0.1:5050", "--hostname=h", variables], {})

    def told() -> dict[str, str]:
        return dict(agent_config(flags, Address("127.0.0.1", 1), "/", {}).executor_environment)

    assert told() == given
    (tmp_path / "libmesos-1.11.0.so").touch()
    (tmp_path / "libmesos.so").symlink_to("libmesos-1.11.0.so")
    found = str(tmp_path / "libmesos-1.11.0.so")
    expected = {"MESOS_NATIVE_JAVA_LIBRARY": found, "MESOS_NATIVE_LIBRARY": found}
    assert told() == expected | given


@pytest.mark.parametrize(
    "flag", ['--default_container_info={"type":"BOX"}', "--attributes=x", "--resources=x"]
)
def test_unusable_flags_are_named(tmp_path: Path, flag: str) -> None:
    flags = parse_agent_flags(["--master=127.0.0.1:5050", "--hostname=h", flag], {})
    with pytest.raises(FlagError):
        agent_config(flags, Address("127.0.0.1", 5051), str(tmp_path), {})


def test_a_missing_executor_tells_the_task(tmp_path: Path) -> None:
    agent = Driver(command_executor=None, command_executor_error="it's missing")
    agent.register()
    agent.run_task(run())
    command = agent.executor().info.command
    assert command.shell
    assert command.value == "echo 'it'\"'\"'s missing'; exit 1"


# One agent per directory.


def test_a_directory_has_one_agent(tmp_path: Path) -> None:
    lock = DirectoryLock("work_dir", str(tmp_path / "w"))
    with pytest.raises(FlagError, match=r"Another agent is using .*--work_dir"):
        DirectoryLock("work_dir", str(tmp_path / "w"))
    lock.release()
    DirectoryLock("work_dir", str(tmp_path / "w")).release()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FlagError, match="Failed to make the directory"):
        DirectoryLock("work_dir", str(tmp_path / "file" / "w"))


# Old directories.


async def test_old_directories_go_after_the_delay(tmp_path: Path) -> None:
    clock, metrics, removed = FakeClock(), Metrics(FakeClock()), list[str]()
    old = tmp_path / "old"
    (old / "below").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("stays")
    (old / "link").symlink_to(outside)
    async with Scope("gc") as scope:
        gc = GarbageCollector(scope, clock, 100.0, metrics, removed.append)
        gc.schedule(str(old))
        gc.schedule(str(outside))
        gc.unschedule(str(outside))
        gc.schedule(str(tmp_path / "never was"))
        assert metrics.snapshot()["gc/path_removals_pending"] == 1
        clock.advance(99)
        assert old.exists()
        clock.advance(1)
        async with asyncio.timeout(60):
            await gc.settled(str(old))
    assert not old.exists()
    assert outside.read_text() == "stays"
    assert removed == [str(old)]
    assert metrics.snapshot()["gc/path_removals_succeeded"] == 1


@pytest.mark.parametrize("order", [("a", "a/b", "a/b/c", "d"), ("a/b/c", "a/b", "a", "d")])
async def test_no_two_removals_of_the_same_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Sequence[str]
) -> None:
    clock, removed = FakeClock(), list[str]()
    under_way = list[str]()
    parties = threading.Barrier(2)

    def remove(path: str, root: str, stop: object) -> None:
        under_way.append(path)
        # Two that have nothing to do with each other go on at the same time.
        if path in (f"{tmp_path}/{order[0]}", f"{tmp_path}/d"):
            parties.wait(60)
        overlaps = [each for each in under_way if each.startswith(str(tmp_path / "a"))]
        assert len(overlaps) <= 1
        under_way.remove(path)

    monkeypatch.setattr(gc_module, "_remove_tree", remove)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    async with Scope("gc") as scope:
        gc = GarbageCollector(scope, clock, 100.0, Metrics(FakeClock()), removed.append)
        for name in order:
            gc.schedule(str(tmp_path / name))
        clock.advance(100)
        await until(lambda: len(removed) == len(order))
    assert [path for path in removed if path != str(tmp_path / "d")] == [
        str(tmp_path / name) for name in order if name != "d"
    ]


@pytest.mark.root
async def test_what_is_mounted_is_unmounted_and_never_emptied(tmp_path: Path) -> None:
    volume, old = tmp_path / "volume", tmp_path / "old"
    (volume / "deep").mkdir(parents=True)
    (volume / "data").touch()
    (old / "one").mkdir(parents=True)
    mount.mount(str(volume), str(old / "one"), flags=mount.MS_BIND)
    mount.mount("none", str(old / "one" / "deep"), "tmpfs")
    clock, removed = FakeClock(), list[str]()
    async with Scope("gc") as scope:
        gc = GarbageCollector(scope, clock, 100.0, Metrics(FakeClock()), removed.append)
        gc.schedule(str(old))
        clock.advance(100)
        await until(lambda: removed == [str(old)])
    assert not old.exists()
    assert (volume / "data").exists()


async def test_age_counts_and_links_of_a_task_lead_nowhere(tmp_path: Path) -> None:
    clock, metrics = FakeClock(), Metrics(FakeClock())
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "containers" / "a", root / "links" / "b", outside / "b"):
        folder.mkdir(parents=True)
    os.utime(root / "containers" / "a", (0, clock.time() - 60))
    async with Scope("gc") as scope:
        gc = GarbageCollector(scope, clock, 100.0, metrics, lambda path: None)
        for relative in ("containers/a", "links/b", "never/was"):
            gc.schedule_aged(str(root), relative)
        shutil.rmtree(root / "links")
        (root / "links").symlink_to(outside)
        gc.schedule_aged(str(root), "links/c")
        clock.advance(39)
        assert metrics.snapshot()["gc/path_removals_pending"] == 2
        clock.advance(1)
        await until(lambda: not (root / "containers" / "a").exists())
        clock.advance(100)
        await until(lambda: metrics.snapshot()["gc/path_removals_pending"] == 0)
    assert (outside / "b").is_dir()


async def test_a_full_disk_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, clock, pruned = 0.5, FakeClock(), list[float]()
    go_on = asyncio.Event()

    def disk_usage(directory: str) -> float:
        if directory == "/none":
            raise FileNotFoundError(directory)
        return usage if directory == str(tmp_path) else 0.0

    monkeypatch.setattr("mesos_compat.agent.image_gc.disk_usage", disk_usage)

    class Images:
        async def prune_images(self, excluded: Sequence[pb.Image]) -> None:
            pruned.append(clock.now())
            await go_on.wait()
            raise ContainerError("some other time")

    async def tick(used: float) -> None:
        nonlocal usage
        usage = used
        await until(lambda: len(clock.pending) == 1)
        clock.advance(60)
        await until(lambda: len(clock.pending) == 1)

    async with Scope("images") as scope:
        watch = ImageWatch(("/none", "/empty", str(tmp_path)), 0.2, 60.0)
        watch_images(scope, clock, watch, cast(Containerizer, Images()))
        # headroom and usage are exactly 1 at 0.8; one that takes long is not joined by another
        for used, prunes in ((0.5, 0), (0.8, 0), (0.9, 1), (0.9, 1), (0.7, 1)):
            await tick(used)
            await until(lambda count=prunes: len(pruned) == count)  # type: ignore[misc]
        go_on.set()
        await until(lambda: len(scope) == 1)
        await tick(0.81)
        await until(lambda: len(pruned) == 2)
        await scope.close()


async def test_a_full_disk_shortens_the_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = 0.5
    monkeypatch.setattr(gc_module, "disk_usage", lambda directory: usage)
    clock, metrics = FakeClock(), Metrics(FakeClock())
    old, young = tmp_path / "old", tmp_path / "young"
    old.mkdir()
    young.mkdir()

    def age() -> float:
        return metrics.snapshot()["slave/executor_directory_max_allowed_age_secs"]

    async with Scope("gc") as scope:
        gc = GarbageCollector(scope, clock, 604800.0, metrics, lambda path: None)
        gc.watch(DiskWatch(str(tmp_path), 0.1, 60.0), metrics)
        assert age() == pytest.approx(544320.0)
        gc.schedule(str(old))
        clock.advance(100_000)
        gc.schedule(str(young))
        await until(lambda: len(clock.pending) == 3)
        clock.advance(60)
        await until(lambda: age() == pytest.approx(0.4 * 604800))
        assert old.exists()
        usage = 0.85
        await until(lambda: len(clock.pending) == 3)
        clock.advance(60)
        await until(lambda: not old.exists())
        assert young.exists()
        assert age() == pytest.approx(0.05 * 604800)
        usage = 1.0
        await until(lambda: len(clock.pending) == 2)
        clock.advance(60)
        await until(lambda: not young.exists())
        assert age() == 0
        await scope.close()


def test_disk_usage_is_a_share(tmp_path: Path) -> None:
    assert 0 <= gc_module.disk_usage(str(tmp_path)) <= 1


def test_gauges_that_come_later() -> None:
    agent, metrics = Driver(), Metrics(FakeClock())
    gauges.register(metrics, agent.state, FakeClock(), 7)
    agent.state.recovery_time_s = None
    early = metrics.snapshot()
    assert "slave/recovery_time_secs" not in early
    assert "resource_provider_manager/subscribed" not in early
    assert early["containerizer/fetcher/cache_size_total_bytes"] == 7
    agent.register()
    shown = metrics.snapshot()
    assert shown["slave/recovery_time_secs"] >= 0
    assert shown["resource_provider_manager/subscribed"] == 0


def test_gauges_show_the_state() -> None:
    agent, metrics = Driver(), Metrics(FakeClock())
    gauges.register(metrics, agent.state, FakeClock())
    agent.register()
    agent.run_task(run())
    shown = metrics.snapshot()
    assert shown["slave/registered"] == 1
    assert shown["slave/tasks_staging"] == 1
    assert shown["slave/executors_registering"] == 1
    assert shown["slave/cpus_total"] == 2
    assert shown["slave/cpus_used"] == 1.1
    assert shown["slave/cpus_percent"] == 0.55
    assert shown["slave/frameworks_active"] == 1
    assert isinstance(agent.state, AgentState)
