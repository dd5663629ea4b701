# SPDX-License-Identifier: Apache-2.0
"""Any layers give the same tree whether they are copied on each other or mounted."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerizer.provisioner import implicit
from containerizer.provisioner.backends.overlay import OverlayBackend
from containerizer.provisioner.trees import copy_layers
from mesos_compat.base.errors import UnpackError
from tests.containerizer.provisioner.images import Entry, folder
from tests.suites.image_backends import describe, unpack_layers

pytestmark = pytest.mark.root

_NAMES = st.sampled_from(["a", "b", "c"])
_WHITEOUTS = st.sampled_from([".wh.a", ".wh.b", ".wh.c", ".wh..wh..opq", ".wh..wh.plnk"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


def _whiteout(path: str, name: str) -> Entry:
    return Entry(f"{path}/{name}" if path else name)


_ENTRIES = st.one_of(
    st.builds(folder, _PATHS, mode=st.sampled_from([0o755, 0o700])),
    st.builds(Entry, _PATHS, st.binary(max_size=3), uid=st.integers(0, 3)),
    st.builds(Entry, _PATHS, kind=st.just("symlink"), to=st.sampled_from(["a", "/b", "../c"])),
    st.builds(Entry, _PATHS, kind=st.just("fifo")),
    st.builds(Entry, _PATHS, kind=st.just("link"), to=_PATHS),
    st.builds(_whiteout, st.one_of(st.just(""), _PATHS), _WHITEOUTS),
)
_LAYERS = st.lists(st.lists(_ENTRIES, max_size=6), min_size=1, max_size=4)


@given(layers=_LAYERS)
@settings(max_examples=150, deadline=None)
def test_same_tree(tmp_path_factory: pytest.TempPathFactory, layers: list[list[Entry]]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = tmp_path_factory.mktemp("trees")
    try:
        plain = unpack_layers(_made(base / "plain"), layers, "rootfs")
        converted = unpack_layers(_made(base / "overlay"), layers, "rootfs.overlay")
    except UnpackError:
        return  # a link to nothing, a file as directory, a whiteout beside its name
    copied = str(_made(base / "copied"))
    copy_layers([(layer, implicit.recall(layer)) for layer in plain], copied)
    backend = OverlayBackend(str(base))
    rootfs, directory = str(base / "rootfses" / "r"), str(base)
    asyncio.run(backend.provision(converted, rootfs, directory))
    try:
        assert _timeless(copied) == _timeless(rootfs)
    finally:
        asyncio.run(backend.destroy(rootfs, directory))


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _timeless(root: str) -> dict[str, tuple[object, ...]]:
    """Describe a tree without the times of directories: some are made in passing."""
    return {
        name: (*values[:3], None if values[5] is None else values[3], *values[4:])
        for name, values in describe(root).items()
    }
