# SPDX-License-Identifier: Apache-2.0
"""What is written for which request, with the values seen on a real agent."""

from __future__ import annotations

import math

import pytest

from containerizer.isolators.cgroups.cpu import quota_us, shares
from containerizer.isolators.cgroups.devices import DEFAULT_ENTRIES, Devices
from containerizer.isolators.cgroups.memory import limit_bytes, limitation, oom_score_adj
from containerizer.isolators.context import ContainerizerConfig
from mesos_compat.base.errors import IsolatorError
from mesos_compat.pb.mesos import mesos_pb2 as pb

MB = 1 << 20


@pytest.mark.parametrize(
    ("cpus", "revocable", "expected"),
    [(0.6, False, 614), (0.101, False, 103), (0.35, False, 358), (0.001, False, 2), (2, True, 20)],
)
def test_shares(cpus: float, revocable: bool, expected: int) -> None:
    assert shares(cpus, revocable) == expected


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [(0.6, 60000), (0.101, 10100), (2.1, 210000), (0.001, 1000), (math.inf, -1)],
)
def test_quota(cpus: float, expected: int) -> None:
    assert quota_us(cpus) == expected


@pytest.mark.parametrize(
    ("megabytes", "expected"), [(160, 160 * MB), (47.9, 47 * MB), (5, 32 * MB), (math.inf, -1)]
)
def test_memory_limit(megabytes: float, expected: int) -> None:
    assert limit_bytes(megabytes) == expected


def test_oom_score() -> None:
    assert oom_score_adj(96 * MB, 24105 * MB) == 997


def test_the_text_of_a_limitation() -> None:
    made = limitation(64 * MB, 64 * MB, "cache 0\nrss 1\n")
    assert made.message == (
        "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB\n"
        "\nMEMORY STATISTICS: \ncache 0\nrss 1\n\n"
    )
    assert made.reason == pb.TaskStatus.REASON_CONTAINER_LIMITATION_MEMORY
    assert [(r.name, r.scalar.value) for r in made.resources] == [("mem", 64.0)]
    assert not made.resources[0].HasField("role")
    assert not made.resources[0].HasField("allocation_info")
    bare = limitation(None, None, None)
    assert bare.message == "Memory limit exceeded: "
    assert bare.resources[0].scalar.value == 0


def devices(**entry: object) -> ContainerizerConfig:
    allowed = pb.DeviceWhitelist()
    allowed.allowed_devices.add(**entry)
    return ContainerizerConfig("/", "/", "linux", allowed_devices=allowed)


def test_allowed_devices() -> None:
    config = devices(device={"path": "/dev/null"}, access={"read": True, "mknod": True})
    made = Devices.create("/", config)
    assert made._entries == (*DEFAULT_ENTRIES, "c 1:3 rm")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"device": {}, "access": {}}, "Whitelisted device has no device path provided"),
        (
            {"device": {"path": "/dev/null"}, "access": {"read": False}},
            "Could not whitelist device '/dev/null' without any access privileges",
        ),
        (
            {"device": {"path": "/none"}, "access": {"read": True}},
            "Failed to obtain device ID for '/none': No such file or directory",
        ),
        (
            {"device": {"path": "/"}, "access": {"read": True}},
            "Failed to determine device type for '/'",
        ),
    ],
)
def test_refused_devices(entry: dict[str, object], text: str) -> None:
    with pytest.raises(IsolatorError) as caught:
        Devices.create("/", devices(**entry))
    assert str(caught.value) == text
