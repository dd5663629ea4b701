# SPDX-License-Identifier: Apache-2.0
"""Group ids of volumes, so that tasks of users who do not own a volume can work in it.

A volume gets the lowest free id of ``--volume_gid_range``, which is written down before the
volume's files are given to that group. Persistent volumes keep theirs until they are destroyed,
directories of a sandbox until its container is.

Deviations: a persistent volume that a sandbox shows is given a group as itself, not as a part of
the sandbox, with which upstream forgets it; what is mounted inside a volume keeps its groups; paths
are compared by their components, so the end of a volume takes no id from one whose name begins with
its; root's group cannot be in the range; what could not be given completely is given again; a
persistent volume never goes on with the group that its disk had for an earlier one, which another
volume may have by now; after a restart none has a group that is no more.

Source: spec ``isolators-fs-net`` 4, ``state-and-recovery`` 10.4.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from google.protobuf.message import DecodeError

from containerizer import group_walk
from containerizer.linux import mountinfo
from mesos_compat.base import checkpoint
from mesos_compat.base.beneath import Root, Stop
from mesos_compat.base.errors import CheckpointError, FlagError, IsolatorError, WireError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.threads import stoppable
from mesos_compat.model.values import format_value, parse_value, type_of
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.slave.volume_gid_manager import state_pb2

log = logging.getLogger(__name__)

T = TypeVar("T")

_Info = state_pb2.VolumeGidInfo
PERSISTENT: Final = _Info.PERSISTENT
SANDBOX_PATH: Final = _Info.SANDBOX_PATH

#: The last id; the one after it means "none" to the kernel.
_LAST_GID = (1 << 32) - 2


@dataclass(slots=True)
class _Volume:
    """A path that has a group."""

    gid: int
    kind: state_pb2.VolumeGidInfo.Type
    #: Held while its files change their group.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Whether it is known that all files have the group.
    given: bool = False


class VolumeGids:
    """Knows which volume has which group."""

    def __init__(
        self, ranges: Sequence[tuple[int, int]], work_dir: str, directory: str, metrics: Metrics
    ) -> None:
        """``directory`` is where the ids are written down; ``ranges`` are without overlaps."""
        self._ranges = tuple(ranges)
        self._work_dir = work_dir
        self._path = os.path.join(directory, "volume_gids")
        self._volumes: dict[str, _Volume] = {}
        #: Persistent volumes by the places in sandboxes where they are mounted.
        self._mounted: dict[str, str] = {}
        self._total = sum(end - begin + 1 for begin, end in ranges)
        metrics.gauge("volume_gid_manager/volume_gids_total", lambda: float(self._total))
        metrics.gauge("volume_gid_manager/volume_gids_free", lambda: float(self._free()))

    @classmethod
    def create(cls, text: str, work_dir: str, directory: str, metrics: Metrics) -> VolumeGids:
        """Make the manager that ``--volume_gid_range`` asks for. Raises FlagError."""
        try:
            if os.geteuid() != 0:
                raise FlagError("Volume gid manager requires root privileges")
            ranges = parse_range(text)
        except FlagError as error:
            raise FlagError(f"Failed to initialize volume gid manager: {error}") from error
        return cls(ranges, work_dir, directory, metrics)

    async def recover(self, *, rebooted: bool, volumes: Iterable[str]) -> None:
        """Go on where an earlier process stopped; called before anything else.

        After a reboot no sandbox is in use; ``volumes`` are all persistent volumes that there are.
        Raises CheckpointError.
        """
        ours = {os.path.realpath(path): os.path.normpath(path) for path in volumes}
        content = checkpoint.read_record(self._path)
        if content is None and os.path.exists(self._path):
            log.warning("The checkpointed volume gids file '%s' is empty", self._path)
        try:
            found = state_pb2.VolumeGidInfos.FromString(content or b"")
        except DecodeError as error:
            raise CheckpointError(self._path, f"Failed to parse: {error}") from error
        for info in found.infos:
            path = info.path
            if info.type == PERSISTENT:
                path = ours.get(os.path.realpath(path), path)
            self._volumes[path] = _Volume(info.gid, info.type)
        there = set(ours.values())
        for path, volume in list(self._volumes.items()):
            ended = rebooted if volume.kind == SANDBOX_PATH else path not in there
            if ended or not os.path.lexists(path):
                try:
                    await self.deallocate(path)
                except IsolatorError as error:
                    log.error("%s", error)

    async def allocate(self, path: str, kind: state_pb2.VolumeGidInfo.Type) -> int:
        """Return the group of a volume, which has one from now on. Raises IsolatorError.

        What is in a volume that has one has the same.
        """
        path = os.path.normpath(path)
        for target, source in self._mounted.items():
            if kind == SANDBOX_PATH and _is_in(path, target):
                return await self.allocate(source, PERSISTENT)
        volume = self._volumes.get(path)
        if volume is None:
            if kind == SANDBOX_PATH:
                gid = self._group_of(path, kind)
                if self._covers(gid):
                    return gid
            volume = self._record(path, kind)
        async with volume.lock:
            if self._volumes.get(path) is volume:
                if not volume.given and not self._is_given(path, volume):
                    await self._give(path, volume)
                volume.given = True
                return volume.gid
        return await self.allocate(path, kind)  # it was let go of meanwhile

    async def deallocate(self, path: str) -> None:
        """Let go of the groups of ``path`` and of all below it. Raises IsolatorError.

        Files in sandboxes are of their owners' groups again.
        """
        for name in [name for name in self._volumes if _is_in(name, path)]:
            volume = self._volumes[name]
            async with volume.lock:
                if self._volumes.get(name) is not volume:
                    continue
                if volume.kind == SANDBOX_PATH:
                    await self._take_back(name)
                del self._volumes[name]
                self._write()

    def mounted(self, target: str, source: str) -> None:
        """A persistent volume is mounted in a sandbox."""
        self._mounted[target] = source

    def unmounted(self, target: str) -> None:
        """It is so no more; nothing there is fine."""
        self._mounted.pop(target, None)

    def _record(self, path: str, kind: state_pb2.VolumeGidInfo.Type) -> _Volume:
        gid = self._lowest_free()
        if gid is None:
            raise IsolatorError(
                f"Failed to allocate gid to the volume path '{path}' because the free gid range"
                " is exhausted"
            )
        made = self._volumes[path] = _Volume(gid, kind)
        try:
            self._write()
        except IsolatorError:
            del self._volumes[path]
            raise
        log.info("Allocated gid %d to the volume path '%s'", gid, path)
        return made

    async def _give(self, path: str, volume: _Volume) -> None:
        def walk(stop: Stop) -> None:
            with _closing(self._open(path, volume.kind)) as top:
                group_walk.give(top, volume.gid, _mounted(path), stop)

        with _telling(f"set the owner group of the volume path '{path}' to {volume.gid}"):
            await stoppable(walk)

    async def _take_back(self, path: str) -> None:
        def walk(stop: Stop) -> None:
            try:
                opened = self._open(path, SANDBOX_PATH)
            except FileNotFoundError:
                return
            with _closing(opened) as top:
                others = os.stat(self._work_dir).st_gid
                group_walk.take_back(top, others, _mounted(path), stop)

        with _telling(f"take the owner group of the volume path '{path}' back"):
            await stoppable(walk)

    def _group_of(self, path: str, kind: state_pb2.VolumeGidInfo.Type) -> int:
        return self._ask(path, kind, lambda top: os.fstat(top).st_gid)

    def _is_given(self, path: str, volume: _Volume) -> bool:
        return self._ask(path, volume.kind, lambda top: group_walk.is_given(top, volume.gid))

    def _ask(
        self, path: str, kind: state_pb2.VolumeGidInfo.Type, question: Callable[[int], T]
    ) -> T:
        with (
            _telling(f"find the owner group of the volume path '{path}'"),
            _closing(self._open(path, kind)) as top,
        ):
            return question(top)

    def _open(self, path: str, kind: state_pb2.VolumeGidInfo.Type) -> int:
        """Open a volume; where tasks could have put a link, none is followed. Raises OSError."""
        if kind != SANDBOX_PATH:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with Root(self._work_dir) as root:
            # a pipe that took the place of a file must not hold us up
            return root.open(os.path.relpath(path, self._work_dir), os.O_RDONLY | os.O_NONBLOCK)

    def _write(self) -> None:
        infos = [
            _Info(type=volume.kind, path=path, gid=volume.gid)
            for path, volume in self._volumes.items()
        ]
        content = state_pb2.VolumeGidInfos(infos=infos).SerializeToString()
        try:
            checkpoint.write_record(self._path, content)
        except CheckpointError as error:
            raise IsolatorError(f"Failed to checkpoint volume gids: {error}") from error

    def _covers(self, gid: int) -> bool:
        return any(begin <= gid <= end for begin, end in self._ranges)

    def _lowest_free(self) -> int | None:
        used = {volume.gid for volume in self._volumes.values()}
        for begin, end in self._ranges:
            for gid in range(begin, end + 1):
                if gid not in used:
                    return gid
        return None

    def _free(self) -> int:
        return self._total - len({v.gid for v in self._volumes.values() if self._covers(v.gid)})


def parse_range(text: str) -> Sequence[tuple[int, int]]:
    """Return the group ids that a text like ``[10000-20000]`` names. Raises FlagError."""
    try:
        amount = parse_value(text)
    except WireError as error:
        raise FlagError(f"Failed to parse volume gid range '{text}': {error}") from error
    if not isinstance(amount, tuple):
        kind = pb.Value.Type.Name(type_of(amount))
        raise FlagError(f"Invalid volume gid range type {kind}, expecting RANGES")
    if not amount:
        raise FlagError("Empty volume gid range")
    for begin, end in amount:
        if begin < 1 or end > _LAST_GID:
            raise FlagError(
                f"Invalid volume gid range '{format_value(amount)}': gids are numbers from 1 to"
                f" {_LAST_GID}"
            )
    return amount


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Make an IsolatorError of an OSError, with what was attempted."""
    try:
        yield
    except OSError as error:
        raise IsolatorError(f"Failed to {what}: {error.strerror or error}") from error


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _mounted(path: str) -> list[tuple[str, ...]]:
    """What is mounted below a path, relative to it."""
    real = os.path.realpath(path)
    return [
        tuple(os.path.relpath(entry.target, real).split("/"))
        for entry in mountinfo.read_below(real)
        if entry.target != real
    ]
