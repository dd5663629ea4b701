# SPDX-License-Identifier: Apache-2.0
"""Log lines as glog writes them, to stderr and files, and the verbosity that can be toggled.

The rest of the program uses ``logging.getLogger(__name__)``; a program's ``main`` calls ``start``
once. DEBUG lines are those of ``GLOG_v=1``.

Source: spec ``agent-flags.tsv`` (quiet, logging_level, log_dir, GLOG_v), ``operator-api`` 5.7.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from mesos_compat.base.errors import FlagError

#: What ``--logging_level`` may say.
LEVELS: Final = {"INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}

_SEVERITY: Final = ((logging.CRITICAL, "F"), (logging.ERROR, "E"), (logging.WARNING, "W"))

#: Longest text of a line; more is of no use to a reader, and peers may have written it.
MAX_TEXT: Final = 8192
#: What could end a line, move a terminal's cursor or not be written at all.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return ``text`` as one line of bounded length: texts of peers get into the log."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}... ({len(text)} characters)"
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class Complaints:
    """Warnings about what peers do: ``burst`` of them per ``period_s``, the others are counted, so
    that nobody fills a disk by talking nonsense.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        burst: int = 20,
        period_s: float = 10.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._burst = burst
        self._period_s = period_s
        self._now = now
        self._until = 0.0
        self._made = 0

    def warn(self, text: str, *args: object) -> None:
        """Write a warning, or count it."""
        if not self.admit():
            return
        self._logger.warning(text, *args, stacklevel=2)

    def admit(self) -> bool:
        """Say whether one more may be written now."""
        now = self._now()
        if now >= self._until:
            left_out = self._made - self._burst
            if left_out > 0:
                self._logger.warning("%d more lines like the last ones were left out", left_out)
            self._until, self._made = now + self._period_s, 0
        self._made += 1
        return self._made <= self._burst


class GlogFormatter(logging.Formatter):
    """``I1123 09:15:01.123456 12345 file.py:7] text``; stack traces follow on further lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of ``record``."""
        severity = next((letter for level, letter in _SEVERITY if record.levelno >= level), "I")
        local = time.localtime(record.created)
        micros = int(record.created % 1 * 1_000_000)
        text = printable(record.getMessage())
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            trace = "\n".join(map(printable, record.exc_text.splitlines()))
            text = f"{text}\n{trace}"
        stamp = time.strftime("%m%d %H:%M:%S", local)
        return (
            f"{severity}{stamp}.{micros:06d} {record.process or 0:5d} "
            f"{record.filename}:{record.lineno}] {text}"
        )


class _LogFile(logging.FileHandler):
    """On a full disk lines are lost here, and nobody is told so for each of them."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 name of logging
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file; what does not fit any more is lost."""
        with contextlib.suppress(OSError):
            super().close()


class Logging:
    """The running logging of a program; made by ``start``."""

    def __init__(self, level: str, verbosity: int, files: Mapping[str, str]) -> None:
        self.level = level
        #: Verbosity that the program was started with; a toggle goes back to it.
        self.initial_verbosity = verbosity
        #: Severity → path of the link to the current log file.
        self.files = dict(files)
        self._verbosity = verbosity
        self._handlers: list[logging.Handler] = []
        self._level_before = logging.getLogger().level

    @property
    def verbosity(self) -> int:
        """The verbose level as ``GLOG_v`` counts it."""
        return self._verbosity

    def set_verbosity(self, verbosity: int) -> None:
        """Show verbose (DEBUG) lines from level 1 on; takes effect at once."""
        self._verbosity = verbosity
        root = logging.getLogger()
        base = LEVELS[self.level]
        root.setLevel(logging.DEBUG if verbosity >= 1 and base == logging.INFO else base)

    def _add(self, handler: logging.Handler) -> None:
        handler.setFormatter(GlogFormatter())
        self._handlers.append(handler)
        logging.getLogger().addHandler(handler)

    def stop(self) -> None:
        """Flush and take the handlers away again; the level is what it was."""
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers.clear()
        logging.getLogger().setLevel(self._level_before)


def start(
    program: str,
    *,
    level: str = "INFO",
    log_dir: str | None = None,
    quiet: bool = False,
    environ: Mapping[str, str] = os.environ,
    stderr: TextIO | None = None,
) -> Logging:
    """Send the program's log where its flags say; ``GLOG_v`` is read from ``environ``.

    ``program`` names the files: ``<log_dir>/<program>.INFO`` is a link to the current one. Raises
    FlagError for an unknown level or an unusable directory.
    """
    if level not in LEVELS:
        raise FlagError(
            f"'{level}' is not a valid logging level. Possible values for 'logging_level' flag "
            "are: 'INFO', 'WARNING', 'ERROR'."
        )
    files: dict[str, str] = {}
    handlers: list[logging.Handler] = []
    if log_dir is not None:
        for name, number in LEVELS.items():
            if number >= LEVELS[level]:
                file, files[name] = _log_file(program, name, log_dir)
                file.setLevel(number if number > logging.INFO else logging.DEBUG)
                handlers.append(file)
    if not quiet:
        handlers.append(logging.StreamHandler(stderr if stderr is not None else sys.stderr))
    running = Logging(level, _verbosity(environ), files)
    for handler in handlers:
        running._add(handler)
    if not handlers:
        running._add(logging.NullHandler())
    running.set_verbosity(running.verbosity)
    logging.captureWarnings(True)
    return running


def _verbosity(environ: Mapping[str, str]) -> int:
    try:
        return int(environ.get("GLOG_v", "0"))
    except ValueError:
        return 0


def _log_file(program: str, level: str, log_dir: str) -> tuple[logging.Handler, str]:
    """Open the file of one severity and point the stable link at it."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = f"{program}.{socket.gethostname()}.{_user()}.log.{level}.{stamp}.{os.getpid()}"
    link = os.path.join(log_dir, f"{program}.{level}")
    try:
        os.makedirs(log_dir, exist_ok=True)
        handler = _LogFile(os.path.join(log_dir, name), encoding="utf-8")
    except OSError as error:
        raise FlagError(f"Could not initialize logging: {log_dir}: {error.strerror}") from error
    try:
        temporary = f"{link}.{os.getpid()}"
        os.symlink(name, temporary)
        os.rename(temporary, link)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            handler.close()
            raise FlagError(f"Could not initialize logging: {log_dir}: {error.strerror}") from error
    return handler, link


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
