# SPDX-License-Identifier: Apache-2.0
"""Names, ids and states of containers that belong to no agent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from containerizer.local.registry import Places, Record, Registry
from mesos_compat.base.errors import ContainerError

TRUE = ("true",)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Places(str(tmp_path / "run"), str(tmp_path / "work")))


def added(registry: Registry, name: str = "") -> Record:
    """Add a container that nobody looks after."""
    record, claim = registry.add(Record("", name, TRUE))
    claim.release()
    return record


def started(registry: Registry, record: Record, pid: int, status: str = "") -> None:
    """Pretend that the container's init was started."""
    rundir = registry.runtime(record.id)
    rundir.make(record.container_id)
    rundir.write_pid(record.container_id, pid)
    Path(rundir.path(record.container_id), "status").write_text(status)


def test_ids_and_names(registry: Registry) -> None:
    first, second = added(registry, "web"), added(registry)
    assert (first.name, second.name) == ("web", second.id)
    assert [each.record for each in registry.all()] == [first, second]
    for reference in ("web", first.id, first.id[:11]):
        assert registry.find(reference).record == first
    assert registry.find(second.id).record == second


def test_a_name_is_taken_once(registry: Registry) -> None:
    record = added(registry, "web")
    for name in ("web", record.id):
        with pytest.raises(ContainerError, match=f"The name '{name}' is taken"):
            added(registry, name)


@pytest.mark.parametrize("name", ["a/b", "..", "-f", "a b", "a\n", "x" * 300])
def test_unusable_names(registry: Registry, name: str) -> None:
    with pytest.raises(ContainerError, match="Unusable name"):
        added(registry, name)


def test_what_is_not_there(registry: Registry) -> None:
    assert registry.all() == []
    for reference in ("web", "", "0"):
        with pytest.raises(ContainerError, match="There is no container"):
            registry.find(reference)
    with pytest.raises(ContainerError, match="There is no container"):
        registry.claim("0123")


def test_an_ambiguous_beginning(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(["aa11", "aa22"])
    monkeypatch.setattr("containerizer.local.registry.secrets.token_hex", lambda _: next(tokens))
    added(registry)
    added(registry)
    with pytest.raises(ContainerError, match="'aa' is ambiguous: aa11, aa22"):
        registry.find("aa")


def test_one_at_a_time_looks_after_it(registry: Registry) -> None:
    record, claim = registry.add(Record("", "web", TRUE))
    assert registry.claimed(record.id)
    with pytest.raises(ContainerError, match="is busy"):
        registry.claim(record.id)
    claim.release()
    assert not registry.claimed(record.id)
    registry.claim(record.id).release()


def test_states(registry: Registry) -> None:
    record, claim = registry.add(Record("", "web", TRUE))
    assert registry.find("web").state == "starting"
    claim.release()
    assert registry.find("web").state == "lost"
    started(registry, record, os.getpid())
    found = registry.find("web")
    assert (found.state, found.pid, found.wait_status) == ("running", os.getpid(), None)
    started(registry, record, 1 << 22, "768")
    found = registry.find("web")
    assert (found.state, found.pid, found.wait_status) == ("exited", None, 768)
    started(registry, record, 1 << 22)
    assert registry.find("web").wait_status == 9


def test_a_number_that_went_to_another_process(registry: Registry) -> None:
    record = added(registry)
    started(registry, record, os.getpid())
    path = os.path.join(registry.runtime(record.id).path(record.container_id), "pid")
    os.utime(path, (1, 1))
    assert registry.find(record.id).state == "exited"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"id": 1}', '{"id": "x", "name": "x", "command": 5}']
)
def test_damaged_records_hide_their_container_only(registry: Registry, content: str) -> None:
    kept, damaged = added(registry), added(registry)
    Path(registry.places.directory(damaged.id), "record.json").write_text(content)
    assert [each.record for each in registry.all()] == [kept]


def test_records_of_other_versions(registry: Registry) -> None:
    record = added(registry)
    path = Path(registry.places.directory(record.id), "record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "unknown": 1}))
    assert registry.find(record.id).record == record


def test_nothing_is_left_of_a_removed_one(registry: Registry, tmp_path: Path) -> None:
    record = added(registry)
    sandbox = Path(registry.places.sandbox(record.id))
    sandbox.mkdir(parents=True)
    (sandbox / "out").symlink_to(tmp_path)
    registry.remove(record.id)
    registry.remove(record.id)
    assert registry.all() == []
    assert not os.path.exists(registry.places.directory(record.id))
    assert not os.path.exists(registry.places.work_dir(record.id))
    assert tmp_path.is_dir()


@pytest.mark.parametrize("patience_s", [60.0, 0.0])
def test_a_logger_that_still_rotates(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    record = added(registry)
    sandbox = Path(registry.places.sandbox(record.id))
    sandbox.mkdir(parents=True)
    rmdir, rotations = os.rmdir, iter(range(3 if patience_s else 1000))

    def rotate(path: str, **options: Any) -> None:
        if path == "sandbox" and next(rotations, None) is not None:
            (sandbox / "stdout").touch()
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", rotate)
    monkeypatch.setattr("containerizer.local.registry._REMOVAL_S", patience_s)
    monkeypatch.setattr("containerizer.local.registry._REMOVAL_DELAY_S", 0.0)
    if patience_s:
        registry.remove(record.id)
        assert next(rotations, None) is None
        assert not os.path.exists(registry.places.work_dir(record.id))
    else:
        with pytest.raises(ContainerError, match="Directory not empty"):
            registry.remove(record.id)
