# SPDX-License-Identifier: Apache-2.0
"""A layer is unpacked while it is being downloaded.

What a puller writes goes through a pipe to a program of its own (``program.unpack_layer``), which
hashes, decompresses and unpacks it: no layer is ever in the agent's memory, and no compressed one
on the disk. The tree stays in staging until the store takes it, which it does only after the
program has found the digests right.

Source: spec ``images`` 4.10, 8.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.trees import discard_tree
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.scope import Scope

log = logging.getLogger(__name__)

#: Bytes that a pipe holds. More than this host allows an ordinary user is not insisted on.
PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StreamedLayer:
    """What a manifest says of a layer."""

    #: Name of its directory in the store.
    layer_id: str
    #: Digest of the blob, as it is stored.
    digest: str
    #: Digest of the tar in it; ``None`` is not checked.
    diff_id: str | None = None
    #: Bytes of the blob; ``None`` is not checked.
    size: int | None = None


class BlobSink:
    """Takes the bytes of one blob, in order."""

    def __init__(self, fd: int, program: asyncio.Task[dict[str, Any]]) -> None:
        self._fd = fd
        self._program = program
        self._position = 0

    @property
    def position(self) -> int:
        """How many bytes were taken: where a broken download goes on."""
        return self._position

    async def write(self, data: bytes) -> None:
        """Hand on ``data``; waits while the program is behind.

        Raises UnpackError or ProvisionError once the program has refused what it got.
        """
        view = memoryview(data)
        while view:
            try:
                count = os.write(self._fd, view)
            except BlockingIOError:
                await _writable(self._fd)
                continue
            except BrokenPipeError:
                await self._program
                raise
            self._position += count
            view = view[count:]


@contextlib.asynccontextmanager
async def unpack_stream(
    layer: StreamedLayer, staging: str, tree: str, limits: UnpackLimits, *, subject: str
) -> AsyncIterator[BlobSink]:
    """Unpack what is written to the sink into ``<staging>/<layer id>/<tree>``.

    Leaving the block waits for the program: the layer is whole then, and its digests are right.
    Raises UnpackError or ProvisionError; they name the layer. However the block is left otherwise,
    the program is killed and nothing stays. ``subject`` names the image.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    reader, writer = os.fdopen(read_end, "rb", 0), os.fdopen(write_end, "wb", 0)
    with contextlib.suppress(OSError):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(write_end, False)
    request = {**asdict(layer), "staging": staging, "tree": tree, "blob_fd": read_end}
    whole = False
    try:
        async with Scope(f"layer {layer.layer_id} of {subject}", on_error=_awaited) as scope:
            program = scope.spawn(
                run_operation(
                    "unpack_layer",
                    request,
                    limits,
                    subject=f"layer '{layer.layer_id}' of {subject}",
                    pass_files=(reader,),
                ),
                f"unpack {layer.layer_id}",
            )
            yield BlobSink(write_end, program)
            writer.close()
            await program
            whole = True
    finally:
        writer.close()
        reader.close()
        if not whole:
            await in_thread(discard_tree, os.path.join(staging, layer.layer_id))


def _awaited(name: str, error: Exception) -> None:
    log.debug("%s: %s", name, error)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.remove_writer(fd)
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fd, wake)
    try:
        await ready
    finally:
        loop.remove_writer(fd)
