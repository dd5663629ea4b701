# SPDX-License-Identifier: Apache-2.0
"""A layer becomes a directory.

Each member is checked before anything is written. All paths are walked from a descriptor of the
root, one component at a time and never through a symbolic link, so nothing outside of the root is
touched whatever the archive says. Whiteouts are written as the plain files they are;
``convert_whiteouts`` then gives them the form that overlayfs knows.

Runs in a process that reaches nothing else (``containerizer.provisioner.workers``).

Source: spec ``images`` 4.9, 4.10, 11.5.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from containerizer.provisioner.streams import ByteStream
from containerizer.provisioner.tarstream import MemberKind, TarMember, TarReader
from containerizer.provisioner.trees import remove_entry
from mesos_compat.base.errors import UnpackError

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
#: What AUFS keeps for itself: ``.wh..wh.plnk`` and the like. Means nothing to anybody else.
_BOOKKEEPING = b".wh..wh."

#: Most warnings that are reported; the rest is only counted.
_MAX_WARNINGS = 20

#: Last components of a name that need a closer look.
_NO_NAMES = (b"", b".", b"..")
_SET_ID = stat.S_ISUID | stat.S_ISGID

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


#: Moves or leaves out (``None``) members by the components of their names.
Place = Callable[[list[bytes]], list[bytes] | None]


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
    #: Names that may be whiteouts, by the components of the path of their directory.
    whiteouts: dict[tuple[bytes, ...], set[bytes]] = field(default_factory=dict)
    #: Directories that no member describes, the root by an empty path. Some may be gone again.
    implicit: set[bytes] = field(default_factory=lambda: {b""})

    def warn(self, text: str) -> None:
        """Remember something that was left out."""
        if len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(text)
        else:
            self.omitted_warnings += 1


@dataclass(frozen=True, slots=True)
class _Finish:
    """What a directory gets once everything in it is there."""

    #: ``None`` if it has it already.
    mode: int | None
    mtime_ns: int


@dataclass(slots=True)
class _Open:
    """An open directory."""

    name: bytes
    fd: int
    #: Whether what is made in it belongs to root at once.
    of_root: bool


def unpack_tar(
    stream: ByteStream,
    root_fd: int,
    limits: UnpackLimits,
    place: Place | None = None,
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
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


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


class _NoDirectoryError(UnpackError):
    """A member is below something that is no directory."""


def _is_whiteout(name: bytes, member: TarMember) -> bool:
    return name.startswith(WHITEOUT) and member.kind in (MemberKind.FILE, MemberKind.HARDLINK)


class _Extractor:
    """Writes members below one directory.

    The common case, a file of root's in the directory of the last member, takes four calls of
    the system: open, write, utime, close.
    """

    def __init__(
        self,
        root_fd: int,
        limits: UnpackLimits,
        place: Place | None,
    ) -> None:
        self.result = Extraction()
        self._root = _Open(b"", root_fd, False)
        self._limits = limits
        self._place = place
        self._privileged = os.geteuid() == 0
        #: Whether a file gets just the mode that it is made with.
        self._exact_modes = b"system.posix_acl_default" not in _attribute_names(root_fd)
        self._umask = os.umask(0)
        #: Open directories from the root to that of the last member.
        self._open: list[_Open] = []
        #: The same path, as it was spelled by the last member; ``None`` if that is unknown.
        self._spelled: bytes | None = None
        self._parent: tuple[bytes, ...] = ()
        #: Directories of the archive by the components of their paths.
        self._directories: dict[tuple[bytes, ...], _Finish] = {}
        self._look_at_root()

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
        """Set the times and, where they are not right yet, the modes of directories."""
        root = self._directories.pop((), None)
        for path in sorted(self._directories):
            wanted = self._directories[path]
            times = (wanted.mtime_ns, wanted.mtime_ns)
            try:
                parent = self._directory(path[:-1], create=False)
                if wanted.mode is not None:
                    os.fchmod(self._directory(path, create=False).fd, wanted.mode)
                os.utime(path[-1], ns=times, dir_fd=parent.fd, follow_symlinks=False)
            except (OSError, UnpackError):
                continue  # replaced by a later member
        if root is not None:
            if root.mode is not None:
                os.fchmod(self._root.fd, root.mode)
            os.utime(self._root.fd, ns=(root.mtime_ns, root.mtime_ns))

    def close(self) -> None:
        """Close all directories."""
        self._forget(0)
        os.umask(self._umask)

    def _add(self, member: TarMember, reader: TarReader) -> None:
        spelled, _, name = member.name.rstrip(b"/").rpartition(b"/")
        if spelled == self._spelled and name not in _NO_NAMES:
            parent = self._open[-1] if self._open else self._root
        else:
            parts: list[bytes] | None = components(member.name)
            if self._place is not None and parts is not None:
                parts = self._place(parts)
            if parts is None:
                return
            if len(parts) > self._limits.depth:
                raise UnpackError(f"deeper than {self._limits.depth} directories")
            if not parts:
                self._set_root(member)
                return
            name = parts[-1]
            self._spelled = None
            self._parent = tuple(parts[:-1])
            try:
                parent = self._directory(self._parent, create=True)
            except _NoDirectoryError:
                if _is_whiteout(name, member):
                    return  # hides nothing: a file of this layer does already
                raise
            if self._place is None and name == member.name.rstrip(b"/").rpartition(b"/")[2]:
                self._spelled = spelled
        kind = member.kind
        if _is_whiteout(name, member):
            if not name.startswith(_BOOKKEEPING):
                hidden_name(name)
            self.result.whiteouts.setdefault(self._parent, set()).add(name)
        if kind is MemberKind.FILE:
            self._make_file(parent, name, member, reader)
        elif kind is MemberKind.DIRECTORY:
            self._make_directory(parent, name, member)
        elif kind is MemberKind.HARDLINK:
            self._make_link(name, member)
        elif kind is MemberKind.SYMLINK:
            if not member.link:
                raise UnpackError("a symbolic link without target")
            try:
                os.symlink(member.link, name, dir_fd=parent.fd)
            except FileExistsError:
                os.symlink(member.link, name, dir_fd=self._cleared(name).fd)
                parent = self._directory(self._parent, create=False)
            self._name_attributes(parent, name, member)
        else:
            self._make_node(self._cleared(name), name, member)

    def _set_root(self, member: TarMember) -> None:
        if member.kind is not MemberKind.DIRECTORY:
            raise UnpackError(f"the root is a {member.kind.value}")
        self._owner(self._root, self._root.fd, member)
        self._user_attributes(self._root.fd, member)
        self._look_at_root()
        self.result.implicit.discard(b"")
        self._directories[()] = _Finish(member.mode, member.mtime_ns)

    def _look_at_root(self) -> None:
        self._root.of_root = _of_root(self._root.fd)

    def _directory(self, parts: Sequence[bytes], *, create: bool) -> _Open:
        """Open a directory below the root. It stays ours."""
        same = 0
        for known, part in zip(self._open, parts, strict=False):
            if known.name != part:
                break
            same += 1
        self._forget(same)
        found = self._open[-1] if self._open else self._root
        for depth, part in enumerate(parts[same:], same + 1):
            try:
                inner = os.open(part, _OPEN_DIRECTORY, dir_fd=found.fd)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, 0o755, dir_fd=found.fd)
                self.result.implicit.add(b"/".join(parts[:depth]))
                inner = os.open(part, _OPEN_DIRECTORY, dir_fd=found.fd)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                mode = os.stat(part, dir_fd=found.fd, follow_symlinks=False).st_mode
                what = "a symbolic link" if stat.S_ISLNK(mode) else "no directory"
                raise _NoDirectoryError(f"'{shown(part)}' is {what}") from error
            found = _Open(part, inner, False)
            self._open.append(found)
            found.of_root = _of_root(inner)
        return found

    def _forget(self, count: int) -> None:
        """Close the directories beyond the first ``count``."""
        while len(self._open) > count:
            os.close(self._open.pop().fd)
            self._spelled = None

    def _cleared(self, name: bytes) -> _Open:
        """Remove what has the name of the new member (the last one wins); return its directory."""
        parent = self._directory(self._parent, create=True)
        try:
            found = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        except FileNotFoundError:
            return parent
        if stat.S_ISDIR(found.st_mode):
            self._directories.pop((*self._parent, name), None)
            remove_entry(parent.fd, name)
        else:
            os.unlink(name, dir_fd=parent.fd)
        return parent

    def _make_directory(self, parent: _Open, name: bytes, member: TarMember) -> None:
        early = self._privileged and self._exact_modes and not member.mode & _SET_ID
        mode = member.mode if early else 0o700
        try:
            os.mkdir(name, mode, dir_fd=parent.fd)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                early = False
            else:
                os.unlink(name, dir_fd=parent.fd)
                os.mkdir(name, mode, dir_fd=parent.fd)
        path = (*self._parent, name)
        if self.result.implicit:
            self.result.implicit.discard(b"/".join(path))
        made = self._directory(path, create=False)
        self._owner(parent if early else None, made.fd, member)
        self._user_attributes(made.fd, member)
        made.of_root = _of_root(made.fd)
        self._directories[path] = _Finish(None if early else member.mode, member.mtime_ns)
        self._parent, self._spelled = path, member.name.rstrip(b"/")

    def _make_file(self, parent: _Open, name: bytes, member: TarMember, reader: TarReader) -> None:
        mode = member.mode
        try:
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=parent.fd)
        except FileExistsError:
            parent = self._cleared(name)
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=parent.fd)
        try:
            if member.extents is None:
                _write(fd, reader, member.size)
            else:
                for offset, length in member.extents:
                    os.lseek(fd, offset, os.SEEK_SET)
                    _write(fd, reader, length)
                os.ftruncate(fd, member.size)
            self._owner(parent, fd, member)  # before the mode: it clears setuid
            if not self._exact_modes or mode & 0o7000:
                os.fchmod(fd, mode)
            if member.xattrs:
                self._user_attributes(fd, member)
                self._capabilities(fd, member)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(fd)

    def _make_link(self, name: bytes, member: TarMember) -> None:
        target = components(member.link)
        if not target or len(target) > self._limits.depth:
            raise UnpackError(f"hard link to '{shown(member.link)}'")
        if target == [*self._parent, name]:
            return
        try:
            source = os.dup(self._directory(target[:-1], create=False).fd)
        except (FileNotFoundError, UnpackError) as error:
            raise UnpackError(
                f"hard link to '{shown(member.link)}', which is not in this layer"
            ) from error
        try:
            found = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise UnpackError(f"hard link to the directory '{shown(member.link)}'")
            parent = self._cleared(name)
            os.link(
                target[-1], name, src_dir_fd=source, dst_dir_fd=parent.fd, follow_symlinks=False
            )
        except FileNotFoundError as error:
            raise UnpackError(
                f"hard link to '{shown(member.link)}', which is not in this layer"
            ) from error
        finally:
            os.close(source)

    def _make_node(self, parent: _Open, name: bytes, member: TarMember) -> None:
        if member.kind is MemberKind.FIFO:
            os.mkfifo(name, 0o600, dir_fd=parent.fd)
        elif not self._privileged:
            self.result.warn(f"'{shown(member.name)}': a {member.kind.value} needs root")
            return
        else:
            kind = stat.S_IFCHR if member.kind is MemberKind.CHARACTER else stat.S_IFBLK
            major, minor = member.device
            if major > 0xFFF or minor > 0xFFFFF:
                raise UnpackError(f"device {major}:{minor} does not exist on Linux")
            os.mknod(name, kind | 0o600, os.makedev(major, minor), dir_fd=parent.fd)
        self._name_attributes(parent, name, member)

    def _name_attributes(self, parent: _Open, name: bytes, member: TarMember) -> None:
        """Set owner, mode and time of what cannot be opened."""
        if self._privileged and (member.uid or member.gid or not parent.of_root):
            os.chown(name, member.uid, member.gid, dir_fd=parent.fd, follow_symlinks=False)
        if member.kind is not MemberKind.SYMLINK:
            os.chmod(name, member.mode, dir_fd=parent.fd)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent.fd, follow_symlinks=False)

    def _owner(self, parent: _Open | None, fd: int, member: TarMember) -> None:
        """Set the owner; what is new in ``parent`` may have the right one already."""
        if self._privileged and (member.uid or member.gid or parent is None or not parent.of_root):
            os.fchown(fd, member.uid, member.gid)

    def _user_attributes(self, fd: int, member: TarMember) -> None:
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


def _of_root(fd: int) -> bool:
    """Whether what root makes in a directory is of root's group, too."""
    status = os.fstat(fd)
    return status.st_gid == 0 and not status.st_mode & stat.S_ISGID


