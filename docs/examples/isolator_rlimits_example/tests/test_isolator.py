# SPDX-License-Identifier: Apache-2.0
"""The isolator alone: no agent, no root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mesos_rlimits_example import LABEL, RlimitsIsolator

from containerizer.isolators.context import ContainerizerConfig, IsolatorContext
from mesos_compat.base.errors import IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")


def create(folder: Path, binds: bool = False, **parameters: str) -> RlimitsIsolator:
    return RlimitsIsolator.create(
        IsolatorContext(
            ContainerizerConfig(work_dir=str(folder), runtime_dir=str(folder), launcher="posix"),
            frozenset({"filesystem/linux"} if binds else {"filesystem/posix"}),
            Metrics(),
            str,
            lambda _: None,
            parameters=tuple(parameters.items()),
        )
    )


def config(folder: Path, limit: str | None = None) -> slave.ContainerConfig:
    made = slave.ContainerConfig(directory=str(folder))
    if limit is not None:
        made.executor_info.labels.labels.add(key=LABEL, value=limit)
    return made


@pytest.mark.parametrize(("asked", "got"), [(None, 100), ("50", 50), ("5000", 100)])
async def test_the_limit(tmp_path: Path, asked: str | None, got: int) -> None:
    info = await create(tmp_path, max_open_files="100").prepare(C, config(tmp_path, asked))
    assert info is not None
    (limit,) = info.rlimits.rlimits
    assert (limit.soft, limit.hard) == (got, got)
    assert not info.HasField("environment")


@pytest.mark.parametrize("asked", ["", "-1", "0", "many", "²"])
async def test_nonsense_fails_the_container(tmp_path: Path, asked: str) -> None:
    with pytest.raises(IsolatorError, match="must be a positive number"):
        await create(tmp_path).prepare(C, config(tmp_path, asked))


@pytest.mark.parametrize(
    "parameters", [{"max_open_files": "x"}, {"scratch_dir": "relative"}, {"typo": "1"}]
)
def test_bad_parameters_end_the_start(tmp_path: Path, parameters: dict[str, str]) -> None:
    with pytest.raises(IsolatorError):
        create(tmp_path, **parameters)


async def test_the_scratch_directory(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch-of-all"
    isolator = create(tmp_path, scratch_dir=str(scratch))
    info = await isolator.prepare(C, config(tmp_path))
    assert info is not None
    assert info.environment.variables[0].value == f"{scratch}/c"
    assert os.listdir(scratch) == ["c"]
    (scratch / "c" / "file").touch()
    await isolator.cleanup(C)
    await isolator.cleanup(C)
    assert os.listdir(scratch) == []


async def test_it_is_bound_where_there_are_mount_namespaces(tmp_path: Path) -> None:
    isolator = create(tmp_path, binds=True, scratch_dir=str(tmp_path / "all"))
    info = await isolator.prepare(C, config(tmp_path))
    assert info is not None
    (mount,) = info.mounts
    assert (mount.source, mount.target) == (f"{tmp_path}/all/c", f"{tmp_path}/scratch")


async def test_recovery_removes_what_nobody_knows(tmp_path: Path) -> None:
    for name in ("live", "orphan", "unknown"):
        (tmp_path / name).mkdir()
    live = slave.ContainerState(
        container_id=ContainerId("live").message(), pid=1, directory=str(tmp_path)
    )
    isolator = create(tmp_path, scratch_dir=str(tmp_path))
    await isolator.recover([live], {ContainerId("orphan")})
    assert sorted(os.listdir(tmp_path)) == ["live", "orphan"]
