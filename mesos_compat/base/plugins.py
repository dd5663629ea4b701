# SPDX-License-Identifier: Apache-2.0
"""Plug-ins: entry-point groups of installed distributions.

Built-in parts register in ``setup.cfg`` exactly like foreign ones, for example::

    [options.entry_points]
    mesos_compat.isolators =
        posix/cpu = containerizer.isolators.posix_cpu:PosixCpuIsolator

A foreign one takes the place of a built-in one of the same name, with a warning. Foreign code is
run within a time limit, and whatever it raises becomes a FlagError.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import Any, TypeVar

from mesos_compat.base.errors import FlagError, InvariantError, MesosCompatError

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Parameters of a plug-in from ``--modules``, in order; a key may come more than once.
Parameters = tuple[tuple[str, str], ...]

_OUR_PACKAGES = frozenset({"mesos_compat", "containerizer", "fetcher"})

#: Seconds that a plug-in gets to be imported, and again to be created.
START_S = 60.0


class _Late(BaseException):
    """No Exception, so that no plug-in catches it by the way."""


class Group:
    """The plug-ins of one group, by name. Nothing is imported before ``load``."""

    def __init__(self, name: str, points: Iterable[EntryPoint] | None = None) -> None:
        self.name = name
        self._points: dict[str, EntryPoint] = {}
        for point in entry_points(group=name) if points is None else points:
            known = self._points.setdefault(point.name, point)
            if known.value == point.value:
                continue
            if _built_in(known) and not _built_in(point):
                known, point = point, known
                self._points[known.name] = known
            log.warning(
                "%s: '%s' is registered as %s and as %s; using the first",
                name,
                known.name,
                known.value,
                point.value,
            )

    def names(self) -> list[str]:
        """Return the names that can be loaded, sorted."""
        return sorted(self._points)

    def __contains__(self, name: str) -> bool:
        return name in self._points

    def origin(self, name: str) -> str:
        """Return distribution and object of a known name, for operators."""
        point = self._points[name]
        home = f"{point.dist.name} {point.dist.version}, " if point.dist is not None else ""
        return f"{home}{point.value}"

    def load(self, name: str, limit_s: float = START_S) -> Any:
        """Import the object registered as ``name``.

        Raises FlagError if there is none or its module cannot be imported.
        """
        point = self._points.get(name)
        if point is None:
            known = ", ".join(self.names()) or "none"
            raise FlagError(f"Unknown plug-in '{name}' in {self.name} (known: {known})")
        try:
            return call(point.load, limit_s=limit_s)
        except FlagError as error:
            raise FlagError(f"Failed to load plug-in '{name}' of {self.name}: {error}") from error

    def make(
        self,
        name: str,
        build: Callable[[Any], T],
        verbs: Sequence[str] = (),
        limit_s: float = START_S,
    ) -> T:
        """Return what ``build`` makes of the object registered as ``name``.

        The result must have a method for each of ``verbs``. Raises FlagError.
        """
        loaded = self.load(name, limit_s)
        try:
            made = call(build, loaded, limit_s=limit_s)
        except FlagError as error:
            raise FlagError(f"Failed to create plug-in '{name}' of {self.name}: {error}") from error
        missing = [verb for verb in verbs if not callable(getattr(made, verb, None))]
        if missing:
            raise FlagError(
                f"Failed to create plug-in '{name}' of {self.name}:"
                f" {type(made).__name__} has no {', '.join(missing)}"
            )
        return made


def call(function: Callable[..., T], *args: object, limit_s: float = START_S) -> T:
    """Call foreign code at start. Raises FlagError with the reason only, whatever happens."""
    try:
        with time_limit(limit_s):
            return function(*args)
    except InvariantError:
        raise
    except MesosCompatError as error:
        raise FlagError(str(error)) from error
    except (ImportError, AttributeError, OSError) as error:
        raise FlagError(str(error)) from error
    except (Exception, SystemExit) as error:
        log.error("%r broke", function, exc_info=error)
        raise FlagError(f"{type(error).__name__}: {error}") from error


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise TimeoutError out of the block after ``limit_s``, even out of foreign code that waits.

    For synchronous blocks in the main thread; elsewhere there is no limit. Code that holds the
    interpreter without running any of Python's cannot be stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    began = time.monotonic()
    rest_s, interval_s = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    except _Late:
        raise TimeoutError(f"it did not return within {limit_s:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if rest_s:
            rest_s = max(rest_s - (time.monotonic() - began), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, rest_s, interval_s)


def _built_in(point: EntryPoint) -> bool:
    return point.value.split(".")[0] in _OUR_PACKAGES
