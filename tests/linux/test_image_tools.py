# SPDX-License-Identifier: Apache-2.0
"""Images made by other programs, and their own idea of what is in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from containerizer.provisioner.oci import host_platform
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from tests.linux.provisioning import docker_provisioner
from tests.suites.image_backends import describe

pytestmark = pytest.mark.root

_REF_NAME = "org.opencontainers.image.ref.name"


def run(*argv: str, cwd: Path) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one image in each form; ``bundle/rootfs`` is what umoci makes of it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for tool in ("umoci", "skopeo", "buildah"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs the program {tool}")
    base = tmp_path_factory.mktemp("images")
    tree = base / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "bin" / "tool").write_bytes(os.urandom(50_000))
    (tree / "bin" / "tool").chmod(0o4755)
    os.link(tree / "bin" / "tool", tree / "bin" / "hard")
    (tree / "bin" / "soft").symlink_to("/bin/tool")
    (tree / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (tree / "etc" / "gone").write_text("gone")
    os.mkfifo(tree / "fifo")
    os.setxattr(tree / "etc" / "passwd", "user.note", b"x\ny")
    os.chown(tree / "etc" / "passwd", 12, 34)
    with (tree / "sparse").open("wb") as file:
        file.truncate(5_000_000)
    extra = base / "extra"
    extra.mkdir()
    (extra / "new").write_text("new")
    image = "layout:latest"
    run("umoci", "init", "--layout", "layout", cwd=base)
    run("umoci", "new", "--image", image, cwd=base)
    run("umoci", "insert", "--image", image, "tree", "/", cwd=base)
    run("umoci", "insert", "--image", image, "--opaque", "extra", "/etc", cwd=base)
    run("umoci", "insert", "--image", image, "--whiteout", "/fifo", cwd=base)
    run("umoci", "config", "--image", image, "--config.env", "A=1", cwd=base)
    run("umoci", "unpack", "--image", image, "bundle", cwd=base)
    copy = ("skopeo", "copy", "-q", "--insecure-policy", f"oci:{image}")
    run(*copy, "docker-archive:busybox.tar:busybox:latest", cwd=base)
    run(*copy, "oci-archive:oci.tar:oci:latest", cwd=base)
    run(*copy, "oci-archive:plain.tar", cwd=base)
    zstd = ("--format=oci", "--dest-compress", "--dest-compress-format=zstd")
    run(*copy, *zstd, "oci:zstd:latest", cwd=base)
    _make_index(base)
    os.link(base / "busybox.tar", base / "busybox:latest.tar")
    return base


def _make_index(base: Path) -> None:
    """Make ``several`` of two platforms, ``partial`` without the other's, and a tar of it."""
    run("umoci", "new", "--image", "layout:empty", cwd=base)
    roots = ("--root", f"{base}/storage", "--runroot", f"{base}/run")
    buildah = ("buildah", *roots, "--storage-driver", "vfs")
    own = host_platform().rpartition("/")[2]
    run(*buildah, "manifest", "create", "several", cwd=base)
    for arch, place in (("ppc64", "layout:empty"), (own, "zstd:latest")):
        source = f"oci:{base}/{place}"
        run(*buildah, "manifest", "add", "--arch", arch, "several", source, cwd=base)
    push = ("manifest", "push", "-q", "--all", "several", f"oci:{base}/several:latest")
    run(*buildah, *push, cwd=base)
    shutil.copytree(base / "several", base / "partial")
    blobs = base / "partial" / "blobs" / "sha256"
    empty = json.loads((base / "layout" / "index.json").read_bytes())["manifests"]
    [other] = [each for each in empty if each["annotations"][_REF_NAME] == "empty"]
    (blobs / other["digest"].removeprefix("sha256:")).unlink()
    run("tar", "-C", "partial", "-cf", "packed.tar", ".", cwd=base)


@pytest.mark.parametrize("backend", ["copy", "overlay"])
@pytest.mark.parametrize(
    "name",
    [
        *("busybox", "busybox:latest", "oci", "oci:latest", "plain", "layout"),
        *("zstd", "several", "partial", "packed"),
    ],
)
async def test_same_as_umoci(tmp_path: Path, images: Path, backend: str, name: str) -> None:
    if name == "oci:latest":
        os.makedirs(tmp_path / "registry")
        os.symlink(images / "oci.tar", tmp_path / "registry" / "oci:latest.tar")
        registry = tmp_path / "registry"
    else:
        registry = images
    provisioner = docker_provisioner(tmp_path, registry, backend)
    await provisioner.recover([])
    container = ContainerId.new()
    image = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name))
    info = await provisioner.provision(container, image)
    try:
        wanted, found = describe(str(images / "bundle" / "rootfs")), describe(info.rootfs)
        assert list(found) == list(wanted)
        for path in wanted:
            # Directories that umoci only passes through have no time of their own.
            drop = 3 if path in ("etc", "bin") else None
            assert [v for n, v in enumerate(found[path]) if n != drop] == [
                v for n, v in enumerate(wanted[path]) if n != drop
            ], path
        assert "etc/new" in found
        assert not {"etc/passwd", "etc/gone", "fifo"} & set(found)
        assert info.docker_manifest is not None
        assert info.docker_manifest.config.Env == ["A=1"]
    finally:
        assert await provisioner.destroy(container)
        await provisioner.close()
    assert os.listdir(tmp_path / "work" / "provisioner" / "containers") == []
