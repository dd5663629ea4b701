# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import pytest

from containerizer.linux.mountinfo import MountEntry
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from mesos_compat.base import plugins
from mesos_compat.base.errors import FlagError
from mesos_compat.base.metrics import Metrics

PREFIX = (
    "Failed to create a containerizer: Could not create MesosContainerizer:"
    " Failed to create provisioner: "
)


def config(tmp_path: Path, **more: object) -> ProvisionerConfig:
    values: dict[str, object] = {
        "work_dir": str(tmp_path / "work"),
        "docker_store_dir": str(tmp_path / "docker"),
        "appc_store_dir": str(tmp_path / "appc"),
        "docker_registry": str(tmp_path),
        "appc_simple_discovery_uri_prefix": "/",
    } | more
    return ProvisionerConfig(**values)  # type: ignore[arg-type]  # values of several types


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"image_providers": ("dockr",)},
            "Failed to create image stores: Unknown image type 'dockr'",
        ),
        (
            {"image_providers": ("appc",), "appc_simple_discovery_uri_prefix": "ftp://x/"},
            "Failed to create image stores: Failed to create store for image type 'appc': Failed to"
            " create image fetcher: Invalid simple discovery uri prefix: ftp://x/",
        ),
        (
            {"image_providers": ("DOCKER",), "docker_registry": "foo"},
            "Failed to create image stores: Failed to create store for image type 'DOCKER': Failed"
            " to create Docker puller: Failed to create registry puller: Failed to parse the"
            " default Docker registry: Missing scheme in url string",
        ),
        (
            {"image_provisioner_backend": "aufs"},
            "The specified provisioner backend 'aufs' is not supported: Not found",
        ),
    ],
)
async def test_upstream_texts(tmp_path: Path, more: dict[str, object], text: str) -> None:
    with pytest.raises(FlagError) as error:
        create_provisioner(config(tmp_path, **more), Metrics())
    assert str(error.value) == PREFIX + text


async def test_both_kinds_of_images(tmp_path: Path) -> None:
    made = create_provisioner(
        config(tmp_path, image_providers=("docker", "APPC"), image_provisioner_backend="copy"),
        Metrics(),
    )
    await made.recover([])
    await made.close()


def on(filesystem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = MountEntry(1, 0, "0:1", "/", "/", (), (), filesystem, "", ())
    monkeypatch.setattr("containerizer.linux.mountinfo.read", lambda: [entry])


@pytest.mark.parametrize("filesystem", ["overlay", "btrfs", "aufs", "zfs", "ecryptfs"])
async def test_overlay_on_other_filesystems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filesystem: str
) -> None:
    monkeypatch.setattr(
        "containerizer.provisioner.backends.overlay.create", lambda config, metrics: object()
    )
    on(filesystem, monkeypatch)
    with pytest.raises(FlagError) as error:
        create_provisioner(config(tmp_path, image_provisioner_backend="overlay"), Metrics())
    assert str(error.value) == (
        f"{PREFIX}The specified provisioner backend 'overlay' is not supported: Backend 'overlay'"
        f" is not supported on the underlying filesystem '{filesystem}'"
    )
    made = create_provisioner(config(tmp_path), Metrics())
    assert made.preferred == ("copy",)


@pytest.mark.parametrize(("types", "backend"), [(True, "overlay"), (False, "copy")])
async def test_types_of_directory_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: bool, backend: str
) -> None:
    monkeypatch.setattr(
        "containerizer.provisioner.backends.overlay.create", lambda config, metrics: object()
    )
    on("xfs", monkeypatch)
    monkeypatch.setattr("containerizer.provisioner.create.reports_types", lambda path: types)
    assert create_provisioner(config(tmp_path), Metrics()).preferred[0] == backend


async def test_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert create_provisioner(config(tmp_path), Metrics()).preferred == ("copy",)


def _broken(*_: object) -> None:
    raise ZeroDivisionError("backend")


async def test_a_foreign_backend_that_breaks_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = ModuleType("backends_for_test")
    module.broken = _broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    points = [
        *entry_points(group="mesos_compat.image_backends"),
        EntryPoint("bad", "backends_for_test:broken", "mesos_compat.image_backends"),
    ]
    stores = entry_points(group="mesos_compat.image_stores")
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: points if "backends" in group else stores
    )
    await create_provisioner(config(tmp_path), Metrics()).close()
    assert "Failed to create 'bad' backend: ZeroDivisionError: backend" in caplog.text
    with pytest.raises(FlagError, match="'bad' is not supported: Not found"):
        create_provisioner(config(tmp_path, image_provisioner_backend="bad"), Metrics())
