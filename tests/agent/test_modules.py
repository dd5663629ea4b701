# SPDX-License-Identifier: Apache-2.0
"""The flags for modules give parameters to plug-ins, and refuse what cannot be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mesos_compat.agent.modules import module_parameters
from mesos_compat.base.errors import FlagError


def modules(*named: str, **library: str) -> dict[str, Any]:
    parameters = [{"key": "b", "value": "2"}, {"key": "a", "value": "1"}, {"key": "b", "value": ""}]
    listed = [{"name": name, "parameters": parameters} for name in named]
    return {"libraries": [{**library, "modules": listed}]}


PARAMETERS = (("b", "2"), ("a", "1"), ("b", ""))


def test_parameters_keep_their_order(caplog: pytest.LogCaptureFixture) -> None:
    assert module_parameters(None, None) == {}
    assert module_parameters(modules("posix/cpu", "bind"), None) == {
        "posix/cpu": PARAMETERS,
        "bind": PARAMETERS,
    }
    assert caplog.text == ""
    module_parameters(modules("posix/cpu", file="/lib/libx.so"), None)
    assert "The library '/lib/libx.so' is not loaded" in caplog.text


def test_a_folder_of_manifests(tmp_path: Path) -> None:
    (tmp_path / "2").write_text(json.dumps(modules("posix/mem")))
    (tmp_path / "1").write_text(json.dumps(modules("posix/cpu")))
    assert list(module_parameters(None, str(tmp_path))) == ["posix/cpu", "posix/mem"]
    (tmp_path / "3").write_text("{")
    with pytest.raises(FlagError, match=rf"^Error loading modules: {tmp_path}/3: "):
        module_parameters(None, str(tmp_path))
    with pytest.raises(FlagError, match=r"^Error loading modules: .*No such file"):
        module_parameters(None, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            modules("org_apache_Foo", file="/lib/libfoo.so"),
            "module 'org_apache_Foo' is not installed: C++ libraries (/lib/libfoo.so) cannot be"
            " loaded by this agent, plug-ins are Python distributions with an entry point of that"
            " name in a group mesos_compat.…",
        ),
        (modules("mesos-agent"), "module 'mesos-agent' is not installed"),
        (modules("posix/cpu", "posix/cpu"), "Duplicate module 'posix/cpu'"),
        (modules("", name="foo"), "a module of library 'foo' has no name"),
        ({"libraries": 3}, "--modules: "),
    ],
)
def test_refusals(value: dict[str, Any], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        module_parameters(value, None)
    assert str(caught.value).startswith(f"Error loading modules: {text}")


def test_one_of_the_flags() -> None:
    with pytest.raises(FlagError, match=r"^Only one of --modules or --modules_dir"):
        module_parameters({}, "/")
