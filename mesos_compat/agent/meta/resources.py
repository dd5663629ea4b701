# SPDX-License-Identifier: Apache-2.0
"""How a change of reservations, volumes and operations is written down. Pure.

First what is going to be is written beside what is, then volumes are made and removed, then one
takes the place of the other. Whatever is interrupted is done again at the next start.

Deviations: a change is completed, too, if the files that it replaces were never written; a file
that has its new name already is no error.

Source: spec ``agent-master`` 12.6, ``state-and-recovery`` 7.3, 10.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mesos_compat.agent import paths
from mesos_compat.agent.meta import layout
from mesos_compat.agent.meta.recovered import ResourcesFound
from mesos_compat.agent.meta.writes import (
    DestroyedVolume,
    FileWrite,
    MadeVolume,
    RecordFile,
    RecordsFile,
    RenamedFile,
)
from mesos_compat.model.resources import Resources
from mesos_compat.model.volumes import homes
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.slave import state_pb2


def change(
    work_dir: str,
    before: Sequence[pb.Resource],
    after: Sequence[pb.Resource],
    operations: Iterable[pb.Operation],
) -> Iterator[FileWrite]:
    """Return what brings ``before``, which is stored, to ``after``; all of it can be repeated."""
    meta = paths.meta(work_dir)
    target = layout.resources_state_target(meta)
    wanted = state_pb2.ResourceState(operations=operations, resources=after)
    yield RecordFile(target, wanted, as_is=True)
    if Resources.of(before) != Resources.of(after):
        old_form = layout.resources_target(meta)
        yield RecordsFile(old_form, tuple(after))
        yield from _volumes(work_dir, before, after)
        yield RenamedFile(old_form, layout.resources_info(meta))
    yield RenamedFile(target, layout.resources_state(meta))


def completion(work_dir: str, found: ResourcesFound) -> Iterator[FileWrite]:
    """Return what completes a change that was interrupted."""
    if found.target is None:
        return
    meta = paths.meta(work_dir)
    yield from _volumes(work_dir, found.committed.resources, found.target.resources)
    state = layout.resources_state(meta)
    yield RenamedFile(layout.resources_state_target(meta), state, optional=True)
    yield RenamedFile(layout.resources_target(meta), layout.resources_info(meta), optional=True)


def _volumes(
    work_dir: str, before: Iterable[pb.Resource], after: Iterable[pb.Resource]
) -> Iterator[FileWrite]:
    old, new = homes(work_dir, before), homes(work_dir, after)
    yield from (MadeVolume(home) for home in sorted(new - old))
    yield from (DestroyedVolume(home) for home in sorted(old - new))
