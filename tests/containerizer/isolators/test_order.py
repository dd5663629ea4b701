# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from containerizer.create import check_images, create_containerizer
from containerizer.isolators import order
from containerizer.isolators.context import ContainerizerConfig
from containerizer.isolators.filesystem_posix import PosixFilesystemIsolator
from containerizer.isolators.order import normalised, ordered, supported
from containerizer.mesos import MesosContainerizer
from mesos_compat.base.errors import FlagError, IsolatorError
from mesos_compat.base.metrics import Metrics
from tests.containerizer.fakes import FakeLauncher, Steps

PREFIX = "Failed to create a containerizer: "
MESOS = f"{PREFIX}Could not create MesosContainerizer: "


def names(isolation: str) -> list[str]:
    return ordered(normalised(isolation, images=False, launcher="linux"))


#: What every isolation has.
IMPLIED = ("filesystem/posix", "network/cni", "environment_secret")


@pytest.mark.parametrize(
    ("isolation", "expected"),
    [
        (
            "posix/cpu,posix/mem",
            "filesystem/posix posix/cpu posix/mem network/cni environment_secret",
        ),
        ("process", "filesystem/posix posix/cpu posix/mem network/cni environment_secret"),
        ("cgroups", "filesystem/posix cgroups network/cni environment_secret"),
        (
            "docker/runtime,filesystem/linux",
            "filesystem/linux docker/runtime volume/sandbox_path volume/host_path volume/image"
            " network/cni environment_secret",
        ),
        (
            "my/b,cgroups/mem,my/a,cgroups/cpu,appc/runtime,network/ports",
            "filesystem/posix cgroups appc/runtime network/cni network/ports environment_secret"
            " my/b my/a",
        ),
        ("filesystem/mine,network/mine", "environment_secret filesystem/mine network/mine"),
        ("", "filesystem/posix network/cni environment_secret"),
    ],
)
def test_normalised_and_ordered(isolation: str, expected: str) -> None:
    assert names(isolation) == expected.split()


