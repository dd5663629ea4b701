# SPDX-License-Identifier: Apache-2.0
"""What every backend must do. A test class derives from ``BackendSuite`` and says how.

The trees of layers are made by the same code as in the stores, so the suite also shows that all
backends make the same tree, file by file, of the same image.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from containerizer.provisioner import implicit
from containerizer.provisioner.base import Backend
from containerizer.provisioner.layout import OVERLAY_TREE
from containerizer.provisioner.streams import BlobContent, FileRegion
from containerizer.provisioner.unpack import UnpackLimits, convert_whiteouts, unpack_tar
from mesos_compat.base.errors import ProvisionError
from tests.containerizer.provisioner.images import TIME, Entry, folder, tar

#: A v2 capability set: cap_net_bind_service, permitted.
CAPABILITY = "\x01\x00\x00\x02\x00\x04\x00\x00" + "\x00" * 12


def unpack_layers(base: Path, layers: Sequence[Sequence[Entry]], tree: str) -> list[str]:
    """Make the trees of layers as a store does."""
    made = []
    for number, entries in enumerate(layers):
        archive = base / f"{number}.tar"
        archive.write_bytes(tar(entries))
        root = base / "layers" / f"sha256:{number}" / tree
        root.mkdir(parents=True)
        source = os.open(archive, os.O_RDONLY)
        target = os.open(root, os.O_RDONLY)
        content = BlobContent(FileRegion(source), most=1 << 30)
        try:
            found = unpack_tar(content, target, UnpackLimits())
        finally:
            content.close()
            os.close(source)
            os.close(target)
        if tree == OVERLAY_TREE:
            convert_whiteouts(str(root), found.whiteouts)
        implicit.remember(str(root), [path.decode("latin-1") for path in found.implicit])
        made.append(str(root))
    return made


def describe(root: str) -> dict[str, tuple[object, ...]]:
    """Return everything that a container can see of a tree, but for its root directory."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for top, folders, names in os.walk(root):
        for name in sorted([*folders, *names]):
            path = os.path.join(top, name)
            shown = os.path.relpath(path, root)
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                # A whiteout in a directory that no lower layer has: the kernel lists its name.
                continue
            first = inodes.setdefault(status.st_ino, shown)
            is_folder = stat.S_ISDIR(status.st_mode)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif not is_folder:
                content = status.st_rdev
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if not key.startswith("trusted.overlay.")
            }
            found[shown] = (
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                None if is_folder else first,
                content,
                xattrs,
            )
    return found


#: Layers, bottom first, with all that can happen between them; every directory is a member.
LAYERS = [
    [
        folder("."),
        folder("w"),
        Entry("w/gone"),
        Entry("w/keep", b"k"),
        folder("w/dirgone"),
        Entry("w/dirgone/f"),
        folder("op"),
        Entry("op/low"),
        folder("op/sub"),
        Entry("op/sub/low2"),
        folder("dir2file"),
        Entry("dir2file/x"),
        Entry("file2dir"),
        Entry("link2dir", kind="symlink", to="w"),
        folder("dir2link"),
        Entry("dir2link/x"),
        Entry("abslink", kind="symlink", to="/etc"),
        Entry("outlink", kind="symlink", to="../../../../../outside"),
        Entry("linkedfile", b"old"),
        Entry("othername", kind="link", to="linkedfile"),
        folder("attributes", mode=0o700, uid=1),
        folder("gone-and-back"),
        Entry("gone-and-back/x"),
    ],
    [
        folder(".", mode=0o711, uid=5),
        Entry("w/.wh.gone"),
        folder("w", mtime=TIME + 1),
        Entry("w/.wh.dirgone"),
        Entry("w/.wh.never"),
        Entry("w/.wh..wh.plnk"),
        folder("op", mtime=TIME + 2),
        Entry("op/new", b"n"),
        Entry("op/.wh..wh..opq"),
        Entry("op/new2", b"n2"),
        Entry("dir2file", b"file"),
        folder("file2dir"),
        Entry("file2dir/y", b"y"),
        folder("link2dir"),
        Entry("link2dir/z", b"z"),
        Entry("dir2link", kind="symlink", to="w"),
        folder("outlink"),
        Entry("outlink/evil", b"inside"),
        Entry("linkedfile", b"new"),
        folder("h"),
        Entry("h/a", b"hard"),
        Entry("h/b", kind="link", to="h/a"),
        Entry("setuid", b"s", mode=0o4755),
        Entry("setgid", b"s", mode=0o2755, uid=77, gid=88),
        folder("sticky", mode=0o1777),
        Entry(
            "xattr",
            pax={
                "SCHILY.xattr.security.capability": CAPABILITY,
                "SCHILY.xattr.user.foo": "bar",
                "SCHILY.xattr.trusted.overlay.opaque": "y",
            },
        ),
        Entry("device", kind="char", device=(1, 3), mode=0o666),
        Entry("fifo", kind="fifo", mode=0o640),
        Entry("owner", uid=4242, gid=4343, owner="daemon"),
        folder("attributes", mode=0o751, uid=2, gid=3, mtime=TIME + 3),
        Entry(".wh.gone-and-back"),
        Entry("sparse", b"ab", pax={"GNU.sparse.size": "900000", "GNU.sparse.map": "0,1,899999,1"}),
    ],
    [
        folder("."),
        folder("gone-and-back"),
        Entry("gone-and-back/y", b"y"),
        Entry("w/.wh.keep"),
        folder("w"),
    ],
]

