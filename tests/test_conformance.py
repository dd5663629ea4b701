# SPDX-License-Identifier: Apache-2.0
"""The pages below ``docs/conformance``: every item of a checklist has tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.test_house_rules import ROOT

PAGES = sorted((ROOT / "docs" / "conformance").glob("*.md"))
#: The specifications, where they are at hand.
SPECIFICATIONS = ROOT.parent / "shared" / "spec"

_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`((?:tests|integration)/[\w/]+\.py)::(\w+)`")
_REASON = re.compile(r"not shown[^:]*: \S")


def rows(page: Path) -> list[tuple[int, str]]:
    """Return number and proof of each item."""
    return [(int(number), proof) for number, _, proof in _ROW.findall(page.read_text())]


@cache
def functions(path: str) -> frozenset[str]:
    """Return the tests of a file, those of its classes included."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


def test_there_are_pages() -> None:
    assert PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_item_is_shown_or_says_why_not(page: Path) -> None:
    found = rows(page)
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert len(found) == len(lines) - 2, "a line of the table cannot be read"
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    for number, proof in found:
        assert _TEST.search(proof) or _REASON.search(proof), f"item {number}: {proof}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tests_exist(page: Path) -> None:
    named = {test for _, proof in rows(page) for test in _TEST.findall(proof)}
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).is_file() or name not in functions(path)
    ]
    assert missing == []
    quoted = {quote for _, proof in rows(page) for quote in re.findall(r"`([^`]*::[^`]*)`", proof)}
    assert quoted == {f"{path}::{name}" for path, name in named}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_item_of_the_specification_is_left_out(page: Path) -> None:
    specification = SPECIFICATIONS / page.name
    if not specification.is_file():
        pytest.skip("the specifications are not here")
    text = specification.read_text()
    *_, checklist = re.split(r"^## (?:\d+\. )?Conformance checklist$", text, flags=re.MULTILINE)
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", checklist, re.MULTILINE)]
    assert numbers == [number for number, _ in rows(page)]
