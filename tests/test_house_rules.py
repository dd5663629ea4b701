# SPDX-License-Identifier: Apache-2.0
"""Rules of the house that a check can hold (imports have theirs in setup.cfg)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mesos_compat", "containerizer", "fetcher", "integration", "tests", "bench")
GENERATED = ROOT / "mesos_compat" / "pb" / "mesos"

#: The only module that may start an asyncio task: everything else owns its tasks by a scope.
TASK_STARTER = "mesos_compat/base/scope.py"


def sources(*packages: str) -> list[Path]:
    """Return the hand-written modules below ``packages``."""
    return [
        path
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if GENERATED not in path.parents
    ]


def test_every_module_names_its_licence() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        if "SPDX-License-Identifier: Apache-2.0" not in path.read_text()[:120]
    ]
    assert missing == []


def test_only_scopes_start_tasks() -> None:
    starters = {"create_task", "ensure_future"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("mesos_compat", "containerizer", "fetcher")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in starters
        and str(path.relative_to(ROOT)) != TASK_STARTER
    ]
    assert found == []


def test_public_class_names_are_unique() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in sources("mesos_compat", "containerizer", "fetcher"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_public_things_have_docstrings() -> None:
    bare = []
    for path in sources("mesos_compat", "containerizer", "fetcher"):
        tree = ast.parse(path.read_text())
        if path.name != "__init__.py" and ast.get_docstring(tree) is None:
            bare.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            if (
                isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and not node.name.startswith("_")
                and ast.get_docstring(node) is None
            ):
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert bare == []


def test_no_room_for_leftovers() -> None:
    names = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert [
        str(p) for p in sources("mesos_compat", "containerizer", "fetcher") if p.name in names
    ] == []


def test_what_a_container_child_loads() -> None:
    """The init must not drag in the daemon: no event loop, no protobuf, no HTTP."""
    program = (
        "import sys; import containerizer.init.launch, containerizer.init.spawner;"
        "print(' '.join(m for m in ('asyncio', 'aiohttp', 'google', 'mesos_compat.pb',"
        " 'mesos_compat.model', 'mesos_compat.agent') if m in sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
