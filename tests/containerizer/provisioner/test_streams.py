# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from containerizer.provisioner.streams import CHUNK, BlobContent, FileRegion, compressed, up_to
from mesos_compat.base.errors import UnpackError

#: Compressible and not, and longer than one chunk.
DATA = random.Random(1).randbytes(300_000) + b"abc" * 300_000
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


METHODS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}


@pytest.fixture(params=sorted(METHODS))
def compress(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return METHODS[request.param]


def content(tmp_path: Path, blob: bytes, most: int = 1 << 30) -> tuple[BlobContent, int]:
    path = tmp_path / "blob"
    path.write_bytes(blob)
    fd = os.open(path, os.O_RDONLY)
    return BlobContent(FileRegion(fd), most=most, content_hash="sha256", blob_hash="sha256"), fd


def read(tmp_path: Path, blob: bytes, most: int = 1 << 30) -> bytes:
    stream, fd = content(tmp_path, blob, most)
    try:
        found = up_to(stream, 1 << 30)
        assert stream.some(1) == b""
        return found
    finally:
        stream.close()
        os.close(fd)


def test_content_and_digests(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    blob = compress(DATA)
    stream, fd = content(tmp_path, blob)
    assert up_to(stream, 10) == DATA[:10]
    stream.skip(CHUNK)
    assert stream.some(1) == DATA[CHUNK + 10 : CHUNK + 11]
    stream.drain()
    os.close(fd)
    assert stream.position == len(DATA)
    assert stream.content_digest() == hashlib.sha256(DATA).hexdigest()
    assert stream.blob_digest() == hashlib.sha256(blob).hexdigest()


def test_several_streams_in_a_row(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    if compress is METHODS["lzma"]:
        pytest.skip("the format has no end")
    assert read(tmp_path, compress(DATA) + compress(b"more")) == DATA + b"more"


def test_zeros_after_the_end_are_padding(tmp_path: Path) -> None:
    for method in ("gzip", "bzip2", "xz"):
        assert read(tmp_path, METHODS[method](b"x" * 1000) + bytes(1024)) == b"x" * 1000


def test_truncated(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    if compress is METHODS["none"]:
        pytest.skip("cannot be seen")
    blob = compress(DATA)
    for cut in (len(blob) - 1, len(blob) // 2, 8):
        with pytest.raises(UnpackError, match=r"truncated|damaged"):
            read(tmp_path, blob[:cut])


def test_damaged(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    if compress in (METHODS["none"], METHODS["lzma"]):
        pytest.skip("has no check sum")
    blob = bytearray(compress(DATA))
    blob[len(blob) // 2] ^= 0xFF
    with pytest.raises(UnpackError, match=r"truncated|damaged"):
        read(tmp_path, bytes(blob))


def test_bomb(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UnpackError, match="larger than the limit of 1000000 bytes"):
        read(tmp_path, compress(bytes(20_000_000)), most=1_000_000)


def test_skippable_frame(tmp_path: Path) -> None:
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert compressed(frame[:6])
    assert read(tmp_path, frame + zstd.compress(b"data")) == b"data"


def test_without_isal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containerizer.provisioner.streams._igzip", None)
    blob = gzip.compress(DATA) + gzip.compress(bytes(5_000_000)) + bytes(512)
    assert read(tmp_path, blob) == DATA + bytes(5_000_000)
    for cut in (len(blob) - 513, 100):
        with pytest.raises(UnpackError, match="truncated"):
            read(tmp_path, blob[:cut])
    with pytest.raises(UnpackError, match="damaged"):
        read(tmp_path, blob[:500] + bytes(100) + blob[600:])


def test_lzip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnpackError, match="lzip"):
        read(tmp_path, b"LZIP\x01" + bytes(20))


def test_region(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDONLY)
    region = FileRegion(fd, 2, 5)
    assert region.some(2) == b"23"
    region.skip(1)
    assert up_to(region, 10) == b"56"
    assert region.position == 5
    with pytest.raises(UnpackError, match="truncated"):
        region.skip(1)
    short = FileRegion(fd, 8, 5)
    with pytest.raises(UnpackError, match="truncated"):
        up_to(short, 5)
    os.close(fd)
