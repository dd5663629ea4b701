# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.provisioner.layout import DockerLayout
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.stores.record import ImageRecord, Images, recorded, reference_of
from mesos_compat.base.checkpoint import write_record
from mesos_compat.pb.mesos.docker import spec_pb2 as spec
from mesos_compat.pb.mesos.internal.slave.containerizer.mesos.provisioner.docker import (
    message_pb2 as stored,
)

LAYER = "sha256:763a1bb483ea24cfdb530579702f1eccc631073e723bdcea4db4401860b0d3fa"
CONFIG = "sha256:740a88679d2a9cb14d9cf4b6de7ccb5f5a4e585d8a948814d68c5849741d5ff5"
NAMES = (
    "library/busybox",
    "127.0.0.1:5000/library/busybox",
    "127.0.0.1:5000/library/busybox:latest",
)


@pytest.fixture
def record(tmp_path: Path) -> ImageRecord:
    os.mkdir(tmp_path / "staging")
    return ImageRecord(DockerLayout(str(tmp_path)))


def images(*names: str) -> Images:
    return {name: recorded(Reference.parse(name), (LAYER,), CONFIG) for name in names}


@pytest.mark.parametrize(("names", "size"), [((), 4), (NAMES[:1], 172), (NAMES, 548)])
def test_as_large_as_a_real_agents(
    record: ImageRecord, tmp_path: Path, names: tuple[str, ...], size: int
) -> None:
    """The sizes are those that an agent of upstream had for these images."""
    assert record.update(lambda known: images(*names)) == images(*names)
    path = tmp_path / "storedImages"
    assert path.stat().st_size == size
    assert path.stat().st_mode & 0o777 == 0o600
    assert record.read() == images(*names)
    assert [str(reference_of(image)) for image in record.read().values()] == list(names)


def test_the_first_of_two_counts(record: ImageRecord) -> None:
    one = images("a")["a"]
    other = recorded(Reference.parse("a"), ("x",), None)
    record.update(lambda known: {"1": one, "2": other})
    assert record.read() == {"a": one}


def test_changes_are_made_to_what_is_there(record: ImageRecord) -> None:
    record.update(lambda known: images("a"))
    again = record.update(lambda known: {**known, **images("b")})
    assert list(again) == ["a", "b"]


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(stored.Images(images=[stored.Image()]), id="no reference"),
        pytest.param(
            stored.Images(images=[stored.Image(reference=spec.ImageReference(tag="t"))]),
            id="no repository",
        ),
    ],
)
def test_incomplete_records_are_empty_ones(
    record: ImageRecord, tmp_path: Path, damaged: stored.Images
) -> None:
    write_record(str(tmp_path / "storedImages"), damaged.SerializePartialToString())
    assert record.read() == {}
    assert list(record.update(lambda known: {**known, **images("b")})) == ["b"]


def test_any_damaged_byte(record: ImageRecord, tmp_path: Path) -> None:
    """Also those by which a text is none any more; all other damages are found or harmless."""
    path = tmp_path / "storedImages"
    record.update(lambda known: images(*NAMES[1:]))
    whole = path.read_bytes()
    for number in range(4, len(whole)):
        for value in (0x00, 0x0A, 0x2F, 0x7F, 0xFF):
            path.write_bytes(whole[:number] + bytes((value,)) + whole[number + 1 :])
            assert all(type(name) is str for name in record.read())
    text = whole.index(b"busybox")
    path.write_bytes(whole[:text] + b"\xff" + whole[text + 1 :])
    assert record.read() == {}
    assert list(record.update(lambda known: {**known, **images("b")})) == ["b"]


def test_what_an_interrupted_update_left(record: ImageRecord, tmp_path: Path) -> None:
    record.update(lambda known: images("a"))
    (tmp_path / "abcd_123").write_bytes(b"")
    (tmp_path / "README").write_bytes(b"")
    record.clear()
    assert sorted(os.listdir(tmp_path)) == ["README", "staging", "storedImages"]
