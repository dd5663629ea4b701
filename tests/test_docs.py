# SPDX-License-Identifier: Apache-2.0
"""The pages of ``docs/`` are true where a test can tell."""

from __future__ import annotations

import asyncio
import grp
import os
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from containerizer.loggers.base import LoggerContext
from containerizer.provisioner.config import ProvisionerConfig
from mesos_compat.agent.hooks import Hooks
from mesos_compat.authorization.api import Action, AuthorizationObject
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.errors import FlagError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.http.authentication import AuthenticationRefusal, AuthenticatorContext
from mesos_compat.http.principal import Principal
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.suites.isolators import context
from tests.test_house_rules import ROOT, sources

_CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_deviation_is_listed() -> None:
    page = (ROOT / "docs" / "deviations.md").read_text()
    listed = re.findall(r"^\* `([^`]+\.py)`", page, re.MULTILINE)
    deviating = {
        str(path.relative_to(ROOT))
        for path in sources("mesos_compat", "containerizer", "fetcher")
        if re.search(r"\bDeviations?\b.*:", path.read_text())
    }
    assert len(set(listed)) == len(listed)
    assert set(listed) == deviating


def examples() -> dict[str, Any]:
    """All names that the Python examples of the page on plug-ins define."""
    names: dict[str, Any] = {}
    for code in _CODE.findall((ROOT / "docs" / "plugins.md").read_text()):
        exec(compile(code, "docs/plugins.md", "exec"), names)  # noqa: S102 - it is our own page
    return names


def test_the_groups_of_plug_ins_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text()
    named = set(re.findall(r"^\| `(mesos_compat\.\w+)` ", page, re.MULTILINE))
    used = {
        group
        for path in sources("mesos_compat", "containerizer", "fetcher")
        for group in re.findall(r'^[A-Z]+ = "(mesos_compat\.\w+)"$', path.read_text(), re.MULTILINE)
    }
    assert named == used


async def test_the_examples_work(tmp_path: Path) -> None:
    made = examples()
    parameters = (("folder", str(tmp_path)), ("proxy", "http://p:1"))
    container_id = ContainerId("c")
    config = slave.ContainerConfig()

    around = context(tmp_path)
    object.__setattr__(around, "parameters", parameters)
    info = await made["ProxyIsolator"].create(around).prepare(container_id, config)
    assert info.environment.variables[0].value == "http://p:1"

    hooks = Hooks([("rack", made["RackHook"].create(()))])
    executor = pb.ExecutorInfo()
    executor.executor_id.value = "e"
    assert hooks.executor_environment(executor) == {"EXAMPLE_HOOK": "was here"}

    resolver = made["DirectoryResolver"](parameters)
    (tmp_path / "key").write_bytes(b"hush")
    reference = pb.Secret(reference=pb.Secret.Reference(name="key"))
    assert await resolver.resolve(reference) == b"hush"

    proxy = made["ProxyAuthenticator"](AuthenticatorContext("realm", parameters=(("key", "k"),)))
    for key, known in (
        ("k", Principal("ops")),
        ("other", AuthenticationRefusal(403, "Ask the proxy.")),
    ):
        headers = {"X-Proxy-Key": key, "X-Forwarded-User": "ops"}
        assert await proxy.authenticate(make_mocked_request("GET", "/", headers)) == known

    async with Scope("test") as scope:
        group = next(each.gr_name for each in grp.getgrall() if "nobody" not in each.gr_mem)
        gate = Gate(made["GroupAuthorizer"]((("group", group),)), scope)
        nobody, anything = Principal("nobody"), AuthorizationObject()
        assert await gate.authorized(nobody, Action.RUN_TASK, anything)
        assert not await gate.authorized(nobody, Action.ACCESS_SANDBOX, anything)
        assert (await gate.approver(nobody, Action.VIEW_TASK))(anything)
    with pytest.raises(FlagError, match="names no group"):
        made["GroupAuthorizer"](())

    logger = made["OneFileLogger"](LoggerContext(parameters))
    stdout, stderr = await logger.prepare(container_id, config)
    for descriptor in (stdout, stderr):
        os.write(descriptor, b"x")
        os.close(descriptor)
    assert (tmp_path / "c.log").read_bytes() == b"xx"

    backend = made["create"](ProvisionerConfig(work_dir=str(tmp_path)), Metrics())
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "f").touch()
    async with asyncio.timeout(60):
        assert await backend.provision([str(tmp_path / "layer")], str(tmp_path / "root"), "") == ()
        assert (tmp_path / "root" / "f").exists()
        assert await backend.destroy(str(tmp_path / "root"), "")
        assert not await backend.destroy(str(tmp_path / "root"), "")
