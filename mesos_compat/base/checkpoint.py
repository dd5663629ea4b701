# SPDX-License-Identifier: Apache-2.0
"""Files that survive the program: whole files replaced at once, and appended records.

Works on bytes; who calls it serialises and parses. Every failure is a CheckpointError. Writes are
done inline: their order is the contract, and they are tiny.

Source: spec ``state-and-recovery`` 3.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from mesos_compat.base.errors import CheckpointError

#: Length prefix of a record: host byte order; all hosts we run on are little-endian.
_LENGTH: Final = struct.Struct("<I")

#: Bytes in front of each record.
PREFIX_BYTES: Final = _LENGTH.size

#: Largest record that is believed; a longer length is corruption.
MAX_RECORD_BYTES: Final = 1 << 30

#: Largest file that is read.
MAX_FILE_BYTES: Final = 2 << 30

_EOF: Final = "hit EOF unexpectedly, possible corruption"


def frame(message: bytes) -> bytes:
    """Return ``message`` with its length prefix."""
    return _LENGTH.pack(len(message)) + message


def write_text(path: str, text: str, *, sync: bool = False) -> None:
    """Replace the file by ``text``, without a newline or terminator."""
    write_bytes(path, text.encode("utf-8"), sync=sync)


def write_record(path: str, message: bytes, *, sync: bool = False) -> None:
    """Replace the file by one record."""
    write_bytes(path, frame(message), sync=sync)


def write_records(path: str, messages: Iterable[bytes], *, sync: bool = False) -> None:
    """Replace the file by a sequence of records; none makes an empty file."""
    write_bytes(path, b"".join(map(frame, messages)), sync=sync)


def write_bytes(path: str, content: bytes, *, sync: bool = False) -> None:
    """Replace the file: a reader sees the old or the new content. Mode 0600; parents are made."""
    folder = os.path.dirname(path) or "."
    temporary = ""
    try:
        os.makedirs(folder, exist_ok=True)
        fd, temporary = tempfile.mkstemp(prefix="", dir=folder)
        try:
            _write_all(fd, content)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
        temporary = ""
        if sync:
            _sync_folder(folder)
    except OSError as error:
        raise _failed(path, "Failed to checkpoint", error) from error
    finally:
        if temporary:
            try:
                os.unlink(temporary)
            except OSError:
                pass


def touch(path: str) -> None:
    """Create the file empty with mode 0644, or set its times to now; parents are made."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        fd = os.open(path, flags, 0o644)
        try:
            os.utime(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise _failed(path, "Failed to touch", error) from error


def relink(link: str, target: str) -> None:
    """Make ``link`` a symbolic link to ``target``, replacing an existing one."""
    try:
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(target, link)
    except OSError as error:
        raise _failed(link, "Failed to link", error) from error


def read_text(path: str) -> str | None:
    """Return the content, or ``None`` if there is no file."""
    content = _read(path)
    if content is None:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(path, "is not UTF-8") from error


def read_record(path: str) -> bytes | None:
    """Return the first record, or ``None`` if there is no file or it is empty.

    Raises CheckpointError for a truncated record. Bytes after it are not looked at.
    """
    content = _read(path)
    if not content:
        return None
    found = _scan(content, 1)
    if not found.messages:
        raise CheckpointError(path, _EOF)
    return found.messages[0]


def read_records(path: str) -> list[bytes]:
    """Return all records; none if there is no file. Raises CheckpointError for a torn tail."""
    content = _read(path) or b""
    found = _scan(content)
    if found.end != len(content):
        raise CheckpointError(path, _EOF)
    return found.messages


@dataclass(frozen=True, slots=True)
class Records:
    """The complete records of a file and the offset behind the last of them."""

    messages: list[bytes]
    end: int
    size: int

    @property
    def torn(self) -> bool:
        """Whether an incomplete record follows."""
        return self.end != self.size


def scan_records(path: str) -> Records:
    """Return all complete records, ignoring a torn tail; empty if there is no file."""
    return _scan(_read(path) or b"")


def truncate(path: str, end: int) -> None:
    """Cut the file off at ``end`` bytes."""
    try:
        os.truncate(path, end)
    except OSError as error:
        raise _failed(path, "Failed to truncate", error) from error


class AppendedRecords:
    """A file to which records are appended, each by one unbuffered write.

    ``exclusive`` refuses an existing file; ``sync`` waits for the disk at each write. Open an
    existing stream with ``end`` of its ``scan_records`` so that a torn tail is cut first.
    """

    def __init__(
        self, path: str, *, exclusive: bool = False, sync: bool = False, end: int | None = None
    ) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND
        flags |= (os.O_EXCL if exclusive else 0) | (os.O_SYNC if sync else 0)
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            self._fd = os.open(path, flags, 0o644)
            try:
                if end is not None:
                    os.ftruncate(self._fd, end)
                self._end = os.fstat(self._fd).st_size
            except OSError:
                os.close(self._fd)
                raise
        except OSError as error:
            raise _failed(path, "Failed to open", error) from error

    def append(self, message: bytes) -> None:
        """Write one record. After a failure the file ends where it ended before."""
        record = frame(message)
        try:
            written = os.write(self._fd, record)
            if written != len(record):
                os.ftruncate(self._fd, self._end)
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise _failed(self.path, "Failed to append", error) from error
        self._end += len(record)

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> AppendedRecords:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _scan(content: bytes, limit: int | None = None) -> Records:
    messages: list[bytes] = []
    end = 0
    while limit is None or len(messages) < limit:
        start = end + _LENGTH.size
        if start > len(content):
            break
        (length,) = _LENGTH.unpack_from(content, end)
        if length > MAX_RECORD_BYTES or start + length > len(content):
            break
        messages.append(content[start : start + length])
        end = start + length
    return Records(messages, end, len(content))


def _read(path: str) -> bytes | None:
    """Return the content of a regular file; nothing else is waited for, nor read without end."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file")
            if found.st_size > MAX_FILE_BYTES:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, "Failed to read", error) from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _failed(path: str, what: str, error: OSError) -> CheckpointError:
    return CheckpointError(path, f"{what}: {error.strerror or error}")