#: What comes of them: all names.
NAMES = {
    "abslink", "attributes", "device", "dir2file", "dir2link", "fifo", "file2dir", "file2dir/y",
    "gone-and-back", "gone-and-back/y", "h", "h/a", "h/b", "link2dir", "link2dir/z", "linkedfile",
    "op", "op/new", "op/new2", "othername", "outlink", "outlink/evil", "owner", "setgid", "setuid",
    "sparse", "sticky", "w", "xattr",
}  # fmt: skip


class BackendSuite:
    """The tests. They need root."""

    #: Name of the trees of layers that the backend reads.
    tree = "rootfs"

    def make(self, tmp_path: Path) -> Backend:
        """Return a backend that works in ``tmp_path``."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _root(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")

    def paths(self, tmp_path: Path) -> tuple[str, str]:
        directory = tmp_path / "provisioner" / "containers" / "c" / "backends" / "b"
        return str(directory / "rootfses" / "r"), str(directory)

    async def test_all_that_layers_can_do(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        rootfs, directory = self.paths(tmp_path)
        layers = unpack_layers(tmp_path, LAYERS, self.tree)
        await backend.provision(layers, rootfs, directory)
        try:
            found = describe(rootfs)
            assert set(found) == NAMES
            assert found == expected()
            assert os.stat(f"{rootfs}/sparse").st_blocks < 1000
        finally:
            assert await backend.destroy(rootfs, directory)
        assert not os.path.exists(rootfs)
        assert not (tmp_path / "outside").exists()

    async def test_containers_write_for_themselves(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        rootfs, directory = self.paths(tmp_path)
        [layer] = unpack_layers(tmp_path, [[folder("."), Entry("f", b"image")]], self.tree)
        await backend.provision([layer], rootfs, directory)
        try:
            with open(f"{rootfs}/f", "w", encoding="ascii") as file:
                file.write("container")
            os.mkdir(f"{rootfs}/new")
            assert os.listdir(layer) == ["f"]
            with open(f"{layer}/f", encoding="ascii") as file:
                assert file.read() == "image"
        finally:
            await backend.destroy(rootfs, directory)

    async def test_many_layers(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        rootfs, directory = self.paths(tmp_path)
        entries = [[folder("."), Entry(f"f{n}", b""), Entry("top", b"%d" % n)] for n in range(64)]
        layers = unpack_layers(tmp_path, entries, self.tree)
        # AppC images may name one below several others.
        await backend.provision([layers[0], layers[1], layers[0], *layers[1:]], rootfs, directory)
        try:
            assert len(os.listdir(rootfs)) == 65
            assert Path(rootfs, "top").read_bytes() == b"63"
        finally:
            await backend.destroy(rootfs, directory)

    async def test_no_layers(self, tmp_path: Path) -> None:
        rootfs, directory = self.paths(tmp_path)
        with pytest.raises(ProvisionError, match="No filesystem layer"):
            await self.make(tmp_path).provision([], rootfs, directory)

    async def test_missing_layer(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        rootfs, directory = self.paths(tmp_path)
        with pytest.raises(ProvisionError, match="No such file or directory"):
            await backend.provision([str(tmp_path / "none")], rootfs, directory)
        await backend.destroy(rootfs, directory)
        assert not os.path.exists(os.path.join(directory, "scratch", "r", "links"))


def expected() -> dict[str, tuple[object, ...]]:
    """Return what ``describe`` must say of ``LAYERS``, from the entries alone."""
    wanted: dict[str, tuple[object, ...]] = {}
    kinds = {"file": 0o100000, "dir": 0o040000, "symlink": 0o120000, "char": 0o020000,
             "fifo": 0o010000}  # fmt: skip
    for layer in LAYERS:
        for entry in layer:
            if entry.name not in NAMES or entry.kind == "link":
                continue
            mode = entry.mode if entry.mode is not None else 0o755 if entry.kind == "dir" else 0o644
            if entry.kind == "symlink":
                mode = 0o777
            content: object = {"file": entry.data, "symlink": entry.to, "dir": None}.get(
                entry.kind, os.makedev(*entry.device)
            )
            if entry.name == "sparse":
                content = b"a" + bytes(899998) + b"b"
            xattrs = {
                key.removeprefix("SCHILY.xattr."): value.encode()
                for key, value in entry.pax.items()
                if key.startswith("SCHILY.xattr.") and "trusted" not in key
            }
            wanted[entry.name] = (
                oct(kinds[entry.kind] | mode),
                entry.uid,
                entry.gid,
                int(entry.mtime) * 10**9,
                None if entry.kind == "dir" else entry.name,
                content,
                xattrs,
            )
    hard = wanted["h/a"]
    wanted["h/a"] = wanted["h/b"] = (*hard[:4], "h/a", *hard[5:])
    old = next(entry for entry in LAYERS[0] if entry.name == "linkedfile")
    return wanted | {"othername": (*wanted["linkedfile"][:4], "othername", old.data, {})}
