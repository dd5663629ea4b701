# SPDX-License-Identifier: Apache-2.0
"""The relinked libraries of this user, one file per version.

    $XDG_CACHE_HOME/mesos-compat/master/     0700
        VERSION.lock                         held while that version is being made
        libmesos-VERSION-rREVISION-SHA256.so

The name of a library holds the sha256 of its content: a file is complete and unchanged if and
only if name and content agree, which is checked each time before it is loaded. A library gets its
name by a rename, so several processes may look, make and use at once.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from mesos_compat.realmaster.errors import FileUnusable, RealMasterError
from mesos_compat.realmaster.relink import REVISION, relink

#: Where an egg keeps the library.
_MEMBER = "mesos/scheduler/_scheduler.so"
#: The largest library is 123 MB.
_MEMBER_LIMIT_BYTES = 512 << 20
_LIBRARY_NAME = re.compile(r"libmesos-(\d+\.\d+\.\d+)-r(\d+)-([0-9a-f]{64})\.so")


def cache_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of this user's libraries (not created)."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "mesos-compat", "master")


def cached_versions(folder: str) -> list[str]:
    """Return the versions that need no network, oldest first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = {name[1] for name in map(_LIBRARY_NAME.fullmatch, names) if name and _current(name)}
    return sorted(found, key=lambda version: tuple(map(int, version.split("."))))


def library(version: str, folder: str, fetch_egg: Callable[[BinaryIO], None]) -> str:
    """Return the path of the relinked library of ``version``.

    When it is not there, ``fetch_egg`` is called to write a verified egg to the file it is given;
    only one process at a time does that for a version. A damaged library is made again.
    """
    _make_folder(folder)
    path = _find(version, folder)
    if path is not None:
        return path
    with _locked(os.path.join(folder, f"{version}.lock")):
        path = _find(version, folder)
        if path is not None:
            return path
        _remove_leftovers(version, folder)
        try:
            with tempfile.TemporaryFile(dir=folder) as egg:
                fetch_egg(egg)
                elf = _library_of(egg)
            return _store(relink(elf), version, folder)
        except OSError as error:
            raise RealMasterError(f"Failed to write below {folder}: {error.strerror}") from error


def _find(version: str, folder: str) -> str | None:
    for name in os.listdir(folder):
        match = _LIBRARY_NAME.fullmatch(name)
        if match is None or match[1] != version or not _current(match):
            continue
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        if digest == match[3]:
            return path
        print(f"{path} is damaged and will be made again", file=sys.stderr)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return None


def _current(name: re.Match[str]) -> bool:
    return int(name[2]) == REVISION


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        status = os.stat(folder)
    except OSError as error:
        raise RealMasterError(f"Failed to create the cache {folder}: {error.strerror}") from error
    # What lies here is loaded and executed: nobody else may be able to put it there.
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RealMasterError(
            f"The cache {folder} belongs to, or can be written by, another user; "
            "set XDG_CACHE_HOME to a folder of your own"
        )


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(version: str, folder: str) -> None:
    """Remove what a killed process left half written; the caller holds the lock."""
    for name in os.listdir(folder):
        if name.startswith(f".{version}-"):
            os.unlink(os.path.join(folder, name))


def _library_of(egg: BinaryIO) -> bytes:
    egg.seek(0)
    try:
        with zipfile.ZipFile(egg) as archive:
            size = archive.getinfo(_MEMBER).file_size
            if size > _MEMBER_LIMIT_BYTES:
                raise FileUnusable(f"The egg's library claims a size of {size} bytes")
            return archive.read(_MEMBER)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, EOFError) as error:
        raise FileUnusable(f"The egg holds no readable {_MEMBER}: {error}") from error


def _store(elf: bytes, version: str, folder: str) -> str:
    digest = hashlib.sha256(elf).hexdigest()
    path = os.path.join(folder, f"libmesos-{version}-r{REVISION}-{digest}.so")
    descriptor, temporary = tempfile.mkstemp(prefix=f".{version}-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(elf)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o500)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return path
