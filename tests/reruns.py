# SPDX-License-Identifier: Apache-2.0
"""A plugin for pytest: what needs a whole machine gets a second try, and the report says so.

``pytest -p tests.reruns``, as CI does. Only tests that are marked ``root`` or ``integration`` are
run again, once, with new fixtures of every scope and all of their time; of the others a failure is
a failure. A rerun is a finding to be mended: the summary shows what the first try printed.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import pytest_timeout

_TRIES = 2
_MARKS = ("integration", "root")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what may be run again, once everybody has marked theirs."""
    for item in items:
        if any(item.get_closest_marker(name) for name in _MARKS):
            item.add_marker(pytest.mark.flaky(reruns=_TRIES - 1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give another try all of the time and nothing of what the one before has used."""
    if getattr(item, "execution_count", 1) == 1 or not isinstance(item, pytest.Function):
        return
    settings = pytest_timeout._get_item_settings(item)
    if settings.timeout and not settings.func_only:
        item.ihook.pytest_timeout_cancel_timer(item=item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        for fixture in fixtures:
            if fixture.scope != "function":
                fixture.finish(item._request)  # type: ignore[arg-type] # any request does


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show all that failed tries said."""
    stats = terminalreporter.stats
    failed = {report.nodeid for report in stats.get("rerun", ())}
    for node in sorted(failed):
        terminalreporter.write_sep("=", f"run again: {node}", yellow=True)
        for report in _first_try(node, stats.values()):
            if report.longrepr is not None:
                terminalreporter.write_line(report.longreprtext)
        # The sections of the last phase hold those of all.
        for report in _first_try(node, stats.values())[-1:]:
            for title, content in report.sections:
                terminalreporter.write_sep("-", title)
                terminalreporter.write_line(content)


def _first_try(node: str, stats: Iterable[list[pytest.TestReport]]) -> list[pytest.TestReport]:
    found = [
        report
        for reports in stats
        for report in reports
        if getattr(report, "rerun", None) == 0 and report.nodeid == node
    ]
    return sorted(found, key=lambda report: ("setup", "call", "teardown").index(report.when))
