# SPDX-License-Identifier: Apache-2.0
"""Plug-ins: entry-point groups of installed distributions.

Built-in parts register in ``setup.cfg`` exactly like foreign ones, for example::

    [options.entry_points]
    mesos_compat.isolators =
        cgroups/cpu = containerizer.isolators.cgroups.v1:Cpu
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mesos_compat.base.errors import FlagError

log = logging.getLogger(__name__)


class Group:
    """The plug-ins of one group, by name. Nothing is imported before ``load``."""

    def __init__(self, name: str, points: Iterable[EntryPoint] | None = None) -> None:
        self.name = name
        self._points: dict[str, EntryPoint] = {}
        for point in entry_points(group=name) if points is None else points:
            known = self._points.setdefault(point.name, point)
            if known.value != point.value:
                log.warning(
                    "%s: '%s' is registered as %s and as %s; using the first",
                    name,
                    point.name,
                    known.value,
                    point.value,
                )

    def names(self) -> list[str]:
        """Return the names that can be loaded, sorted."""
        return sorted(self._points)

    def __contains__(self, name: str) -> bool:
        return name in self._points

    def load(self, name: str) -> Any:
        """Import the object registered as ``name``.

        Raises FlagError if there is none or its module cannot be imported.
        """
        point = self._points.get(name)
        if point is None:
            known = ", ".join(self.names()) or "none"
            raise FlagError(f"Unknown plug-in '{name}' in {self.name} (known: {known})")
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise FlagError(f"Failed to load plug-in '{name}' of {self.name}: {error}") from error
