# SPDX-License-Identifier: Apache-2.0
"""Volumes lie below the work directory or the root of their disk, whatever they are called."""

from __future__ import annotations

import pytest

from mesos_compat.base.errors import WireError
from mesos_compat.model.volumes import Home, home, homes
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.model.test_operations import reserved, volume

Source = pb.Resource.DiskInfo.Source


def on(kind: Source.Type, root: str) -> pb.Resource:
    made = volume(1.0, "db")
    made.disk.source.type = kind
    target = made.disk.source.path if kind == Source.PATH else made.disk.source.mount
    target.root = root
    return made


def test_where_volumes_lie() -> None:
    assert home("/agent", volume(1.0, "db")).path == "/agent/volumes/roles/db/v"
    assert home("/agent", volume(1.0, "a", "a/b")).path == "/agent/volumes/roles/a b/v"
    assert home("/agent", on(Source.PATH, "/p")).path == "/p/volumes/roles/db/v"
    assert home("/agent", on(Source.PATH, "p")).path == "/agent/p/volumes/roles/db/v"
    assert home("/agent", on(Source.MOUNT, "/m")) == Home("/m", "")
    assert home("/agent", on(Source.MOUNT, "/m")).path == "/m"
    assert homes("/w", [reserved("disk", 1.0, "db"), volume(1.0, "db")]) == {
        Home("/w", "volumes/roles/db/v")
    }


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\n", "x" * 256, "\0"])
def test_ids_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(WireError, match="Invalid persistence id"):
        home("/agent", volume(1.0, "db", name=name))


@pytest.mark.parametrize("role", ["..", "a/../b", "", "/", "-x", "x" * 256])
def test_roles_that_lead_elsewhere(role: str) -> None:
    with pytest.raises(WireError, match="Invalid role"):
        home("/agent", volume(1.0, role))


def test_disks_of_other_kinds() -> None:
    with pytest.raises(WireError, match="not reserved"):
        home("/agent", volume(1.0))
    for kind in (Source.BLOCK, Source.RAW, Source.UNKNOWN):
        with pytest.raises(WireError, match="no supported kind"):
            home("/agent", on(kind, "/x"))
    with pytest.raises(WireError, match="no root"):
        home("/agent", on(Source.MOUNT, ""))
    of_a_provider = on(Source.MOUNT, "/m")
    of_a_provider.disk.source.id = "i"
    with pytest.raises(WireError, match="no supported kind"):
        home("/agent", of_a_provider)
