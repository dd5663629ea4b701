# SPDX-License-Identifier: Apache-2.0
"""The ``hadoop`` program here is a script of the tests: no Hadoop is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fetcher.transports.hadoop import client_of, copy_to_local
from mesos_compat.base.errors import FetchError
from tests.suites.hadoop import fake_hadoop


async def copy(client: str, uri: str, target: Path, most_bytes: int = 1 << 20) -> None:
    await copy_to_local(client, uri, str(target), timeout_s=20, most_bytes=most_bytes)


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("hdfs://host:9000/d/f", "hdfs://host:9000/d/f"),
        ("hdfs:///d/f", "/d/f"),
    ],
)
async def test_files(tmp_path: Path, uri: str, asked: str) -> None:
    hadoop = fake_hadoop(tmp_path / "bin", tmp_path / "hdfs")
    (tmp_path / "hdfs" / "d").mkdir(parents=True)
    (tmp_path / "hdfs" / "d" / "f").write_bytes(b"content")
    await copy(hadoop.client, uri, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"content"
    assert hadoop.calls() == [f"fs -copyToLocal {asked} {tmp_path}/target"]


async def test_failures(tmp_path: Path) -> None:
    hadoop = fake_hadoop(tmp_path / "bin", tmp_path / "hdfs")
    with pytest.raises(FetchError) as error:
        await copy(hadoop.client, "hdfs://h/none", tmp_path / "target")
    assert str(error.value) == (
        "HDFS copyToLocal failed: Unexpected result from the subprocess: status='1', stdout='',"
        " stderr='copyToLocal: `hdfs://h/none': No such file or directory\n'"
    )
    with pytest.raises(FetchError, match="Failed to start"):
        await copy(str(tmp_path / "no program"), "hdfs://h/none", tmp_path / "target")


async def test_large_files(tmp_path: Path) -> None:
    hadoop = fake_hadoop(tmp_path / "bin", tmp_path / "hdfs")
    (tmp_path / "hdfs" / "f").write_bytes(os.urandom(200_000))
    # killed by the kernel, or refused when it is there
    with pytest.raises(FetchError, match=r"Unexpected result|has more than 100000 bytes"):
        await copy(hadoop.client, "hdfs://h/f", tmp_path / "target", 100_000)


@pytest.mark.parametrize(
    ("home", "environment", "client"),
    [
        ("/h", {"HADOOP_HOME": "/e"}, "/h/bin/hadoop"),
        (None, {"HADOOP_HOME": "/e"}, "/e/bin/hadoop"),
        (None, {}, "hadoop"),
    ],
)
def test_clients(home: str | None, environment: dict[str, str], client: str) -> None:
    assert client_of(home, environment) == client
