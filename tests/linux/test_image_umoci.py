# SPDX-License-Identifier: Apache-2.0
"""Trees of many images are those that umoci makes of them: an implementation that is not ours.

Paths, modes, owners, times, attributes, which names share a file, contents.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.containerizer.provisioner.images import TIME, Entry, folder, layout, tar
from tests.linux.provisioning import docker_provisioner
from tests.suites.image_backends import CAPABILITY, LAYERS, describe

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

ROOT = folder(".", mode=0o755)


def run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(autouse=True)
def _tools() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for tool in ("umoci", "tar"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs the program {tool}")


# --- images: each writes an OCI layout ------------------------------------------------------------


def store(target: Path, layers: list[bytes], pack: Callable[[bytes], bytes] | None = None) -> None:
    """Write a layout of these layers; ``pack`` compresses those."""
    files = layout([(pack or gzip.compress)(layer) for layer in layers], compress=False)
    index = json.loads(files["index.json"])
    manifest_path = "blobs/sha256/" + index["manifests"][0]["digest"][7:]
    manifest = json.loads(files[manifest_path])
    # The configuration holds digests of the tars, not of what is stored.
    fresh = layout(layers, compress=False)
    config_path = (
        "blobs/sha256/"
        + json.loads(
            fresh["blobs/sha256/" + json.loads(fresh["index.json"])["manifests"][0]["digest"][7:]]
        )["config"]["digest"][7:]
    )
    del files["blobs/sha256/" + manifest["config"]["digest"][7:]]
    files[config_path] = fresh[config_path]
    manifest["config"]["digest"] = f"sha256:{config_path[13:]}"
    manifest["config"]["size"] = len(fresh[config_path])
    for name, data in files.items():
        if name not in ("index.json", manifest_path):
            write(target / name, data)
    text = json.dumps(manifest).encode()
    digest = hashlib.sha256(text).hexdigest()
    write(target / "blobs" / "sha256" / digest, text)
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(text)}
    write(target / "index.json", json.dumps(index).encode())


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def entries(*layers: list[Entry]) -> Callable[[Path], None]:
    return lambda target: store(target, [tar(layer) for layer in layers])


def sparse(*options: str) -> Callable[[Path], None]:
    """Make an image with GNU tar of files with holes of all kinds."""

    def make(target: Path) -> None:
        tree = target.parent / "tree"
        tree.mkdir()
        for name, parts in {
            "none": [],
            "start": [(0, 5)],
            "end": [(3_000_000, 7)],
            "many": [(n * 100_000, 3000) for n in range(60)],
        }.items():
            with (tree / name).open("wb") as file:
                for offset, length in parts:
                    file.seek(offset)
                    file.write(name.encode()[:1] * length)
                file.truncate(6_200_000)
        layer = run_bytes("tar", "-C", str(tree), "-S", "--sort=name", "--mtime=@1000000000",
                          *options, "-cf", "-", ".")  # fmt: skip
        shutil.rmtree(tree)
        store(target, [layer])

    return make


def run_bytes(*argv: str) -> bytes:
    return subprocess.run(argv, capture_output=True, check=True).stdout


def long_names(format: int) -> Callable[[Path], None]:
    deep = "/".join(f"d{n:02}" + "x" * 40 for n in range(9))
    layer = [ROOT]
    layer += [folder(deep[: 44 * n - 1]) for n in range(1, 10)]
    if format == tarfile.USTAR_FORMAT:
        layer = [entry for entry in layer if len(entry.name) < 100]
        layer += [Entry(f"{layer[-1].name}/{'f' * 90}", b"u")]
    else:
        layer += [
            Entry(f"{deep}/{'f' * 250}", b"long"),
            Entry("link", kind="symlink", to="t" * 300),
            Entry("hard", kind="link", to=f"{deep}/{'f' * 250}"),
            Entry("ünïcödé", b"8"),
        ]
    return lambda target: store(target, [tar(layer, format)])


def debian(target: Path) -> None:
    """Several layers of a Debian: install, delete, replace; the differences are umoci's."""
    tree = target.parent / "bundle"
    image = f"{target}:latest"
    run("umoci", "init", "--layout", str(target))
    run("umoci", "new", "--image", image)
    run("umoci", "unpack", "--image", image, str(tree))
    root = tree / "rootfs"
    run("tar", "-xpf", str(debian_tree()), "-C", str(root))

    def commit() -> None:
        run("umoci", "repack", "--refresh-bundle", "--image", image, str(tree))

    commit()
    shutil.rmtree(root / "usr/share/doc")
    shutil.rmtree(root / "usr/share/locale")
    (root / "etc/debian_version").write_text("changed\n")
    os.unlink(root / "etc/issue")
    (root / "etc/issue").mkdir()
    (root / "etc/issue/inside").write_text("a directory now\n")
    commit()
    (root / "usr/share/doc").mkdir()
    (root / "usr/share/doc/README").write_text("back\n")
    shutil.rmtree(root / "usr/share/zoneinfo")
    (root / "usr/share/zoneinfo").symlink_to("/etc")
    os.chmod(root / "usr/bin/chsh", 0o755)
    os.setxattr(root / "usr/bin/tail", "security.capability", CAPABILITY.encode("latin-1"))
    commit()
    shutil.rmtree(root / "etc/issue")
    os.link(root / "usr/bin/head", root / "etc/issue")
    os.unlink(root / "usr/share/doc/README")
    commit()
    shutil.rmtree(tree)


