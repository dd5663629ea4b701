# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest

from containerizer.provisioner.layerstream import StreamedLayer, unpack_stream
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ProvisionError, UnpackError
from tests.containerizer.provisioner.images import Entry, sha256, tar

TAR = tar([Entry("big", b"x" * 3_000_000 + os.urandom(500_000)), Entry("f", b"1")])
BLOB = gzip.compress(TAR, 1)
LAYER = StreamedLayer("id", f"sha256:{sha256(BLOB)}", f"sha256:{sha256(TAR)}", len(BLOB))


async def stream(
    tmp_path: Path, blob: bytes, layer: StreamedLayer = LAYER, most: int = 1 << 30
) -> None:
    async with unpack_stream(
        layer, str(tmp_path), "rootfs", UnpackLimits(size_bytes=most), subject="the image"
    ) as sink:
        for start in range(0, len(blob), 100_000):
            await sink.write(blob[start : start + 100_000])
        assert sink.position == len(blob)


async def test_a_layer(tmp_path: Path) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    await stream(tmp_path, BLOB)
    assert sorted(os.listdir(tmp_path / "id" / "rootfs")) == ["big", "f"]
    assert (tmp_path / "id" / "rootfs" / "big").stat().st_size == 3_500_000
    assert len(os.listdir("/proc/self/fd")) == fds


@pytest.mark.parametrize(
    ("blob", "layer", "why"),
    [
        (BLOB[:-1], LAYER, rf"the blob has {len(BLOB) - 1} bytes instead of {len(BLOB)}"),
        (BLOB + b"\0", LAYER, rf"the blob has more than {len(BLOB)}"),
        (BLOB[:1000], StreamedLayer("id", LAYER.digest), "truncated gzip data"),
        (BLOB + b"\0", StreamedLayer("id", LAYER.digest), "the blob is sha256:.* instead of"),
        (BLOB, StreamedLayer("id", LAYER.digest, LAYER.digest[:-1] + "x"), "x"),
        (BLOB, StreamedLayer("id", LAYER.digest, f"sha256:{'0' * 64}"), "the content is sha256:"),
        (b"nonsense" * 1000, StreamedLayer("id", LAYER.digest), "not a tar archive"),
        (b"", StreamedLayer("id", LAYER.digest), "the blob is sha256:e3b0c44298fc1c14"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    tmp_path: Path, blob: bytes, layer: StreamedLayer, why: str
) -> None:
    with pytest.raises(ProvisionError, match=why):
        await stream(tmp_path, blob, layer)
    assert os.listdir(tmp_path) == []


async def test_the_layer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnpackError, match=r"Collect failed: Failed to extract layer 'id': .*limit"):
        await stream(tmp_path, BLOB, most=1000)
    assert os.listdir(tmp_path) == []


async def test_a_writer_that_gives_up(tmp_path: Path) -> None:
    async def give_up() -> None:
        async with unpack_stream(
            LAYER, str(tmp_path), "rootfs", UnpackLimits(), subject="the image"
        ) as sink:
            await sink.write(BLOB[: len(BLOB) // 2])
            raise ConnectionResetError

    fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectionResetError):
        await give_up()
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == fds


async def test_cancellation(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def stall() -> None:
        async with unpack_stream(
            LAYER, str(tmp_path), "rootfs", UnpackLimits(), subject="the image"
        ) as sink:
            await sink.write(BLOB[:100_000])
            started.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stall())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(tmp_path) == []
