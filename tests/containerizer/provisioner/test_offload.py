# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gzip
import os
import threading
from pathlib import Path

import pytest

from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ProvisionError, UnpackError
from tests.containerizer.provisioner.images import Entry, aci, appc_document, write


async def unpack(path: str, target: Path, limits: UnpackLimits | None = None) -> object:
    return await run_operation(
        "unpack_aci",
        {"path": path, "target": str(target)},
        limits or UnpackLimits(),
        subject="the image",
    )


async def test_answers_and_errors(tmp_path: Path) -> None:
    image_id, data = aci(appc_document("x"), {"f": b"1"})
    path = write(str(tmp_path / "a.aci"), data)
    sizes = [len(data), len(gzip.decompress(data))]
    answer = {"id": image_id, "sizes": sizes, "warnings": []}
    assert await unpack(path, tmp_path / "1") == answer
    with pytest.raises(UnpackError, match="larger than the limit of 1000 bytes"):
        await unpack(path, tmp_path / "2", UnpackLimits(size_bytes=1000))
    with pytest.raises(UnpackError, match="Not a regular file"):
        await unpack(str(tmp_path), tmp_path / "3")
    with pytest.raises(UnpackError, match="No such file"):
        await unpack(str(tmp_path / "none"), tmp_path / "4")


async def test_attributes_that_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = Entry("rootfs/f", pax={"SCHILY.xattr.security.capability": "nonsense"})
    _, data = aci(appc_document("x"), {}, extra=[bad])
    await unpack(write(str(tmp_path / "a.aci"), data), tmp_path / "1")
    assert "Unpacking the image: left out 'rootfs/f': attribute security.capability" in caplog.text


async def test_program_that_breaks() -> None:
    with pytest.raises(ProvisionError, match="Failed to unpack the image: the program exited with"):
        await run_operation("none", {}, UnpackLimits(), subject="the image")


async def test_program_that_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="did not end within"):
        await run_operation(
            "copy_tree",
            {"layers": [], "rootfs": str(tmp_path)},
            UnpackLimits(seconds=0),
            subject="the image",
        )


async def test_threads_end_before_a_cancellation() -> None:
    started, go = threading.Event(), threading.Event()
    done: list[int] = []

    def work() -> None:
        started.set()
        go.wait(10)
        done.append(1)

    call = asyncio.ensure_future(in_thread(work))
    await asyncio.get_running_loop().run_in_executor(None, started.wait)
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    assert not call.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert done == [1]


async def test_environment_of_the_program_is_bare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PYTHONPATH and friends of the agent must not reach what handles hostile data.
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "x"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    write(str(tmp_path / "json.py"), b"raise SystemExit(7)")
    _, data = aci(appc_document("x"), {"f": b"1"})
    await unpack(write(str(tmp_path / "a.aci"), data), tmp_path / "1")
    assert os.path.isdir(tmp_path / "1" / "rootfs")