def debian_tree() -> Path:
    """Return a tar of Debian's minimal system, made once and kept."""
    if shutil.which("debootstrap") is None:
        pytest.skip("needs the program debootstrap")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(base) / "mesos-compat" / "images" / "debian-bookworm.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            tree = path.with_suffix(".tree")
            shutil.rmtree(tree, ignore_errors=True)
            mirror = [line.split()[-1] for line in run(
                "apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"
            ).splitlines() if line.startswith("bookworm ")]  # fmt: skip
            run("debootstrap", "--variant=minbase", "--foreign", "bookworm", str(tree), *mirror[:1])
            shutil.rmtree(tree / "debootstrap")
            shutil.rmtree(tree / "var/cache/apt")
            partial = path.with_suffix(".partial")
            run("tar", "-cpf", str(partial), "-C", str(tree), ".")
            partial.rename(path)
            shutil.rmtree(tree)
    return path


IMAGES: dict[str, Callable[[Path], None]] = {
    "all that layers can do": entries(
        *([entry for entry in layer if entry.name != "sparse"] for layer in LAYERS)
    ),
    "replacements": entries(
        [ROOT, folder("a"), Entry("a/f", b"1"), Entry("b", b"2"),
         Entry("c", kind="symlink", to="a"), folder("d"), folder("d/e"), Entry("d/e/f", b"3")],
        [ROOT, Entry("a", b"file"), folder("b"), Entry("b/in", b"4"), folder("c"),
         Entry("c/g", b"5")],
        [ROOT, folder("a"), Entry("a/again", b"6"), Entry("b", kind="fifo"),
         Entry("d", kind="symlink", to="/etc"), Entry("c", kind="symlink", to="../../..")],
    ),
    "whiteouts before and after": entries(
        [ROOT, folder("d"), Entry("d/one"), Entry("d/two"), Entry("three"), folder("deep"),
         folder("deep/er"), Entry("deep/er/f")],
        [ROOT, Entry("d/.wh.one"), folder("d", mtime=TIME + 5), Entry("d/new"), Entry("d/.wh.two"),
         Entry(".wh.three"), Entry(".wh.deep")],
    ),
    "opaque": entries(
        [ROOT, folder("d"), Entry("d/one"), folder("d/sub"), Entry("d/sub/two"), folder("e"),
         Entry("e/three")],
        [ROOT, folder("d", mode=0o700, uid=3), Entry("d/first"), Entry("d/.wh..wh..opq"),
         folder("d/sub"), Entry("d/sub/new"), folder("e"), Entry("e/.wh..wh..opq")],
        [ROOT, folder("d", mtime=TIME + 7), Entry("d/top")],
    ),
    "hard-linked whiteouts": entries(
        [ROOT, folder("d"), Entry("a"), Entry("d/b"), Entry("d/c"), Entry("kept", b"k")],
        [ROOT, Entry(".wh.a"), folder("d"), Entry("d/.wh.b", kind="link", to=".wh.a"),
         Entry("d/.wh.c", kind="link", to="d/.wh.b")],
    ),
    "hard links": entries(
        [ROOT, folder("d"), Entry("d/a", b"x"), Entry("b", kind="link", to="d/a"),
         Entry("s", kind="symlink", to="d/a"), Entry("t", kind="link", to="s"),
         Entry("c", kind="link", to="/d/a")],
        [ROOT, Entry("c", b"own now"), Entry("d/.wh.a"), folder("d")],
    ),
    "capabilities and attributes": entries(
        [ROOT, Entry("ping", b"\x7fELF", mode=0o755,
                     pax={"SCHILY.xattr.security.capability": CAPABILITY}),
         Entry("owned", b"o", mode=0o755, uid=5, gid=6,
               pax={"SCHILY.xattr.security.capability": CAPABILITY}),
         Entry("note", b"n", pax={"SCHILY.xattr.user.note": "a=b\nc"}),
         folder("noted", pax={"SCHILY.xattr.user.dir": "d"})],
    ),
    "special files": entries(
        [ROOT, folder("dev"), Entry("dev/null", kind="char", device=(1, 3), mode=0o666),
         Entry("dev/disk", kind="block", device=(259, 70000), mode=0o660, gid=6),
         Entry("fifo", kind="fifo", mode=0o622, uid=9)],
        [ROOT, folder("dev"), Entry("dev/null", b"a file"),
         Entry("fifo", kind="char", device=(5, 1))],
    ),
    "modes and owners": entries(
        [ROOT, *(Entry(f"f{mode:o}", b"m", mode=mode, uid=mode, gid=mode + 1)
                 for mode in (0, 0o111, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777)),
         folder("setgid", mode=0o2775, gid=50), Entry("setgid/of-root", b"r"), folder("setgid/d"),
         Entry("setgid/d/f", b"r"), folder("tmp", mode=0o1777), folder("closed", mode=0),
         Entry("closed/f", b"c"), Entry("big", b"", uid=2_000_000_000, gid=3_000_000_000),
         Entry("link", kind="symlink", to="x", uid=7, gid=8)],
    ),
    "times": entries(
        [folder(".", mtime=1), Entry("old", b"", mtime=0), Entry("new", b"", mtime=4_000_000_000),
         Entry("fine", b"", mtime=1_234_567_890.123456), folder("d", mtime=5.5),
         Entry("d/f", b"", mtime=9), Entry("l", kind="symlink", to="x", mtime=77.25)],
    ),
    "last of a name": entries(
        [ROOT, Entry("f", b"1"), Entry("f", b"2"), folder("d"), Entry("d/x"), Entry("d", b"f"),
         Entry("e", b""), folder("e"), Entry("e/y", b"3"), Entry("l", kind="symlink", to="/"),
         Entry("l", b"no link")],
    ),
    "sparse, GNU": sparse("--format=gnu"),
    "sparse, pax 0.0": sparse("--format=pax", "--sparse-version=0.0"),
    "sparse, pax 0.1": sparse("--format=pax", "--sparse-version=0.1"),
    "sparse, pax 1.0": sparse("--format=pax", "--sparse-version=1.0"),
    "long names, GNU": long_names(tarfile.GNU_FORMAT),
    "long names, pax": long_names(tarfile.PAX_FORMAT),
    "long names, ustar": long_names(tarfile.USTAR_FORMAT),
    "many members of gzip": lambda target: store(
        target,
        [tar([ROOT, Entry("f", os.urandom(200_000))])],
        lambda data: b"".join(
            gzip.compress(data[at : at + 50_000]) for at in range(0, len(data), 50_000)
        ),
    ),
    "directories in passing": entries(
        [ROOT, folder("tmp", mode=0o1777), folder("d", mode=0o750, uid=3, gid=4,
         pax={"SCHILY.xattr.user.x": "y"}), folder("d/e", mode=0o700), Entry("d/e/f", b"1"),
         folder("op", mode=0o711), Entry("op/gone", b""), folder("back", mode=0o700)],
        [ROOT, Entry("tmp/x", b"2"), Entry("d/e/g", b"3", mtime=TIME + 1),
         Entry("op/.wh..wh..opq"), Entry("op/new", b"4"), folder("back", mode=0o711)],
        [ROOT, Entry("d/e/h", b"5"), Entry("d/.wh.none"), Entry("back/f", b"6")],
    ),
    "an empty layer": entries(
        [ROOT, Entry("f", b"1")], [], [ROOT, Entry("g", b"2")]
    ),
    "Debian": debian,
}  # fmt: skip

