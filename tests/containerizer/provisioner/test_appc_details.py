# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containerizer.provisioner.appc_details import AppcApp, MountPoint, appc_app, path_whitelist
from mesos_compat.base.errors import ManifestError

APP = {
    "exec": ["/a"],
    "user": "u",
    "group": "g",
    "supplementaryGIDs": [1, 2],
    "mountPoints": [{"name": "d", "path": "/d", "readOnly": True}, {"path": "/e"}],
    "ports": [{"name": "www", "port": 80}],
    "isolators": [{"name": "os/linux/no-new-privileges", "value": True}],
    "eventHandlers": [{"name": "pre-start", "exec": ["/x", "y"]}],
}


def encoded(**more: Any) -> bytes:
    return json.dumps({"name": "img", **more}).encode()


def test_all_of_it() -> None:
    assert appc_app(encoded(app=APP)) == AppcApp(
        image="img",
        user="u",
        group="g",
        supplementary_gids=(1, 2),
        mount_points=(MountPoint("d", "/d", read_only=True), MountPoint("", "/e")),
        ports=("www",),
        isolators={"os/linux/no-new-privileges": True},
        event_handlers={"pre-start": ("/x", "y")},
    )
    assert appc_app(encoded()) is None
    assert appc_app(encoded(app={})) == AppcApp(image="img")
    assert path_whitelist(encoded(pathWhitelist=["/a"])) == ("/a",)
    assert path_whitelist(encoded(pathWhitelist=None)) == ()


@pytest.mark.parametrize(
    "app",
    [
        [],
        {"user": 1},
        {"supplementaryGIDs": ["1"]},
        {"supplementaryGIDs": [-1]},
        {"supplementaryGIDs": [True]},
        {"mountPoints": [{"name": "x"}]},
        {"mountPoints": [{"path": "/"}]},
        {"mountPoints": [{"path": "/a/../b"}]},
        {"mountPoints": "x"},
        {"ports": [{}] * 1001},
        {"isolators": [1]},
    ],
)
def test_unusable(app: Any) -> None:
    with pytest.raises(ManifestError):
        appc_app(encoded(app=app))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(APP)), _JSON), _JSON)
def test_anything(app: dict[str, Any], whitelist: Any) -> None:
    data = encoded(app=app, pathWhitelist=whitelist)
    for read in (appc_app, path_whitelist):
        try:
            read(data)
        except ManifestError:
            pass