@pytest.mark.parametrize(
    ("isolation", "launcher", "providers", "text"),
    [
        (
            "docker/runtime,cgroups/cpu",
            "linux",
            "docker",
            f"{MESOS}The 'filesystem/linux' isolator must be enabled for container image support",
        ),
        (
            "filesystem/linux,docker/runtime",
            "posix",
            "docker",
            f"{MESOS}The 'linux' launcher must be used for container image support",
        ),
        (
            "filesystem/linux,cgroups/cpu",
            "linux",
            "docker",
            "Docker runtime isolator has to be specified if 'DOCKER' is included in"
            " 'image_providers'. Please add 'docker/runtime' to '--isolation' flags",
        ),
        (
            "cgroups/cpu,cgroups/cpu",
            "linux",
            "",
            f"{MESOS}Duplicate entries found in --isolation flag '[ cgroups/cpu, cgroups/cpu ]'",
        ),
        (
            "filesystem/linux,filesystem/posix",
            "linux",
            "",
            f"{MESOS}Using multiple filesystem isolators simultaneously is disallowed",
        ),
        (
            "network/cni,network/port_mapping",
            "linux",
            "",
            f"{MESOS}Using multiple network isolators simultaneously is disallowed",
        ),
        ("nosuch", "posix", "", f"{MESOS}Unknown or unsupported isolator 'nosuch'"),
        ("disk/xfs", "posix", "", f"{MESOS}Unknown or unsupported isolator 'disk/xfs'"),
        (
            "cgroups/io",
            "linux",
            "",
            f"{MESOS}Failed to create isolator 'cgroups/all':"
            " Unknown or unsupported isolator 'cgroups/io'",
        ),
        (
            "cgroups/cpu",
            "posix",
            "",
            f"{MESOS}Failed to create isolator 'cgroups/all':"
            " 'linux' launcher must be used to enable cgroups isolators",
        ),
        (
            "filesystem/linux",
            "posix",
            "",
            f"{MESOS}Failed to create isolator 'filesystem/linux':"
            " 'filesystem/linux' isolator requires 'linux' launcher",
        ),
        (
            "namespaces/pid",
            "linux",
            "",
            f"{MESOS}Failed to create isolator 'namespaces/pid':"
            " 'filesystem/linux' must be used to enable pid namespace",
        ),
    ],
)
async def test_refusals(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    isolation: str,
    launcher: str,
    providers: str,
    text: str,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    config = ContainerizerConfig(
        work_dir=str(tmp_path),
        runtime_dir=str(tmp_path),
        launcher=launcher,
        isolation=isolation,
        image_providers=tuple(filter(None, [providers])),
    )
    with pytest.raises(FlagError) as caught:
        create_containerizer(config, FakeLauncher(Steps()), None, Metrics())
    assert str(caught.value) == text


async def test_isolators_before_a_refused_one_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(PosixFilesystemIsolator, "close", lambda self: closed.append("posix"))
    config = ContainerizerConfig(
        work_dir=str(tmp_path),
        runtime_dir=str(tmp_path),
        launcher="posix",
        isolation="filesystem/posix,cgroups/cpu",
    )
    with pytest.raises(FlagError, match="cgroups/all"):
        create_containerizer(config, FakeLauncher(Steps()), None, Metrics())
    assert closed == ["posix"]


def test_images_are_checked_first(tmp_path: Path) -> None:
    config = ContainerizerConfig("/", str(tmp_path), "posix", image_providers=("APPC",))
    with pytest.raises(FlagError, match="must be enabled for container image support"):
        check_images(config)


@pytest.mark.parametrize(
    ("containerizers", "text"),
    [
        ("mesos,mesos", "Duplicate entries found in --containerizer flag 'mesos,mesos'"),
        ("docker", "Unknown or unsupported containerizer: docker"),
    ],
)
async def test_refused_containerizers(tmp_path: Path, containerizers: str, text: str) -> None:
    config = ContainerizerConfig(
        work_dir="/", runtime_dir=str(tmp_path), launcher="posix", containerizers=containerizers
    )
    with pytest.raises(FlagError) as caught:
        create_containerizer(config, FakeLauncher(Steps()), None, Metrics())
    assert str(caught.value) == PREFIX + text


async def test_the_default_isolation(tmp_path: Path) -> None:
    config = ContainerizerConfig(work_dir="/", runtime_dir=str(tmp_path), launcher="posix")
    made = create_containerizer(config, FakeLauncher(Steps()), None, Metrics())
    assert isinstance(made, MesosContainerizer)
    assert made.isolators == (
        "filesystem/posix",
        "posix/cpu",
        "posix/mem",
        "network/cni",
        "environment_secret",
    )
    await made.close()


def test_the_order_is_upstreams_and_foreign_ones_are_last() -> None:
    written = ["mine", "environment_secret", "network/cni", "cgroups/mem", "namespaces/pid"]
    written += ["cgroups/cpu", "other", "docker/runtime", "linux/seccomp", "volume/host_path"]
    assert ordered([*written, "filesystem/linux", "posix/rlimits", "appc/runtime"]) == [
        *("filesystem/linux", "posix/rlimits", "cgroups", "appc/runtime", "docker/runtime"),
        *("namespaces/pid", "volume/host_path", "linux/seccomp", "network/cni"),
        *("environment_secret", "mine", "other"),
    ]


def test_deprecated_names_and_repeated_ones() -> None:
    made = normalised("process,posix/disk", images=False, launcher="posix")
    assert made == ["posix/cpu", "posix/mem", "disk/du", *IMPLIED]
    assert normalised("cgroups,network/ports", images=False, launcher="linux") == [
        *("cgroups/cpu", "cgroups/mem", "network/ports"),
        *IMPLIED,
    ]
    assert normalised("filesystem/linux", images=False, launcher="linux") == [
        *("filesystem/linux", "network/cni", "volume/image", "volume/host_path"),
        *("volume/sandbox_path", "environment_secret"),
    ]
    with pytest.raises(IsolatorError, match=r"^Duplicate entries found in --isolation flag"):
        normalised("posix/cpu,posix/cpu", images=False, launcher="posix")


def test_implied_isolators_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "Group", lambda name: {"environment_secret", "cgroups"})
    names = ["environment_secret", "volume/image", "cgroups/mem"]
    assert supported(names, "cgroups/mem") == ["environment_secret", "cgroups/mem"]
    for unknown, written in (("volume/csi", ""), ("volume/image", "volume/image")):
        with pytest.raises(IsolatorError, match=rf"^Unknown or unsupported isolator '{unknown}'$"):
            supported([unknown], written)