#: What umoci cannot read → an image with the same content.
TWINS = {"sparse, GNU": "sparse, pax 1.0"}


# --- the comparison -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=IMAGES)
def image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, tuple[object, ...]]]]:
    """Make an image; yield where, its name, and what umoci makes of it."""
    if os.geteuid() != 0 or shutil.which("umoci") is None:
        pytest.skip("needs root and the program umoci")
    base = tmp_path_factory.mktemp("image")
    IMAGES[request.param](base / "busybox")
    readable = "busybox"
    if request.param in TWINS:
        readable = "twin"
        IMAGES[TWINS[request.param]](base / readable)
    run("umoci", "unpack", "--image", f"{base}/{readable}:latest", str(base / "bundle"))
    yield base, whole(str(base / "bundle" / "rootfs"))
    shutil.rmtree(base)


def whole(root: str) -> dict[str, tuple[object, ...]]:
    """Describe a tree and its root directory."""
    status = os.stat(root)
    own = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
    return {".": own, **describe(root)}


@pytest.mark.parametrize("backend", ["copy", "overlay"])
async def test_same_as_umoci(
    tmp_path: Path, image: tuple[Path, dict[str, tuple[object, ...]]], backend: str
) -> None:
    registry, wanted = image
    provisioner = docker_provisioner(tmp_path, registry, backend)
    container = ContainerId.new()
    try:
        await provisioner.recover([])
        reference = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="busybox"))
        found = whole((await provisioner.provision(container, reference)).rootfs)
    finally:
        with contextlib.suppress(FileNotFoundError):
            await provisioner.destroy(container)
        await provisioner.close()
    if backend == "overlay":
        # A mounted root has the attributes of its upper directory (spec images 4.5).
        found["."] = wanted["."]
    assert set(found) == set(wanted)
    differing = [path for path in found if found[path] != wanted[path]]
    assert {path: found[path] for path in differing} == {path: wanted[path] for path in differing}
