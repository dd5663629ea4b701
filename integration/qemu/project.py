# SPDX-License-Identifier: Apache-2.0
"""The disk with this project, what it needs, and the job of the guest: mounted at /opt there.

venv/       a virtual environment of the guest's Python with copies of our dependencies
project/    the source tree
cache/      the library of the real master
job.json    {"argv": […], "environ": {…}}
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_TREES = ("containerizer", "fetcher", "integration", "mesos_compat", "tests")
_FILES = ("setup.cfg", "pyproject.toml")
_NAME = "mesos-compat"
#: What running the tests needs beside what the project needs itself.
_TEST_TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "packaging")
_SCRIPT = """\
#!/opt/venv/bin/python3
import sys
from {module} import {function}
sys.exit({function}())
"""


def write(folder: str, argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Write all of it below ``folder``."""
    project = os.path.join(folder, "project")
    for name in _TREES:
        shutil.copytree(os.path.join(_ROOT, name), os.path.join(project, name), symlinks=True)
    for name in _FILES:
        shutil.copy2(os.path.join(_ROOT, name), project)
    _write_environment(os.path.join(folder, "venv"))
    _write_master(os.path.join(folder, "cache"))
    with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
        json.dump({"argv": list(argv), "environ": dict(environ)}, file)


def _write_environment(venv: str) -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = os.path.join(venv, "lib", version, "site-packages")
    scripts = os.path.join(venv, "bin")
    os.makedirs(site)
    os.makedirs(scripts)
    for name in ("python", "python3"):
        os.symlink(f"/usr/bin/{version}", os.path.join(scripts, name))
    with open(os.path.join(venv, "pyvenv.cfg"), "w", encoding="ascii") as file:
        file.write("home = /usr/bin\ninclude-system-site-packages = false\n")
    with open(os.path.join(site, "project.pth"), "w", encoding="ascii") as file:
        file.write("/opt/project\n")
    for distribution in _closure([_NAME, *_TEST_TOOLS]):
        if canonicalize_name(distribution.metadata["Name"]) == _NAME:
            _write_own(distribution, site, scripts)
        else:
            _copy(distribution, site)


def _closure(names: Sequence[str]) -> list[metadata.Distribution]:
    """Return distributions with all that they require."""
    found: dict[str, metadata.Distribution] = {}
    pending = list(names)
    while pending:
        name = canonicalize_name(pending.pop())
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            required = Requirement(text)
            if required.marker is None or required.marker.evaluate({"extra": ""}):
                pending.append(required.name)
    return list(found.values())


def _copy(distribution: metadata.Distribution, site: str) -> None:
    for path in distribution.files or ():
        if ".." not in path.parts:
            target = os.path.join(site, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            # Times are kept: compiled modules are valid for sources of that time.
            shutil.copy2(str(distribution.locate_file(path)), target)


def _write_own(distribution: metadata.Distribution, site: str, scripts: str) -> None:
    """Write the entry points of this project, whose source is elsewhere."""
    info = os.path.join(site, f"mesos_compat-{distribution.version}.dist-info")
    os.mkdir(info)
    for name in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(name) or distribution.read_text("PKG-INFO") or ""
        with open(os.path.join(info, name), "w", encoding="utf-8") as file:
            file.write(text)
    for point in distribution.entry_points.select(group="console_scripts"):
        path = os.path.join(scripts, point.name)
        with open(path, "w", encoding="ascii") as file:
            file.write(_SCRIPT.format(module=point.module, function=point.attr))
        os.chmod(path, 0o755)


def _write_master(cache: str) -> None:
    """Copy the library of the latest master."""
    from mesos_compat.cli.master import DEFAULT_VERSION, library

    path = library(DEFAULT_VERSION)
    folder = os.path.join(cache, "mesos-compat", "master")
    os.makedirs(folder, mode=0o700)
    shutil.copy2(path, folder)
