# SPDX-License-Identifier: Apache-2.0
"""Which profile a container gets."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from containerizer.init.seccomp import Filters
from containerizer.isolators import seccomp_profile
from containerizer.isolators.linux_capabilities import CapabilitiesIsolator
from containerizer.isolators.linux_seccomp import SeccompIsolator, filters_of
from containerizer.linux import seccomp
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.seccomp import seccomp_pb2
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.isolators.test_seccomp_profile import profile, rule
from tests.suites.isolators import context

C = ContainerId("c")
N = ContainerId("n", C)
KILL = seccomp_pb2.ContainerSeccompProfile.Syscall.ACT_KILL
ERRNO = seccomp_pb2.ContainerSeccompProfile.Syscall.ACT_ERRNO


class World:
    """A folder of profiles and an isolator over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configs: dict[ContainerId, slave.ContainerConfig] = {}
        os.mkdir(folder / "profiles")
        for name, action in (("kill", "SCMP_ACT_KILL"), ("errno", "SCMP_ACT_ERRNO")):
            self.write(name, profile(rule("read"), defaultAction=action))
        self.write("bad", {})

    def write(self, name: str, document: object) -> None:
        (self.folder / "profiles" / name).write_text(json.dumps(document))

    def isolator(
        self, default: str | None = None, capabilities: CapabilitiesIsolator | None = None
    ) -> SeccompIsolator:
        return SeccompIsolator(
            str(self.folder / "profiles"),
            default,
            capabilities,
            lambda _: str(self.folder),
            self.configs.get,
        )

    def filters(self) -> Filters:
        made = filters_of(str(self.folder))
        assert made is not None
        return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def config(**fields: object) -> slave.ContainerConfig:
    made = slave.ContainerConfig()
    if fields:
        info = pb.SeccompInfo(**fields)  # type: ignore[arg-type]  # whatever a test says
        made.container_info.linux_info.seccomp.CopyFrom(info)
    return made


async def action(
    isolator: SeccompIsolator, asked: slave.ContainerConfig, container_id: ContainerId = C
) -> int | None:
    info = await isolator.prepare(container_id, asked)
    return None if info is None else info.seccomp_profile.default_action


async def test_profile_of_the_agent_and_of_a_container(world: World) -> None:
    assert await action(world.isolator(), slave.ContainerConfig()) is None
    isolator = world.isolator("kill")
    assert await action(isolator, slave.ContainerConfig()) == KILL
    assert await action(isolator, config(profile_name="errno")) == ERRNO
    assert await action(isolator, config(profile_name="errno", unconfined=False)) == ERRNO
    assert await action(isolator, config(unconfined=True)) is None
    assert await action(isolator, slave.ContainerConfig(), N) == KILL


async def test_sessions_have_the_profile_of_their_container(world: World) -> None:
    isolator = world.isolator("kill")
    session = slave.ContainerConfig(container_class=slave.ContainerClass.DEBUG)
    assert await action(isolator, session, N) == KILL
    world.configs[C] = config(profile_name="errno")
    assert await action(isolator, session, N) == ERRNO
    world.configs[C] = config(unconfined=True)
    assert await action(isolator, session, N) is None
    session.container_info.linux_info.seccomp.profile_name = "errno"
    assert await action(isolator, session, N) == ERRNO


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (
            config(unconfined=True, profile_name="kill"),
            "Invalid Seccomp configuration: 'profile_name' given even though 'unconfined' Seccomp"
            " setting is enabled",
        ),
        (config(unconfined=False), "Missing Seccomp profile name"),
        (config(profile_name="none"), "Failed to read Seccomp profile file '{}/none': No such"),
        (config(profile_name="."), "Failed to read Seccomp profile file '{}/.': "),
        (config(profile_name="../x"), "It is not in '{}'"),
        (config(profile_name="/etc/passwd"), "It is not in '{}'"),
        (config(profile_name="a\0"), "It is not in '{}'"),
        (config(profile_name="bad"), "Failed to parse Seccomp profile '{}/bad': Cannot determine"),
    ],
)
async def test_what_is_refused(world: World, asked: slave.ContainerConfig, error: str) -> None:
    with pytest.raises(IsolatorError) as caught:
        await world.isolator().prepare(C, asked)
    assert error.format(world.folder / "profiles") in str(caught.value)
    assert filters_of(str(world.folder)) is None


async def test_special_and_huge_files_are_refused(world: World) -> None:
    os.mkfifo(world.folder / "profiles" / "pipe")
    (world.folder / "profiles" / "huge").write_bytes(b" " * (2 << 20))
    for name, error in (("pipe", "Not a regular file"), ("huge", "File too large")):
        with pytest.raises(IsolatorError, match=error):
            await world.isolator().prepare(C, config(profile_name=name))


async def test_capabilities_of_a_container_decide(world: World) -> None:
    admin = {"caps": ["CAP_SYS_ADMIN"]}
    world.write("caps", profile(rule("mount", includes=admin), rule("ptrace", excludes=admin)))
    with pytest.raises(IsolatorError, match="bad"):
        world.isolator("bad")
    isolator = world.isolator("caps", CapabilitiesIsolator(None, None))
    few = slave.ContainerConfig()
    few.container_info.linux_info.bounding_capabilities.SetInParent()
    info = await isolator.prepare(C, few)
    restricted = world.filters()
    parsed = seccomp_profile.parse((world.folder / "profiles" / "caps").read_bytes())
    assert restricted.command == seccomp.translate(parsed, 0)
    assert not restricted.by_program
    # It is the profile that is told, not what became of it.
    assert info is not None
    assert len(info.seccomp_profile.syscalls) == 2
    few.container_info.linux_info.ClearField("bounding_capabilities")
    few.container_info.linux_info.effective_capabilities.capabilities.append(
        pb.CapabilityInfo.SYS_ADMIN
    )
    await isolator.prepare(C, few)
    assert world.filters().command == seccomp.translate(parsed, 1 << 21)


async def test_filter_of_a_task_with_an_image_is_left_to_its_executor(world: World) -> None:
    asked = slave.ContainerConfig(rootfs="/r")
    isolator = world.isolator("kill")
    await isolator.prepare(C, asked)
    nested = world.filters()
    asked.task_info.name = "t"
    await isolator.prepare(C, asked)
    assert world.filters() == dataclasses.replace(nested, by_program=True)


def test_unusable_hosts_and_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(IsolatorError, match="Linux Seccomp isolator requires root permissions"):
        SeccompIsolator.create(context(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(IsolatorError, match="Missing required `--seccomp_config_dir` flag"):
        SeccompIsolator.create(context(tmp_path))
    folder = str(tmp_path)
    with pytest.raises(IsolatorError, match="Failed to read Seccomp profile file"):
        SeccompIsolator.create(
            context(tmp_path, seccomp_config_dir=folder, seccomp_profile_name="none")
        )
    SeccompIsolator.create(context(tmp_path, seccomp_config_dir=folder))
    monkeypatch.setattr(seccomp, "supported", lambda: False)
    with pytest.raises(IsolatorError, match="Seccomp is not supported by the kernel"):
        SeccompIsolator.create(context(tmp_path))
