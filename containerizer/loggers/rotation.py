# SPDX-License-Identifier: Apache-2.0
"""A file that is rotated by size, as logrotate would do it, without logrotate.

What of a logrotate configuration makes sense here is honoured: ``rotate``, ``start``, ``compress``,
``nocompress``, ``delaycompress`` and ``nodelaycompress``. Everything else has no effect, scripts
included. Without ``rotate`` no old file is kept, as with logrotate itself.

Files are opened and renamed in a folder that was opened once, never through a link.

Source: spec ``containerizer`` 15.2; logrotate(8).
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

#: Smallest size at which a file can be rotated.
MIN_BYTES = os.sysconf("SC_PAGE_SIZE")
#: Old files beyond this are removed, whatever ``rotate`` says.
_MAX_KEPT = 1000
_MODE = 0o644
_APPEND = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | os.O_NOFOLLOW
    | os.O_NONBLOCK
    | os.O_CLOEXEC
    | os.O_NOCTTY
)
#: File systems without hard links, or too many of them: the file is renamed instead.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_PLAIN = "it is not a plain file"
_COPY_BYTES = 64 << 10
#: Directives that are followed by lines of a script, up to ``endscript``.
_SCRIPTS = ("postrotate", "prerotate", "firstaction", "lastaction", "preremove")


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """Which old files are kept, and how."""

    #: Number of old files.
    keep: int = 0
    #: Number of the youngest of them.
    start: int = 1
    compress: bool = False
    #: Whether the youngest old file is left as it is until it gets older.
    delay_compress: bool = False

    @classmethod
    def parse(cls, options: str) -> tuple[RotationPolicy, tuple[str, ...]]:
        """Read options of logrotate, one a line; also return the directives without effect."""
        found = {"keep": 0, "start": 1, "compress": False, "delay_compress": False}
        ignored: list[str] = []
        script = False
        for line in options.splitlines():
            words = line.partition("#")[0].split()
            if not words:
                continue
            if script:
                script = words[0] != "endscript"
                continue
            name, *values = words
            if name in ("rotate", "start") and len(values) == 1 and values[0].isdecimal():
                kept = min(int(values[0]), _MAX_KEPT)
                found["keep" if name == "rotate" else "start"] = kept
            elif name in ("compress", "nocompress"):
                found["compress"] = name == "compress"
            elif name in ("delaycompress", "nodelaycompress"):
                found["delay_compress"] = name == "delaycompress"
            else:
                script = name in _SCRIPTS
                ignored.append(name)
        return (
            cls(
                int(found["keep"]),
                int(found["start"]),
                bool(found["compress"]),
                bool(found["delay_compress"]),
            ),
            tuple(dict.fromkeys(ignored)),
        )


class RotatingFile:
    """Appends to ``name`` in ``folder`` (a descriptor), which never grows beyond ``max_bytes``.

    What fails is told to ``report`` and otherwise ignored: output is lost rather than held up.
    """

    def __init__(
        self,
        folder: int,
        name: str,
        max_bytes: int,
        policy: RotationPolicy,
        report: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._name = name
        self._max_bytes = max_bytes
        self._policy = policy
        self._report = report
        self._fd: int | None = None
        self._size = 0
        self._open()

    def write(self, data: bytes) -> None:
        """Append, rotating as often as it takes; between lines where there is one to end."""
        view = memoryview(data)
        while view:
            room = self._max_bytes - self._size
            if len(view) > room:
                end = data.rfind(b"\n", len(data) - len(view), len(data) - len(view) + room) + 1
                fitting = max(end - (len(data) - len(view)), 0)
                if not fitting and not self._size:
                    fitting = room
                self._append(view[:fitting])
                view = view[fitting:]
                self._rotate()
            else:
                self._append(view)
                return

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        try:
            self._fd = self._open_plain()
            self._size = os.fstat(self._fd).st_size
        except OSError as error:
            self._failed("open", self._name, error)
            self._size = 0

    def _open_plain(self) -> int:
        """Open our file, but nothing that a task has put in its place.

        A FIFO would hold us up, a device be written to from outside of the container.
        """
        fd = os.open(self._name, _APPEND, _MODE, dir_fd=self._folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EPERM, _PLAIN, self._name)
        return fd

    def _append(self, view: memoryview) -> None:
        self._size += len(view)
        try:
            while view and self._fd is not None:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._failed("write to", self._name, error)

    def _rotate(self) -> None:
        """Put the file away and begin a new one; readers always find a file under the name."""
        self.close()
        policy = self._policy
        if policy.keep == 0 or self._put_away(policy):
            self._begin_anew()
        if policy.keep and policy.compress:
            age = policy.start + int(policy.delay_compress)
            if age < policy.start + policy.keep:
                self._compress(f"{self._name}.{age}")
        self._open()
        # A file that could not be put away grows on, as upstream lets it.
        self._size = 0

    def _put_away(self, policy: RotationPolicy) -> bool:
        """Give the file its number as a second name, after the older ones have moved on."""
        oldest = policy.start + policy.keep - 1
        free = self._first_free(policy.start, oldest)
        self._remove(f"{self._name}.{oldest}")
        self._remove(f"{self._name}.{oldest}.gz")
        for number in range(free - 1, policy.start - 1, -1):
            self._rename(f"{self._name}.{number}", f"{self._name}.{number + 1}")
            self._rename(f"{self._name}.{number}.gz", f"{self._name}.{number + 1}.gz")
        old, new = self._name, f"{self._name}.{policy.start}"
        folder = self._folder
        try:
            os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                self._failed("rename", old, error)
                return False
            self._rename(old, new)
        return True

    def _begin_anew(self) -> None:
        """Put an empty file in the place of the one under the name."""
        fresh = f".{self._name}.new"
        self._remove(fresh)
        try:
            os.close(os.open(fresh, _APPEND | os.O_EXCL, _MODE, dir_fd=self._folder))
        except OSError as error:
            self._failed("open", fresh, error)
            return
        self._rename(fresh, self._name)

    def _first_free(self, start: int, oldest: int) -> int:
        """Return the number up to which old files have to move on."""
        for number in range(start, oldest):
            name = f"{self._name}.{number}"
            if not (self._exists(name) or self._exists(f"{name}.gz")):
                return number
        return oldest

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._failed("remove", name, error)

    def _rename(self, old: str, new: str) -> None:
        try:
            os.rename(old, new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._failed("rename", old, error)

    def _compress(self, name: str) -> None:
        made = f"{name}.gz"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed("compress", name, error)
            return
        try:
            with open(source, "rb") as plain:
                if not stat.S_ISREG(os.fstat(source).st_mode):
                    raise OSError(errno.EPERM, _PLAIN, name)
                target = os.open(made, flags, _MODE, dir_fd=self._folder)
                with open(target, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as packed:
                    while piece := plain.read(_COPY_BYTES):
                        packed.write(piece)
            os.unlink(name, dir_fd=self._folder)
        except OSError as error:
            self._failed("compress", name, error)
            with contextlib.suppress(OSError):
                os.unlink(made, dir_fd=self._folder)

    def _failed(self, what: str, name: str, error: OSError) -> None:
        self._report(f"Failed to {what} '{name}': {error.strerror or error}")
