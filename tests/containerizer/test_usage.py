# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

from containerizer import session
from containerizer.linux import proc
from containerizer.usage import HostSize, statistics, status
from mesos_compat.base.errors import ContainerError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb

HOST = HostSize(cpus=2, memory_bytes=25276502016)
MB = 1 << 20


def asked(**amounts: float) -> list[pb.Resource]:
    return [
        pb.Resource(name=name, type=pb.Value.SCALAR, scalar=pb.Value.Scalar(value=value))
        for name, value in amounts.items()
    ]


@pytest.mark.parametrize(
    ("limits", "cfs", "cpus_limit", "mem_limit"),
    [
        ({}, False, None, 96 * MB),
        ({}, True, 0.35, 96 * MB),
        ({"cpus": 2.1, "mem": 160.9}, True, 2.1, 160 * MB),
        ({"cpus": math.inf, "mem": math.inf}, False, 2.0, 25276502016),
    ],
)
def test_limits(
    limits: dict[str, float], cfs: bool, cpus_limit: float | None, mem_limit: int
) -> None:
    made = statistics((), 5.0, asked(cpus=0.35, mem=96), limits, HOST, cfs)
    assert made.cpus_soft_limit == 0.35
    assert made.mem_soft_limit_bytes == 96 * MB
    assert (made.cpus_limit if made.HasField("cpus_limit") else None) == cpus_limit
    assert made.mem_limit_bytes == mem_limit
    assert made.timestamp == 5.0


def test_nothing_is_known_of_an_orphan() -> None:
    assert statistics((), 5.0, None, {}, HOST, True) == pb.ResourceStatistics(timestamp=5.0)


def test_parts_are_joined() -> None:
    parts = [
        pb.ResourceStatistics(timestamp=1.0, mem_rss_bytes=1),
        pb.ResourceStatistics(timestamp=2.0, mem_rss_bytes=2, processes=3),
    ]
    made = statistics(parts, 5.0, None, {}, HOST, False)
    assert (made.timestamp, made.mem_rss_bytes, made.processes) == (2.0, 2, 3)
    container_id = ContainerId("c")
    network = pb.ContainerStatus(network_infos=[pb.NetworkInfo(name="n")])
    joined = status(container_id, [network], 7)
    assert joined.container_id == container_id.message()
    assert joined.executor_pid == 7
    assert [info.name for info in joined.network_infos] == ["n"]
    assert not status(container_id, (), None).HasField("executor_pid")


@pytest.mark.parametrize(
    ("tree", "namespaces", "expected"),
    [
        ({1: [2], 2: [3]}, {1: 10, 2: 10, 3: 11}, 3),
        ({1: [2], 2: [3]}, {1: 10, 2: 10, 3: 10}, 1),
        ({1: [2], 2: []}, {1: 10, 2: 10}, "Cannot detect task process: no 2nd-level"),
        (
            {1: [2], 2: [3, 4]},
            {1: 10, 2: 10, 3: 11, 4: 12},
            "Cannot detect task process: unexpected number of candidates found: 2",
        ),
    ],
)
def test_the_mount_namespace_of_a_session(
    monkeypatch: pytest.MonkeyPatch,
    tree: dict[int, list[int]],
    namespaces: dict[int, int],
    expected: int | str,
) -> None:
    monkeypatch.setattr(proc, "children", lambda pid: tree.get(pid, []))
    monkeypatch.setattr(session, "identity", lambda pid, flag: namespaces[pid])
    entered: set[int] = set()
    monkeypatch.setattr(session, "_has_own_root", entered.__contains__)
    assert session.mount_namespace_target(1, image_of_task=False) == 1
    if isinstance(expected, int):
        assert session.mount_namespace_target(1, image_of_task=True) == expected
    else:
        with pytest.raises(ContainerError) as caught:
            session.mount_namespace_target(1, image_of_task=True)
        assert str(caught.value).startswith(expected)
    entered.add(1)
    assert session.mount_namespace_target(1, image_of_task=True) == 1
