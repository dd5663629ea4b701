# SPDX-License-Identifier: Apache-2.0
"""Isolators that say with which privileges a container runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from containerizer.isolators.linux_capabilities import CapabilitiesIsolator
from containerizer.isolators.linux_nnp import NoNewPrivilegesIsolator
from containerizer.isolators.posix_rlimits import PosixRlimitsIsolator
from containerizer.linux import caps
from containerizer.provisioner.appc_details import AppcApp
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.isolators.test_small import context

C = ContainerId("c")
_Names = list[str] | None


def capabilities(names: list[str]) -> pb.CapabilityInfo:
    made = pb.CapabilityInfo()
    made.capabilities.extend(getattr(pb.CapabilityInfo, name) for name in names)
    return made


def made(names: _Names) -> pb.CapabilityInfo | None:
    return None if names is None else capabilities(names)


def config(effective: _Names = None, bounding: _Names = None) -> slave.ContainerConfig:
    asked = slave.ContainerConfig()
    info = asked.container_info.linux_info
    if effective is not None:
        info.effective_capabilities.CopyFrom(capabilities(effective))
    if bounding is not None:
        info.bounding_capabilities.CopyFrom(capabilities(bounding))
    return asked


async def test_limits_are_handed_on(tmp_path: Path) -> None:
    isolator = PosixRlimitsIsolator.create(context(tmp_path))
    asked = slave.ContainerConfig()
    assert await isolator.prepare(C, asked) is None
    asked.container_info.rlimit_info.rlimits.add(type=pb.RLimitInfo.RLimit.RLMT_CORE, soft=1)
    info = await isolator.prepare(C, asked)
    assert info is not None
    assert info.rlimits == asked.container_info.rlimit_info


async def test_no_container_gets_new_privileges(tmp_path: Path) -> None:
    isolator = NoNewPrivilegesIsolator.create(context(tmp_path))
    info = await isolator.prepare(C, slave.ContainerConfig())
    assert info == slave.ContainerLaunchInfo(no_new_privileges=True)


@pytest.mark.parametrize(
    ("flags", "asked", "expected"),
    [
        ((None, None), (None, None), None),
        ((None, None), (["KILL"], None), (["KILL"], ["KILL"])),
        ((None, None), (None, ["KILL"]), (None, ["KILL"])),
        ((None, None), ([], None), ([], [])),
        ((["CHOWN"], None), (None, None), (["CHOWN"], ["CHOWN"])),
        ((["CHOWN"], ["CHOWN", "KILL"]), (None, None), (["CHOWN"], ["CHOWN", "KILL"])),
        ((["CHOWN"], ["CHOWN", "KILL"]), (["KILL"], ["KILL"]), (["KILL"], ["KILL"])),
        (
            (None, ["CHOWN"]),
            (["KILL", "CHOWN"], None),
            "Requested capabilities '{ CHOWN, KILL }', but only '{ CHOWN }' are allowed",
        ),
        (
            (None, ["CHOWN"]),
            (None, ["KILL"]),
            "Bounding capabilities '{ KILL }', but only '{ CHOWN }' are allowed",
        ),
    ],
)
async def test_sets_of_capabilities(
    flags: tuple[_Names, _Names],
    asked: tuple[_Names, _Names],
    expected: tuple[_Names, _Names] | str | None,
) -> None:
    isolator = CapabilitiesIsolator(made(flags[0]), made(flags[1]))
    if isinstance(expected, str):
        with pytest.raises(IsolatorError) as caught:
            await isolator.prepare(C, config(*asked))
        assert str(caught.value) == expected
        return
    info = await isolator.prepare(C, config(*asked))
    if expected is None:
        assert info is None
        return
    wanted = slave.ContainerLaunchInfo(bounding_capabilities=made(expected[1]))
    if (effective := made(expected[0])) is not None:
        wanted.effective_capabilities.CopyFrom(effective)
    assert info == wanted


async def test_task_of_an_image_is_restricted_and_not_its_executor() -> None:
    isolator = CapabilitiesIsolator(None, None)
    asked = config(["KILL"])
    asked.task_info.name = "t"
    asked.rootfs = "/r"
    info = await isolator.prepare(C, asked)
    assert info is not None
    names = [argument.partition("=")[0] for argument in info.command.arguments]
    assert names == ["--bounding_capabilities", "--effective_capabilities"]
    for argument in info.command.arguments:
        assert json.loads(argument.partition("=")[2]) == {"capabilities": ["KILL"]}
    assert [field.name for field, _ in info.ListFields()] == ["command"]
    assert [field.name for field, _ in info.command.ListFields()] == ["arguments"]


async def test_what_is_asked_twice_is_refused() -> None:
    asked = config(["KILL"])
    asked.container_info.linux_info.capability_info.CopyFrom(capabilities(["KILL"]))
    with pytest.raises(IsolatorError, match="Only one of 'capability_info' or"):
        await CapabilitiesIsolator(None, None).prepare(C, asked)


def test_unusable_hosts_and_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IsolatorError, match="Allowed capabilities are not a subset of the bound"):
        CapabilitiesIsolator(capabilities(["KILL"]), capabilities([]))
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    with pytest.raises(IsolatorError, match="requires root permissions"):
        CapabilitiesIsolator.create(context(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(caps, "last", lambda: 63)
    with pytest.raises(IsolatorError, match="value '63' is greater than maximum supported number"):
        CapabilitiesIsolator.create(context(tmp_path))


@pytest.mark.parametrize("effective", [None, ["KILL", "NET_RAW"]])
@pytest.mark.parametrize("bounding", [None, ["KILL", "NET_RAW", "SYS_ADMIN"]])
async def test_an_appc_image_gives_capabilities_up(effective: _Names, bounding: _Names) -> None:
    name = "os/linux/capabilities-retain-set"
    app = AppcApp(image="i", isolators={name: {"set": ["CAP_KILL", "CAP_SYS_PTRACE"]}})
    isolator = CapabilitiesIsolator(made(effective), made(bounding), {C: app}.get)
    info = await isolator.prepare(C, slave.ContainerConfig())
    assert info is not None
    # never more than there was
    most = ["KILL", "SYS_PTRACE"] if effective is None and bounding is None else ["KILL"]
    assert info.bounding_capabilities == capabilities(most)
    assert info.HasField("effective_capabilities") == (effective is not None)
    if effective is not None:
        assert info.effective_capabilities == capabilities(["KILL"])
