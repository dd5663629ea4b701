# SPDX-License-Identifier: Apache-2.0
"""Sandboxes and logs under virtual paths: resolve, browse, read, download.

Attached real paths are the agent's own folders; what is below them belongs to tasks and is
hostile. A path is resolved, must lie below the attached one, and is then opened component by
component without following links, so that a link swapped in meanwhile is refused. Only regular
files are opened.

The functions here block; handlers call them in a thread.

Source: spec ``operator-api`` 5.9. Deviation: ``//`` and ``.`` are normalised before anything else;
containment is checked by whole components;
``browse`` does not tell what links out of a sandbox lead to.
"""

from __future__ import annotations

import errno
import functools
import grp
import itertools
import os
import pwd
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from mesos_compat.base.errors import ApiError
from mesos_compat.model.jsonpb import JsonObject, text_of

#: Most bytes that one read returns.
MAX_READ_BYTES: Final = 16 * os.sysconf("SC_PAGE_SIZE")
#: Most entries of one directory that are listed.
MAX_ENTRIES: Final = 100_000

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_UNSAFE_IN_NAME: Final = re.compile(r"[^A-Za-z0-9._+@%=~,-]")

_MIME_TYPES: Final = {
    extension: kind
    for kind, extensions in {
        "text/plain": ".txt .c .h .bat .pl .ksh",
        "text/html": ".html .htm",
        "text/css": ".css",
        "text/xml": ".xml",
        "text/x-python": ".py",
        "text/tab-separated-values": ".tsv",
        "application/x-javascript": ".js",
        "application/x-sh": ".sh",
        "application/pdf": ".pdf",
        "application/zip": ".zip",
        "application/x-tar": ".tar",
        "application/xml": ".xsl .rdf .wsdl .xpdl",
        "image/png": ".png",
        "image/gif": ".gif",
        "image/jpeg": ".jpg .jpeg .jpe",
        "image/tiff": ".tif .tiff",
        "image/x-ms-bmp": ".bmp",
        "audio/mpeg": ".mp3 .mp2",
        "audio/x-wav": ".wav",
        "video/mp4": ".mp4",
        "video/mpeg": ".mpeg .mpg",
        "video/quicktime": ".mov .qt",
        "video/x-msvideo": ".avi",
        "message/rfc822": ".eml .mht",
        "application/msword": ".doc",
        "application/vnd.ms-excel": ".xls",
        "application/vnd.ms-powerpoint": ".ppt",
        "application/postscript": ".ps .eps .ai",
    }.items()
    for extension in extensions.split()
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a directory; a link that leads out of the attached path is shown itself."""

    #: Requested directory and name.
    path: str
    info: os.stat_result
    #: Names of owner and group, or their numbers.
    user: str
    group: str

    def value(self) -> JsonObject:
        """Return what ``/files/browse`` shows."""
        return {
            "gid": self.group,
            "mode": format_mode(self.info.st_mode),
            "mtime": float(int(self.info.st_mtime)),
            "nlink": self.info.st_nlink,
            "path": self.path,
            "size": self.info.st_size,
            "uid": self.user,
        }


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file."""

    data: bytes
    #: Of the whole file.
    size: int


def wanted_path(query: Mapping[str, str]) -> str:
    """Return the ``path`` of a query. Raises ApiError 400 if there is none."""
    path = query.get("path", "")
    if not path:
        raise ApiError(400, "Expecting 'path=value' in query.\n")
    return path


def wanted_number(query: Mapping[str, str], name: str) -> int:
    """Return ``offset`` or ``length`` of a query, -1 if absent. Raises ApiError 400."""
    value = query.get(name)
    if value is None:
        return -1
    number = int(value) if _NUMBER.fullmatch(value) else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ApiError(400, f"Failed to parse {name}: Failed to convert '{value}' to number.\n")
    if number < -1:
        raise ApiError(400, f"Negative {name} provided: {number}.\n")
    return number


def browse(attached: Mapping[str, str], path: str) -> list[Entry]:
    """List a directory, sorted by path; nothing for a file.

    Raises ApiError 404 (without text) or 400.
    """
    with _open(attached, path, os.O_PATH) as (fd, place):
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            return []
        shown = path.removeprefix("file://").rstrip("/") or "/"
        return sorted(_entries(fd, shown, place.root), key=lambda entry: os.fsencode(entry.path))


def _entries(fd: int, shown: str, root: str) -> Iterator[Entry]:
    try:
        # an O_PATH descriptor cannot be read: open the same directory again, by itself
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except OSError as error:
        raise _unreadable(shown, error) from None
    # asking for a name may mean asking another machine
    user_of, group_of = functools.cache(_user), functools.cache(_group)
    try:
        with os.scandir(readable) as found:
            for name in (entry.name for entry in itertools.islice(found, MAX_ENTRIES)):
                try:
                    info = _info(readable, name, root)
                except OSError:
                    continue
                owner, group = user_of(info.st_uid), group_of(info.st_gid)
                yield Entry(f"{shown.rstrip('/')}/{name}", info, owner, group)
    finally:
        os.close(readable)


def _info(folder: int, name: str, root: str) -> os.stat_result:
    """Look at a file, through a link only if that stays below ``root``. Raises OSError."""
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        return info
    fd = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.fstat(fd) if _is_below(_path_of(fd), root) else info
    finally:
        os.close(fd)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def read(attached: Mapping[str, str], path: str, offset: int, length: int) -> Piece:
    """Read from a file; ``offset`` -1 gives only its size, ``length`` -1 as much as is allowed.

    Raises ApiError.
    """
    with _open(attached, path, os.O_RDONLY) as (fd, _):
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            raise ApiError(400, "Cannot read a directory.\n")
        if offset == -1 or offset >= info.st_size or length == 0:
            return Piece(b"", info.st_size)
        wanted = MAX_READ_BYTES if length == -1 else min(length, MAX_READ_BYTES)
        try:
            return Piece(os.pread(fd, wanted, offset), info.st_size)
        except OSError as error:
            raise _unreadable(path, error) from None


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is open for download; whoever got it closes ``fd``."""

    fd: int
    size: int
    file_name: str
    content_type: str


def download(attached: Mapping[str, str], path: str) -> Download:
    """Open a file for download. Raises ApiError."""
    with _open(attached, path, os.O_RDONLY) as (fd, place):
        info = os.fstat(fd)
        if stat.S_ISDIR(info.st_mode):
            raise ApiError(400, "Cannot download a directory.\n")
        name = os.path.basename(place.real)
        return Download(
            fd=os.dup(fd),
            size=info.st_size,
            file_name=_UNSAFE_IN_NAME.sub("_", name),
            content_type=content_type(name),
        )


def content_type(name: str) -> str:
    """Return the media type by the extension of a file name."""
    dot = name.rfind(".")
    return _MIME_TYPES.get(name[dot:] if dot >= 0 else "", "application/octet-stream")


def format_mode(mode: int) -> str:
    """Print type and permissions as ``ls`` does, without the special bits."""
    kinds = (
        (stat.S_ISREG, "-"),
        (stat.S_ISDIR, "d"),
        (stat.S_ISCHR, "c"),
        (stat.S_ISBLK, "b"),
        (stat.S_ISFIFO, "p"),
        (stat.S_ISLNK, "l"),
        (stat.S_ISSOCK, "s"),
    )
    kind = next((letter for test, letter in kinds if test(mode)), "-")
    bits = "".join(
        letter if mode & (0o400 >> index) else "-" for index, letter in enumerate("rwxrwxrwx")
    )
    return kind + bits


# Resolution.


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a requested path leads: ``inner`` components below the real path ``root``."""

    root: str
    inner: tuple[str, ...]

    @property
    def real(self) -> str:
        return "/".join((self.root.rstrip("/"), *self.inner)) or "/"


def attachment(attached: Mapping[str, str], path: str) -> str | None:
    """Return the attached virtual path that a requested one leads to or below, if any."""
    parts = _parts(path)
    # a path may have thousands of components
    depth = max((place.count("/") for place in attached), default=0)
    for count in range(min(len(parts), depth), -1, -1):
        found = "/" + "/".join(parts[:count])
        if found in attached:
            return found
    return None


def suffix(place: str, path: str) -> list[str]:
    """Return the components of a requested path below the attached one that it leads to."""
    return _parts(path)[len(_parts(place)) :]


def _parts(path: str) -> list[str]:
    path = path.removeprefix("file://")
    return [part for part in path.split("/") if part not in ("", ".")]


def _place(attached: Mapping[str, str], path: str) -> _Place:
    found = None if "\0" in path else attachment(attached, path)
    if found is None:
        raise ApiError(404)
    return _below(attached[found], suffix(found, path))


def _below(found: str, suffix: list[str]) -> _Place:
    """Resolve ``suffix`` below an attached path. Raises ApiError 404 or 400."""
    asked = "/".join((found, *suffix))
    try:
        root = _resolved(found)
        real = _resolved("/".join((root, *suffix)))
    except (FileNotFoundError, NotADirectoryError):
        raise ApiError(404) from None
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise ApiError(400, f"Failed to determine canonical path of '{asked}': {why}.\n") from None
    if not _is_below(real, root):
        raise _inaccessible(asked)
    inner = real[len(root) :].split("/")
    return _Place(root, tuple(part for part in inner if part))


def _resolved(path: str) -> str:
    """Return the path without links, as the kernel walks it: a task cannot make that endless.

    Nothing is opened or mounted by that. Raises OSError.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _path_of(fd)
    finally:
        os.close(fd)


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def _is_below(real: str, root: str) -> bool:
    return real == root or real.startswith(root.rstrip("/") + "/")


def _inaccessible(shown: str) -> ApiError:
    return ApiError(400, f"'{shown}' is inaccessible.\n")


def _unreadable(shown: str, error: OSError) -> ApiError:
    why = os.strerror(error.errno or 0)
    return ApiError(500, f"Failed to open file at '{shown}': {why}.\n")


@contextmanager
def _open(attached: Mapping[str, str], path: str, flags: int) -> Iterator[tuple[int, _Place]]:
    """Open a directory or regular file; gives its descriptor and place. Raises ApiError."""
    place = _place(attached, path)
    try:
        fd = _open_beneath(place, flags)
    except FileNotFoundError:
        raise ApiError(404) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _inaccessible(place.real) from None
        raise _unreadable(place.real, error) from None
    try:
        yield fd, place
    finally:
        os.close(fd)


def _open_beneath(place: _Place, flags: int) -> int:
    folder = os.path.dirname(place.root) or "/"
    steps = (os.path.basename(place.root) or ".", *place.inner)
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in steps[:-1]:
            inner = os.open(
                name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at
            )
            os.close(at)
            at = inner
        return _open_last(at, steps[-1], place, flags)
    finally:
        os.close(at)


def _open_last(at: int, name: str, place: _Place, flags: int) -> int:
    """Open the last component, but no link, FIFO, socket or device: opening one may do things."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISLNK(mode):
            raise _inaccessible(place.real)
        if flags & os.O_PATH:
            return os.dup(fd)
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _inaccessible(place.real)
        # the very file that was looked at, whatever its name means by now
        return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(fd)


def read_value(piece: Piece, offset: int) -> JsonObject:
    """Return what ``/files/read`` shows."""
    return {"data": text_of(piece.data), "offset": piece.size if offset == -1 else offset}
