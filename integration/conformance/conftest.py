# SPDX-License-Identifier: Apache-2.0
"""The stage of each scenario, which masters it is played with, and the table of results."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conformance.stage import Stage
from integration.scene import Scene

_HERE = Path(__file__).parent
#: How a cell of the table is written, most telling first.
_WORDS = {"failed": "FAILED", "error": "FAILED", "skipped": "-", "passed": "ok"}


@pytest.fixture
def stage(master_version: str, scene: Scene, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage for one scenario with one master, which judges what it saw in the end."""
    made = Stage(scene, master_version)
    failed = request.session.testsfailed
    try:
        yield made
    finally:
        if request.session.testsfailed > failed or not hasattr(made, "agent"):
            made.hang_up()
        else:
            made.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--matrix`` keep each scenario with one master, chosen by its name."""
    if config.getoption("--matrix"):
        return
    versions = [v for v in config.getoption("--master-versions").split(",") if v]
    others = [item for item in items if _HERE in item.path.parents and not _in_turn(item, versions)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print scenario × master."""
    if not config.getoption("--matrix"):
        return
    versions = [v for v in config.getoption("--master-versions").split(",") if v]
    cells: dict[str, dict[str, str]] = {}
    for outcome, word in _WORDS.items():
        for report in terminalreporter.stats.get(outcome, ()):
            scenario, version = _split(report.nodeid, versions)
            if version:
                cells.setdefault(scenario, {}).setdefault(version, word)
    if not cells:
        return
    width = max(map(len, cells))
    terminalreporter.section("conformance")
    terminalreporter.line(f"{'':{width}}  " + "  ".join(f"{v:>6}" for v in versions))
    for scenario in sorted(cells):
        row = "  ".join(f"{cells[scenario].get(v, ''):>6}" for v in versions)
        terminalreporter.line(f"{scenario:{width}}  {row}")


def _in_turn(item: pytest.Item, versions: list[str]) -> bool:
    scenario, version = _split(item.nodeid, versions)
    return version == versions[zlib.crc32(scenario.encode()) % len(versions)]


def _split(nodeid: str, versions: list[str]) -> tuple[str, str]:
    """Return name of the scenario and version of the master; an empty one if it has none."""
    path, _, name = nodeid.partition("::")
    base, _, rest = name.partition("[")
    parts = rest.rstrip("]").split("-") if rest else []
    version = next((part for part in parts if part in versions), "")
    group = Path(path).stem.removeprefix("test_")
    kind = "-".join(part for part in parts if part != version)
    return f"{group}: {base.removeprefix('test_')}" + (f" ({kind})" if kind else ""), version
