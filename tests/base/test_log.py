# SPDX-License-Identifier: Apache-2.0
"""Log lines, their levels and their files."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mesos_compat.base import log as log_module
from mesos_compat.base.errors import FlagError

LOG = logging.getLogger("mesos_compat.test")


@contextmanager
def started(**options: Any) -> Iterator[tuple[log_module.Logging, io.StringIO]]:
    root = logging.getLogger()
    before = root.level
    stream = io.StringIO()
    running = log_module.start("mesos-x", stderr=stream, **{"environ": {}, **options})
    try:
        yield running, stream
    finally:
        running.stop()
        root.setLevel(before)
        logging.captureWarnings(False)


def test_a_line_is_glogs() -> None:
    with started() as (_, stream):
        LOG.info("a %s", "word")
        LOG.warning("w")
        LOG.error("e")
        LOG.critical("f")
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(
        rf"I\d{{4}} \d\d:\d\d:\d\d\.\d{{6}} +{os.getpid()} test_log\.py:\d+\] a word", lines[0]
    )
    assert [line[0] for line in lines] == ["I", "W", "E", "F"]


def test_a_stack_trace_follows() -> None:
    with started() as (_, stream):
        try:
            raise ValueError("x")
        except ValueError:
            LOG.exception("failed")
    assert "] failed\nTraceback" in stream.getvalue()
    assert stream.getvalue().endswith("ValueError: x\n")


def test_verbose_lines_come_with_glog_v_or_a_toggle() -> None:
    with started(environ={"GLOG_v": "1"}) as (running, stream):
        LOG.debug("one")
        assert running.initial_verbosity == 1
        running.set_verbosity(0)
        LOG.debug("two")
        running.set_verbosity(2)
        LOG.debug("three")
        assert running.verbosity == 2
    assert [line[-5:].split()[-1] for line in stream.getvalue().splitlines()] == ["one", "three"]


def test_the_level_is_a_minimum_also_for_verbose_lines() -> None:
    with started(level="ERROR", environ={"GLOG_v": "3"}) as (_, stream):
        LOG.debug("d")
        LOG.warning("w")
        LOG.error("e")
    assert stream.getvalue().count("\n") == 1


def test_quiet_writes_nothing_to_stderr() -> None:
    with started(quiet=True) as (_, stream):
        LOG.error("e")
    assert stream.getvalue() == ""


def test_files_by_severity_with_stable_links(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with started(log_dir=str(folder), environ={"GLOG_v": "1"}) as (running, stream):
        LOG.debug("d")
        LOG.info("i")
        LOG.warning("w")
        assert running.files["INFO"] == str(folder / "mesos-x.INFO")
    assert [line[-1] for line in (folder / "mesos-x.INFO").read_text().splitlines()] == list("diw")
    assert (folder / "mesos-x.WARNING").read_text().count("\n") == 1
    assert (folder / "mesos-x.ERROR").read_text() == ""
    assert stream.getvalue().count("\n") == 3


def test_a_full_disk_costs_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*paths: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "symlink", full)
    with started(log_dir=str(tmp_path)) as (running, stream):
        [path] = tmp_path.glob("*.log.INFO.*")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler) and handler.baseFilename == str(path):
                real = handler.setStream(open("/dev/full", "w", encoding="utf-8"))  # noqa: SIM115
                assert real is not None
                real.close()
        for _ in range(3):
            LOG.info("lost in the file, %s", "x" * 5000)
        assert running.files["INFO"] == str(tmp_path / "mesos-x.INFO")
    assert stream.getvalue().count("lost in the file") == 3
    assert capsys.readouterr().err == ""


def test_bad_level_and_directory(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="'LOUD' is not a valid logging level"):
        log_module.start("x", level="LOUD")
    (tmp_path / "file").write_text("")
    with pytest.raises(FlagError, match="Could not initialize logging"):
        log_module.start("x", log_dir=str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\nE1123 faked", "a\\nE1123 faked"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x85\u2028\u202e", "\\x85\\u2028\\u202e"),
        ("\udcff", "\\udcff"),
        ("ü → ok", "ü → ok"),
    ],
)
def test_what_peers_say_stays_on_its_line(said: str, shown: str) -> None:
    with started() as (_, stream):
        LOG.warning("peer: %s", said)
    assert stream.getvalue().endswith(f"] peer: {shown}\n")


def test_a_line_has_an_end() -> None:
    with started() as (_, stream):
        LOG.warning("%s", "x" * 1_000_000)
    line = stream.getvalue()
    assert len(line) < log_module.MAX_TEXT + 200
    assert line.endswith("... (1000000 characters)\n")


def test_a_stack_trace_is_as_harmless() -> None:
    with started() as (_, stream):
        try:
            raise ValueError("\x1b[2J\udcff" + "x" * 100_000)
        except ValueError:
            LOG.exception("failed")
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue()) < 2 * log_module.MAX_TEXT


def test_complaints_are_few(caplog: pytest.LogCaptureFixture) -> None:
    times = [0.0]
    complaints = log_module.Complaints(LOG, burst=2, period_s=10, now=lambda: times[0])
    for number in range(5):
        complaints.warn("no. %d", number)
    assert caplog.messages == ["no. 0", "no. 1"]
    times[0] = 10.0
    complaints.warn("again")
    assert caplog.messages[2:] == ["3 more lines like the last ones were left out", "again"]
    times[0] = 20.0
    complaints.warn("quiet")
    assert caplog.messages[4:] == ["quiet"]
