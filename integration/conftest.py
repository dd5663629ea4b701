# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests: a scene to play in, and nothing left behind after it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import images
from integration.master import SUPPORTED
from integration.scene import Scene

_HERE = Path(__file__).parent
_REPORT = pytest.StashKey[dict[str, pytest.TestReport]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    parser.addoption(
        "--master-versions",
        "--masters",
        default=",".join(SUPPORTED),
        help="comma-separated Mesos versions to test with (default: %(default)s)",
    )
    parser.addoption(
        "--matrix",
        action="store_true",
        help="run each scenario of conformance with all masters, not with one of them in turn",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("root") and os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``master_version`` with each of them."""
    if "master_version" in metafunc.fixturenames:
        versions = metafunc.config.getoption("--master-versions")
        metafunc.parametrize("master_version", [v for v in versions.split(",") if v])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember how each phase ended, for the fixtures' clean-up."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    item.stash.setdefault(_REPORT, {})[report.when] = report
    return report  # type: ignore[return-value]


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """A place to start masters and agents in; fails the test when they leave anything behind."""
    scene = Scene(os.path.realpath(tmp_path))
    yield scene
    report = request.node.stash.get(_REPORT, {}).get("call")
    if report is not None and report.failed:
        print(scene.describe())
        scene.close()
        return
    left = scene.close()
    if left:
        pytest.fail(f"left behind on this host:\n{left}\n{scene.describe()}", pytrace=False)


@pytest.fixture(scope="session")
def docker_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for ``--docker_registry`` with busybox:latest."""
    folder = str(tmp_path_factory.mktemp("docker"))
    images.write_docker(folder, "busybox:latest")
    return folder


@pytest.fixture(scope="session")
def appc_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for ``--appc_simple_discovery_uri_prefix`` with ubuntu."""
    folder = str(tmp_path_factory.mktemp("appc"))
    images.write_appc(folder, "ubuntu")
    return folder
