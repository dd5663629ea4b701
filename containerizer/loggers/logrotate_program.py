# SPDX-License-Identifier: Apache-2.0
"""mesos-logrotate-logger: output of a container → files that are rotated by size.

Reads standard input into one file, as upstream's program does, and, for our own agent, a second
descriptor into a second file: one process per container. It runs as the container's user, so what
the sandbox's owner puts in its way is only in their own way, and it always reads on: output that
cannot be written is lost.

Source: spec ``containerizer`` 15.2, 19.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from containerizer.linux import users
from containerizer.loggers.rotation import MIN_BYTES, RotatingFile, RotationPolicy
from mesos_compat.base import units

_CHUNK_BYTES = 64 << 10
_DEFAULT_BYTES = 10 << 20
#: Flags of the second stream have this in front.
_SECOND = "second_"
#: Descriptor of the directory of all files, in place of the way there.
_FOLDER = "folder_fd"
_STREAM_FLAGS = ("log_filename", "max_size", "logrotate_options")
_KNOWN = {
    *_STREAM_FLAGS,
    *(f"{_SECOND}{name}" for name in _STREAM_FLAGS),
    f"{_SECOND}fd",
    _FOLDER,
    "user",
    "logrotate_path",
    "help",
}


class _RefusedError(Exception):
    """The command line is unusable, or the user is."""


@dataclass(frozen=True, slots=True)
class _LogStream:
    source: int
    path: str
    max_bytes: int
    policy: RotationPolicy


def main(argv: list[str], environ: dict[str, str]) -> int:
    """Run the program; return its exit status."""
    try:
        given = _flags(argv[1:])
        if "help" in given:
            _say("Usage: mesos-logrotate-logger --log_filename=<path> [--name=value]...")
            return 0
        streams = [_stream(given, "", 0)]
        if f"{_SECOND}log_filename" in given:
            streams.append(_stream(given, _SECOND, int(given[f"{_SECOND}fd"])))
        # The way there may be closed to the user.
        folder = given.get(_FOLDER)
        folders = [_open_folder(s.path) if folder is None else int(folder) for s in streams]
        if given.get("user"):
            _become(given["user"])
        os.umask(0o022)
        os.chdir("/")
        _copy(streams, folders)
    except (_RefusedError, OSError) as error:
        _say(f"{error}")
        return 1
    return 0


def run() -> int:
    """Run the program as it is executed by foreign agents."""
    with contextlib.suppress(OSError):
        os.setsid()
    return main(sys.argv, dict(os.environ))


def arguments(
    streams: Sequence[tuple[int, str, int, str]], user: str | None, folder: int
) -> tuple[str, ...]:
    """Return the command line for streams (descriptor, file, largest size, options).

    The first descriptor is 0; ``folder`` is that of the directory of all files.
    """
    made = [f"--{_FOLDER}={folder}"]
    if user is not None:
        made.append(f"--user={user}")
    for prefix, (source, path, max_bytes, options) in zip(("", _SECOND), streams, strict=False):
        made.append(f"--{prefix}log_filename={path}")
        made.append(f"--{prefix}max_size={max_bytes}B")
        made.append(f"--{prefix}logrotate_options={options}")
        if prefix:
            made.append(f"--{prefix}fd={source}")
    return tuple(made)


def _flags(given: Sequence[str]) -> dict[str, str]:
    made: dict[str, str] = {}
    for argument in given:
        name, _, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in _KNOWN:
            raise _RefusedError(f"Failed to load unknown flag '{argument[:100]}'")
        made[name] = value
    return made


def _stream(given: dict[str, str], prefix: str, source: int) -> _LogStream:
    path = given.get(f"{prefix}log_filename")
    if not path:
        raise _RefusedError("Missing required option --log_filename")
    if not os.path.isabs(path):
        raise _RefusedError(f"Expected --log_filename to be an absolute path: '{path}'")
    size = given.get(f"{prefix}max_size")
    try:
        max_bytes = _DEFAULT_BYTES if size is None else units.parse_bytes(size)
    except ValueError as error:
        raise _RefusedError(f"Failed to load --max_size: {error}") from None
    if max_bytes < MIN_BYTES:
        raise _RefusedError(f"Expected --max_size of at least {MIN_BYTES} bytes")
    policy, ignored = RotationPolicy.parse(given.get(f"{prefix}logrotate_options", ""))
    if ignored:
        _say(f"Options of logrotate without effect: {' '.join(ignored)}")
    return _LogStream(source, path, max_bytes, policy)


def _become(user: str) -> None:
    """Give up the agent's rights for those of the container's user."""
    identity = users.identity_of(user)
    if identity is None:
        raise _RefusedError(f"Failed to get the uid of user '{user}': not found")
    if identity.uid == os.geteuid():
        return
    os.setgroups(identity.groups)
    os.setgid(identity.gid)
    os.setuid(identity.uid)


def _open_folder(path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(os.path.dirname(path), flags)


def _copy(streams: Sequence[_LogStream], folders: Sequence[int]) -> None:
    """Copy until all streams have ended."""
    poll = select.poll()
    files: dict[int, RotatingFile] = {}
    report = _once()
    for stream, folder in zip(streams, folders, strict=True):
        name = os.path.basename(stream.path)
        files[stream.source] = RotatingFile(folder, name, stream.max_bytes, stream.policy, report)
        poll.register(stream.source, select.POLLIN)
    while files:
        for fd, _ in poll.poll():
            data = os.read(fd, _CHUNK_BYTES)
            if data:
                files[fd].write(data)
            else:
                poll.unregister(fd)
                files.pop(fd).close()


def _once() -> Callable[[str], None]:
    """Return what says each thing once: a full disk fails every write."""
    said: set[str] = set()

    def report(text: str) -> None:
        if text not in said and len(said) < 100:
            said.add(text)
            _say(text)

    return report


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))
