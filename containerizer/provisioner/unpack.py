# SPDX-License-Identifier: Apache-2.0
"""A layer becomes a directory.

Each member is checked before anything is written. All paths are walked from a descriptor of the
root, one component at a time and never through a symbolic link, so nothing outside of the root is
touched whatever the archive says. Whiteouts are written as the plain files they are;
``convert_whiteouts`` then gives them the form that overlayfs knows.

Runs in a process of its own (``containerizer.provisioner.program``).

Source: spec ``images`` 4.9, 4.10, 11.5.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from containerizer.provisioner.streams import CHUNK, ByteStream
from containerizer.provisioner.tarstream import MemberKind, TarMember, TarReader
from containerizer.provisioner.trees import remove_entry
from mesos_compat.base.errors import UnpackError

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
#: What AUFS keeps for itself: ``.wh..wh.plnk`` and the like. Means nothing to anybody else.
_BOOKKEEPING = b".wh..wh."

#: Most warnings that are reported; the rest is only counted.
_MAX_WARNINGS = 20

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """How much one archive may contain."""

    #: Bytes of an archive after decompression.
    size_bytes: int = 64 << 30
    #: Members of an archive.
    members: int = 2_000_000
    #: Directories above a member.
    depth: int = 256
    #: Seconds that a whole pull may take on this machine's disks and CPUs.
    seconds: int = 3600


@dataclass(slots=True)
class Extraction:
    """What came of an archive."""

    members: int = 0
    warnings: list[str] = field(default_factory=list)
    omitted_warnings: int = 0

    def warn(self, text: str) -> None:
        """Remember something that was left out."""
        if len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(text)
        else:
            self.omitted_warnings += 1


@dataclass(frozen=True, slots=True)
class _Finish:
    """What a directory gets once everything in it is there."""

    mode: int
    mtime_ns: int


def unpack_tar(
    stream: ByteStream,
    root_fd: int,
    limits: UnpackLimits,
    place: Callable[[list[bytes]], list[bytes] | None] | None = None,
) -> Extraction:
    """Write the members of a tar archive below ``root_fd``. Raises UnpackError.

    ``place`` may move or leave out (``None``) members by the components of their names.
    """
    reader = TarReader(stream)
    extractor = _Extractor(root_fd, limits, place)
    try:
        while (member := reader.next()) is not None:
            extractor.add(member, reader)
        extractor.finish()
    finally:
        extractor.close()
    return extractor.result


def shown(name: bytes) -> str:
    """Return a name of an archive in a form fit for messages and logs."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def components(name: bytes) -> list[bytes]:
    """Split the name of a member; leading ``/`` and ``.`` components vanish.

    Raises UnpackError if the name contains ``..``.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise UnpackError("name contains '..'")
    return parts


def hidden_name(whiteout: bytes) -> bytes:
    """Return the name that a whiteout hides. Raises UnpackError if that is none."""
    name = whiteout[len(WHITEOUT) :]
    if name in (b"", b".", b".."):
        raise UnpackError(f"whiteout of '{shown(name)}'")
    return name


class _Extractor:
    """Writes members below one directory."""

    def __init__(
        self,
        root_fd: int,
        limits: UnpackLimits,
        place: Callable[[list[bytes]], list[bytes] | None] | None,
    ) -> None:
        self.result = Extraction()
        self._root_fd = root_fd
        self._limits = limits
        self._place = place
        self._privileged = os.geteuid() == 0
        #: Open directories from the root to that of the last member.
        self._open: list[tuple[bytes, int]] = []
        #: Directories of the archive by the components of their paths.
        self._directories: dict[tuple[bytes, ...], _Finish] = {}

    def add(self, member: TarMember, reader: TarReader) -> None:
        """Write one member."""
        self.result.members += 1
        if self.result.members > self._limits.members:
            raise UnpackError(f"more than {self._limits.members} members")
        try:
            self._add(member, reader)
        except UnpackError as error:
            raise UnpackError(f"member '{shown(member.name)}': {error}") from error
        except OSError as error:
            why = error.strerror or str(error)
            raise UnpackError(f"member '{shown(member.name)}': {why}") from error

    def finish(self) -> None:
        """Set the modes and times of directories, the deepest first."""
        for path in sorted(self._directories, key=len, reverse=True):
            wanted = self._directories[path]
            try:
                fd = self._directory(path, create=False)
            except (OSError, UnpackError):
                continue  # replaced by a later member
            os.fchmod(fd, wanted.mode)
            os.utime(fd, ns=(wanted.mtime_ns, wanted.mtime_ns))

    def close(self) -> None:
        """Close all directories."""
        self._forget(0)

    def _add(self, member: TarMember, reader: TarReader) -> None:
        parts: list[bytes] | None = components(member.name)
        if self._place is not None and parts is not None:
            parts = self._place(parts)
        if parts is None:
            return
        if len(parts) > self._limits.depth:
            raise UnpackError(f"deeper than {self._limits.depth} directories")
        if not parts:
            if member.kind is not MemberKind.DIRECTORY:
                raise UnpackError(f"the root is a {member.kind.value}")
            self._attributes(self._root_fd, member)
            self._directories[()] = _Finish(member.mode, member.mtime_ns)
            return
        parent = self._directory(parts[:-1], create=True)
        name = parts[-1]
        whiteout = name.startswith(WHITEOUT) and not name.startswith(_BOOKKEEPING)
        if whiteout and member.kind in (MemberKind.FILE, MemberKind.HARDLINK):
            hidden_name(name)
        match member.kind:
            case MemberKind.DIRECTORY:
                self._make_directory(parts, member)
            case MemberKind.FILE:
                self._clear(parent, parts)
                self._make_file(parent, name, member, reader)
            case MemberKind.HARDLINK:
                self._make_link(parts, member)
            case MemberKind.SYMLINK:
                if not member.link:
                    raise UnpackError("a symbolic link without target")
                self._clear(parent, parts)
                os.symlink(member.link, name, dir_fd=parent)
                self._name_attributes(parent, name, member)
            case MemberKind.CHARACTER | MemberKind.BLOCK | MemberKind.FIFO:
                self._clear(parent, parts)
                self._make_node(parent, name, member)

    def _directory(self, parts: Sequence[bytes], *, create: bool) -> int:
        """Open a directory below the root. The descriptor stays ours."""
        same = 0
        while same < min(len(parts), len(self._open)) and parts[same] == self._open[same][0]:
            same += 1
        self._forget(same)
        fd = self._open[-1][1] if self._open else self._root_fd
        for part in parts[same:]:
            try:
                inner = os.open(part, _OPEN_DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, 0o755, dir_fd=fd)
                inner = os.open(part, _OPEN_DIRECTORY, dir_fd=fd)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                found = os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode
                what = "a symbolic link" if stat.S_ISLNK(found) else "no directory"
                raise UnpackError(f"'{shown(part)}' is {what}") from error
            self._open.append((part, inner))
            fd = inner
        return fd

    def _forget(self, count: int) -> None:
        """Close the directories beyond the first ``count``."""
        while len(self._open) > count:
            os.close(self._open.pop()[1])

    def _clear(self, parent: int, parts: list[bytes]) -> None:
        """Remove what has the name of a new member: the last member of a name wins."""
        try:
            found = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        self._forget(len(parts) - 1)
        self._directories.pop(tuple(parts), None)
        if stat.S_ISDIR(found.st_mode):
            remove_entry(parent, parts[-1])
        else:
            os.unlink(parts[-1], dir_fd=parent)

    def _make_directory(self, parts: list[bytes], member: TarMember) -> None:
        parent = self._directory(parts[:-1], create=True)
        try:
            found = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        else:
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(parts[-1], dir_fd=parent)
                os.mkdir(parts[-1], 0o700, dir_fd=parent)
        self._attributes(self._directory(parts, create=False), member)
        self._directories[tuple(parts)] = _Finish(member.mode, member.mtime_ns)

    def _make_file(self, parent: int, name: bytes, member: TarMember, reader: TarReader) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            if member.extents is None:
                _write(fd, reader, member.size)
            else:
                for offset, length in member.extents:
                    os.lseek(fd, offset, os.SEEK_SET)
                    _write(fd, reader, length)
                os.ftruncate(fd, member.size)
            self._attributes(fd, member)
            os.fchmod(fd, member.mode)
            self._capabilities(fd, member)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _make_link(self, parts: list[bytes], member: TarMember) -> None:
        target = components(member.link)
        if not target or len(target) > self._limits.depth:
            raise UnpackError(f"hard link to '{shown(member.link)}'")
        if target == parts:
            return
        try:
            source = os.dup(self._directory(target[:-1], create=False))
        except (FileNotFoundError, UnpackError) as error:
            raise UnpackError(
                f"hard link to '{shown(member.link)}', which is not in this layer"
            ) from error
        try:
            found = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise UnpackError(f"hard link to the directory '{shown(member.link)}'")
            parent = self._directory(parts[:-1], create=True)
            self._clear(parent, parts)
            os.link(
                target[-1], parts[-1], src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False
            )
        except FileNotFoundError as error:
            raise UnpackError(
                f"hard link to '{shown(member.link)}', which is not in this layer"
            ) from error
        finally:
            os.close(source)

    def _make_node(self, parent: int, name: bytes, member: TarMember) -> None:
        if member.kind is MemberKind.FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent)
        elif not self._privileged:
            self.result.warn(f"'{shown(member.name)}': a {member.kind.value} needs root")
            return
        else:
            kind = stat.S_IFCHR if member.kind is MemberKind.CHARACTER else stat.S_IFBLK
            major, minor = member.device
            if major > 0xFFF or minor > 0xFFFFF:
                raise UnpackError(f"device {major}:{minor} does not exist on Linux")
            os.mknod(name, kind | 0o600, os.makedev(major, minor), dir_fd=parent)
        self._name_attributes(parent, name, member)

    def _name_attributes(self, parent: int, name: bytes, member: TarMember) -> None:
        """Set owner, mode and time of what cannot be opened."""
        if self._privileged:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if member.kind is not MemberKind.SYMLINK:
            os.chmod(name, member.mode, dir_fd=parent)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _attributes(self, fd: int, member: TarMember) -> None:
        """Set the owner (before the mode: it clears setuid) and user attributes."""
        if self._privileged:
            os.fchown(fd, member.uid, member.gid)
        for key, value in member.xattrs.items():
            if key.startswith(b"user."):
                self._xattr(fd, member, key, value)

    def _capabilities(self, fd: int, member: TarMember) -> None:
        value = member.xattrs.get(b"security.capability")
        if value is not None:
            self._xattr(fd, member, b"security.capability", value)

    def _xattr(self, fd: int, member: TarMember, key: bytes, value: bytes) -> None:
        """Set an attribute; one that this host refuses is left out, as tar does with all."""
        try:
            os.setxattr(fd, key, value)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self.result.warn(f"'{shown(member.name)}': attribute {shown(key)}: {why}")


def _write(fd: int, reader: TarReader, size: int) -> None:
    left = size
    while left:
        data = reader.read(min(left, CHUNK))
        if not data:
            raise UnpackError("truncated")
        left -= len(data)
        while data:
            data = data[os.write(fd, data) :]


def convert_whiteouts(root: str) -> None:
    """Turn the whiteouts of a tree into those of overlayfs. Raises UnpackError.

    An opaque marker becomes an attribute of its directory, any other a character device 0:0, but
    beside an opaque marker it is dropped: it says nothing more, and the kernel would list it.
    Directories keep their times. A name that has a whiteout and an entry in the same layer is
    refused, as upstream does.
    """
    for top, _, names, fd in os.fwalk(os.fsencode(root), follow_symlinks=False):
        marks = [
            name
            for name in names
            if name.startswith(WHITEOUT)
            and stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        ]
        if not marks:
            continue
        before = os.fstat(fd)
        opaque = OPAQUE in marks
        if opaque:
            _make_opaque(top, fd)
        for name in marks:
            if not name.startswith(_BOOKKEEPING):
                _hide(top, fd, hidden_name(name))
                if opaque:
                    os.unlink(hidden_name(name), dir_fd=fd)
            os.unlink(name, dir_fd=fd)
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))


def _make_opaque(top: bytes, fd: int) -> None:
    try:
        os.setxattr(fd, b"trusted.overlay.opaque", b"y")
    except OSError as error:
        raise UnpackError(
            f"Failed to set the opaque attribute of '{shown(top)}': {error.strerror}"
        ) from error


def _hide(top: bytes, fd: int, name: bytes) -> None:
    try:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=fd)
    except OSError as error:
        path = os.fsdecode(os.path.join(top, name))
        raise UnpackError(
            f"Failed to create character device '{path}': {error.strerror}"
        ) from error
