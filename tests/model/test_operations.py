# SPDX-License-Identifier: Apache-2.0
"""Operations turn resources into others, and back."""

from __future__ import annotations

import pytest

from mesos_compat.base.errors import WireError
from mesos_compat.model.operations import applied, consumed, conversion
from mesos_compat.model.resources import Resources, parse_resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

Operation = pb.Offer.Operation
TOTAL = Resources.of(parse_resources("cpus:2;disk:100;disk(web):50;ports:[1-9]"))


def reserved(name: str, amount: float, *roles: str, static: bool = False) -> pb.Resource:
    made = pb.Resource(name=name, type=pb.Value.SCALAR)
    made.scalar.value = amount
    for index, role in enumerate(roles):
        kind = "STATIC" if static and index == 0 else "DYNAMIC"
        made.reservations.add(type=kind, role=role)
    return made


def volume(amount: float, *roles: str, name: str = "v", shared: bool = False) -> pb.Resource:
    made = reserved("disk", amount, *roles)
    made.disk.persistence.id = name
    made.disk.volume.container_path = "data"
    made.disk.volume.mode = pb.Volume.RW
    if shared:
        made.shared.SetInParent()
    return made


def reserve(*resources: pb.Resource, source: list[pb.Resource] | None = None) -> Operation:
    made = Operation(type=Operation.RESERVE)
    made.reserve.resources.extend(resources)
    made.reserve.source.extend(source or ())
    return made


def unreserve(*resources: pb.Resource) -> Operation:
    made = Operation(type=Operation.UNRESERVE)
    made.unreserve.resources.extend(resources)
    return made


def create(*volumes: pb.Resource) -> Operation:
    made = Operation(type=Operation.CREATE)
    made.create.volumes.extend(volumes)
    return made


def destroy(*volumes: pb.Resource) -> Operation:
    made = Operation(type=Operation.DESTROY)
    made.destroy.volumes.extend(volumes)
    return made


def grow(what: pb.Resource, addition: pb.Resource) -> Operation:
    made = Operation(type=Operation.GROW_VOLUME)
    made.grow_volume.volume.CopyFrom(what)
    made.grow_volume.addition.CopyFrom(addition)
    return made


def shrink(what: pb.Resource, less: float) -> Operation:
    made = Operation(type=Operation.SHRINK_VOLUME)
    made.shrink_volume.volume.CopyFrom(what)
    made.shrink_volume.subtract.value = less
    return made


def test_there_and_back() -> None:
    disk, old_form = reserved("disk", 64.0, "db"), pb.Resource(name="cpus", type=pb.Value.SCALAR)
    old_form.scalar.value, old_form.role = 1.5, "db"
    old_form.reservation.SetInParent()
    disk.allocation_info.role = "db"
    total = applied(TOTAL, reserve(disk, old_form))
    assert total.reserved("db").scalar("cpus") == 1.5
    assert total.unreserved().scalar("cpus") == 0.5
    with_volume = applied(total, create(volume(32.0, "db")))
    assert with_volume.checkpointed().scalar("disk") == 64
    assert len(with_volume.persistent_volumes()) == 1
    without = applied(with_volume, destroy(volume(32.0, "db")))
    assert without == total
    assert applied(without, unreserve(disk, old_form)) == TOTAL


def test_refinement() -> None:
    refined = reserved("disk", 20.0, "web", "web/a", static=True)
    total = applied(TOTAL, reserve(refined))
    assert total.reserved("web/a").scalar("disk") == 20
    assert total.reserved("web").scalar("disk") == 30
    again = applied(total, reserve(reserved("disk", 20.0, "db"), source=[refined]))
    assert again.reserved("db").scalar("disk") == 20
    assert applied(total, unreserve(refined)) == TOTAL


def test_the_disk_of_a_volume_keeps_its_source() -> None:
    volume_on_path = volume(10.0, "db")
    volume_on_path.disk.source.type = pb.Resource.DiskInfo.Source.PATH
    volume_on_path.disk.source.path.root = "/p"
    (freed,) = conversion(destroy(volume_on_path))[1]
    assert freed.disk.source.path.root == "/p"
    assert not freed.disk.HasField("persistence")
    assert not freed.disk.HasField("volume")


def test_other_sizes() -> None:
    total = applied(TOTAL, reserve(reserved("disk", 64.0, "db")))
    total = applied(total, create(volume(32.0, "db")))
    grown = applied(total, grow(volume(32.0, "db"), reserved("disk", 0.5, "db")))
    (now,) = grown.persistent_volumes()
    assert now.scalar.value == 32.5
    assert grown.scalar("disk") == TOTAL.scalar("disk")
    assert applied(grown, shrink(now, 0.5)) == total


def test_shared_volumes() -> None:
    total = applied(TOTAL, reserve(reserved("disk", 64.0, "db")))
    shared = volume(32.0, "db", shared=True)
    made = applied(total, create(shared))
    assert applied(made, destroy(shared)) == total
    twice = made + Resources.of([shared])
    with pytest.raises(WireError, match="still in use"):
        applied(twice, destroy(shared))


@pytest.mark.parametrize(
    "operation",
    [
        Operation(),
        Operation(type=Operation.LAUNCH),
        Operation(type=Operation.CREATE_DISK),
        reserve(),
        reserve(reserved("cpus", 3.0, "db")),
        reserve(reserved("cpus", 1.0)),
        unreserve(reserved("cpus", 1.0, "db")),
        unreserve(reserved("cpus", 1.0)),
        create(reserved("disk", 1.0, "web", static=True)),
        create(volume(51.0, "web")),
        destroy(volume(1.0, "web")),
        grow(volume(1.0, "web"), reserved("disk", 1.0, "web")),
        shrink(volume(1.0, "web"), 0.5),
        reserve(reserved("cpus", float("nan"), "db")),
    ],
)
def test_what_cannot_be(operation: Operation) -> None:
    with pytest.raises(WireError):
        applied(TOTAL, operation)


def test_a_volume_does_not_shrink_below_nothing() -> None:
    total = applied(TOTAL, reserve(reserved("disk", 64.0, "db")))
    total = applied(total, create(volume(32.0, "db")))
    with pytest.raises(WireError):
        applied(total, shrink(volume(32.0, "db"), 33.0))


def test_what_each_is_about() -> None:
    disk = reserved("disk", 1.0, "db")
    made = Operation(type=Operation.CREATE_DISK)
    made.create_disk.source.CopyFrom(disk)
    other = Operation(type=Operation.DESTROY_DISK)
    other.destroy_disk.source.CopyFrom(disk)
    for operation in (
        reserve(disk),
        unreserve(disk),
        create(disk),
        destroy(disk),
        shrink(disk, 1.0),
        made,
        other,
    ):
        assert consumed(operation) == [disk]
    assert consumed(grow(disk, disk)) == [disk, disk]
    assert consumed(Operation(type=Operation.LAUNCH)) == []