def _attribute_names(fd: int) -> list[bytes]:
    try:
        return [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError:
        return []


def _write(fd: int, reader: TarReader, size: int) -> None:
    left = size
    while left:
        data = reader.view(left)
        if not data:
            raise UnpackError("truncated")
        left -= len(data)
        while data:
            data = data[os.write(fd, data) :]


def convert_whiteouts(root: str, whiteouts: Mapping[tuple[bytes, ...], Iterable[bytes]]) -> None:
    """Turn the whiteouts of a tree into those of overlayfs. Raises UnpackError.

    ``whiteouts`` has the names that may be some, by directory. An opaque marker becomes an
    attribute of its directory, any other a character device 0:0, but beside an opaque marker it is
    dropped: it says nothing more, and the kernel would list it. Directories keep their times. A
    name that has a whiteout and an entry in the same layer is refused, as upstream does.
    """
    root_fd = os.open(root, _OPEN_DIRECTORY)
    try:
        for parts, names in whiteouts.items():
            try:
                fd = _open_below(root_fd, parts)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # replaced by a later member
                raise
            try:
                _convert_directory(os.path.join(os.fsencode(root), *parts), fd, names)
            finally:
                os.close(fd)
    finally:
        os.close(root_fd)


def _open_below(root_fd: int, parts: tuple[bytes, ...]) -> int:
    fd = os.dup(root_fd)
    for part in parts:
        try:
            inner = os.open(part, _OPEN_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def _convert_directory(top: bytes, fd: int, names: Iterable[bytes]) -> None:
    marks = [name for name in names if _is_file(fd, name)]
    if not marks:
        return
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


def _is_file(fd: int, name: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


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
