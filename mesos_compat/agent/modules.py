# SPDX-License-Identifier: Apache-2.0
"""``--modules`` and ``--modules_dir``: the parameters of plug-ins, in upstream's form.

Upstream lists libraries and the modules in them. A library of C++ code cannot be loaded here: the
modules it lists have to be entry points of these names, and get the parameters.

Source: spec ``containerizer`` 18.1.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.plugins import Parameters
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos.module import module_pb2 as module

log = logging.getLogger(__name__)

#: How the groups of plug-ins begin.
_PREFIX = "mesos_compat."
_ERROR = "Error loading modules: "


def module_parameters(
    modules: Mapping[str, Any] | None, modules_dir: str | None
) -> dict[str, Parameters]:
    """Return the parameters of each module that the flags list. Raises FlagError."""
    if modules is not None and modules_dir is not None:
        raise FlagError("Only one of --modules or --modules_dir should be specified")
    manifests: list[tuple[str, module.Modules]] = []
    if modules is not None:
        manifests.append(("--modules", _manifest("--modules", modules)))
    if modules_dir is not None:
        manifests += _read(modules_dir)
    made: dict[str, Parameters] = {}
    for _, manifest in manifests:
        for library in manifest.libraries:
            _add(made, library)
    return made


def _read(folder: str) -> list[tuple[str, module.Modules]]:
    found = []
    try:
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found.append((path, _manifest(path, jsonpb.loads(file.read()))))
    except OSError as error:
        raise FlagError(f"{_ERROR}{error}") from error
    except WireError as error:
        raise FlagError(f"{_ERROR}{path}: {error}") from error
    return found


def _manifest(where: str, value: Any) -> module.Modules:
    try:
        return jsonpb.from_value(module.Modules, value)
    except WireError as error:
        raise FlagError(f"{_ERROR}{where}: {error}") from error


def _add(made: dict[str, Parameters], library: module.Modules.Library) -> None:
    shown = library.file or library.name
    for listed in library.modules:
        if not listed.name:
            raise FlagError(f"{_ERROR}a module of library '{shown}' has no name")
        if listed.name in made:
            raise FlagError(f"{_ERROR}Duplicate module '{listed.name}'")
        if not _installed(listed.name):
            raise FlagError(
                f"{_ERROR}module '{listed.name}' is not installed: C++ libraries"
                f"{f' ({shown})' if shown else ''} cannot be loaded by this agent, plug-ins are"
                f" Python distributions with an entry point of that name in a group {_PREFIX}…"
            )
        made[listed.name] = tuple((p.key, p.value) for p in listed.parameters)
    if shown:
        log.warning(
            "The library '%s' is not loaded: this agent uses Python entry points of the same names",
            shown,
        )


def _installed(name: str) -> bool:
    return any(point.group.startswith(_PREFIX) for point in entry_points(name=name))
