# SPDX-License-Identifier: Apache-2.0
"""Measure images: from a registry or an archive to a root file system, cold and warm.

usage: python -m bench.images [--rounds N] [--cache DIR] [--json FILE] [--only NAME,…]

The image has three layers with 27,000 files of 700 MB, pieces of what this host has in ``/usr``,
compressed as ``docker push`` does. It is made once and kept in ``--cache``. Each round runs, one
after the other and each into an empty store on a fresh ext4:

* ``registry``: our provisioner, overlay, from a ``docker-registry`` on this machine;
* ``archive``: the same from a ``docker save`` archive;
* ``buildah``: ``buildah pull`` from that registry (overlay storage);
* ``umoci``: ``skopeo copy`` from that registry, then ``umoci unpack``;
* ``warm overlay``, ``warm copy``: a further root file system of the image by our backends;
* ``cp -a`` of the same layers, one onto the other.

The growth of memory is that of this process, which is the agent. Needs root, and the programs
docker-registry, skopeo, buildah and umoci for what is compared. Figures of two runs are comparable
only side by side on the same quiet machine; ratios of one run are more to be trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import json
import logging
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from containerizer.provisioner.provisioner import ImageProvisioner
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb

NAME = "bench"
#: Files and bytes of each layer, bottom first.
LAYERS = ((15_000, 400_000_000), (9_000, 210_000_000), (3_000, 90_000_000))
_CORPUS_BYTES = 256 << 20
#: Size of the file system that each round gets.
_DISK_BYTES = 8 << 30
_MS = 1000

Figures = dict[str, list[float]]


# --- the image -----------------------------------------------------------------------------------


def make_image(folder: Path) -> None:
    """Write the image as an OCI layout and as what ``docker save`` writes."""
    if (folder / "whole").exists():
        return
    corpus = _corpus()
    blobs = folder / "oci" / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    diff_ids: list[str] = []
    layers: list[dict[str, object]] = []
    plain: list[Path] = []
    for number, (files, size) in enumerate(LAYERS):
        path = folder / f"{number}.tar"
        with path.open("wb") as file:
            _write_layer(file, corpus, number, files, size)
        plain.append(path)
        diff_ids.append(f"sha256:{_digest(path)}")
        packed = folder / "packed"
        with path.open("rb") as source, gzip.GzipFile(packed, "wb", 6, mtime=0) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        layers.append(_keep(packed, blobs, "application/vnd.oci.image.layer.v1.tar+gzip"))
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    config = _keep_text(document, blobs, "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
    described = _keep_text(manifest, blobs, kind)
    described["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    index = {"schemaVersion": 2, "manifests": [described]}
    (folder / "oci" / "index.json").write_text(json.dumps(index))
    (folder / "oci" / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "archives").mkdir(exist_ok=True)
    with tarfile.open(folder / "archives" / f"{NAME}.tar", "w") as archive:
        paths = []
        for path in plain:
            archive.add(path, path.name)
            paths.append(path.name)
            path.unlink()
        for name, content in (
            ("config.json", json.dumps(document)),
            (
                "manifest.json",
                json.dumps(
                    [{"Config": "config.json", "RepoTags": [f"{NAME}:latest"], "Layers": paths}]
                ),
            ),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, BytesIO(content.encode()))
    (folder / "whole").touch()


def _corpus() -> bytes:
    """Return content as images have it: programs, libraries, texts."""
    found = bytearray()
    for top, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            with contextlib.suppress(OSError), open(os.path.join(top, name), "rb") as file:
                found += file.read(4 << 20)
        if len(found) >= _CORPUS_BYTES:
            break
    return bytes(found)


def _write_layer(file: IO[bytes], corpus: bytes, number: int, count: int, size: int) -> None:
    chance = random.Random(number)
    sizes = [chance.lognormvariate(0, 2) for _ in range(count)]
    scale = size / sum(sizes)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        made: set[str] = set()
        for position, share in enumerate(sizes):
            folder = f"usr/share/{number}/{position // 900:03}/{position // 9:05}"
            parts = folder.split("/")
            for depth in range(1, len(parts) + 1):
                path = "/".join(parts[:depth])
                if path not in made:
                    made.add(path)
                    info = tarfile.TarInfo(path)
                    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
                    archive.addfile(info)
            info = tarfile.TarInfo(f"{folder}/file-{position}")
            info.size = min(int(share * scale), len(corpus) // 2)
            info.mtime = 1_700_000_000 + position
            start = chance.randrange(len(corpus) - info.size)
            archive.addfile(info, BytesIO(memoryview(corpus)[start : start + info.size]))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(path: Path, blobs: Path, kind: str) -> dict[str, object]:
    digest, size = _digest(path), path.stat().st_size
    path.rename(blobs / digest)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _keep_text(document: object, blobs: Path, kind: str) -> dict[str, object]:
    path = blobs / "new"
    path.write_text(json.dumps(document))
    return _keep(path, blobs, kind)


# --- what is measured ----------------------------------------------------------------------------


@contextlib.contextmanager
def registry(cache: Path) -> Iterator[str]:
    """Run a registry that has the image; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = cache / "registry.yml"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(cache / "registry")}},
                "http": {"addr": address},
            }
        )
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"OTEL_TRACES_EXPORTER": "none", "PATH": os.environ["PATH"]},
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(address.split(":")):  # type: ignore[arg-type]
                break
            time.sleep(0.1)
        _run("skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false",
             f"oci:{cache}/oci:latest", f"docker://{address}/{NAME}:latest")  # fmt: skip
        yield address
    finally:
        server.terminate()
        server.wait()


@contextlib.asynccontextmanager
async def provisioner(
    folder: Path, source: str, backend: str = "overlay"
) -> AsyncIterator[ImageProvisioner]:
    """Open a provisioner with stores below ``folder``."""
    made = create_provisioner(
        ProvisionerConfig(
            work_dir=str(folder / "work"),
            image_providers=("docker",),
            image_provisioner_backend=backend,
            docker_store_dir=str(folder / "store"),
            docker_registry=source,
            temporary_dir=str(folder),
        ),
        Metrics(),
    )
    try:
        await made.recover([])
        yield made
    finally:
        await made.close()


def _image() -> pb.Image:
    return pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=NAME))


async def cold(folder: Path, source: str, figures: Figures, name: str) -> None:
    """Pull and provision into an empty store, then once more out of it."""
    async with provisioner(folder, source) as made:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_kb("VmRSS")
        containers = [ContainerId.new() for _ in range(6)]
        with _timed(figures, name):
            await made.provision(containers[0], _image())
        figures[f"{name}: growth MB"].append((_status_kb("VmHWM") - before) / 1024)
        for container in containers[1:]:
            begin = time.perf_counter()
            await made.provision(container, _image())
            figures["warm overlay ms"].append((time.perf_counter() - begin) * _MS)
        for container in containers:
            await made.destroy(container)


async def copies(folder: Path, archives: str, figures: Figures) -> None:
    """Copy the layers, by our backend and by ``cp``."""
    async with provisioner(folder, archives, "copy") as made:
        first, second = ContainerId.new(), ContainerId.new()
        await made.provision(first, _image())
        await made.destroy(first)
        os.sync()
        with _timed(figures, "warm copy"):
            await made.provision(second, _image())
        await made.destroy(second)
    layers = sorted((folder / "store" / "layers").glob("*/rootfs"))
    target = folder / "cp"
    target.mkdir()
    os.sync()
    with _timed(figures, "cp -a"):
        for layer in layers:
            _run("cp", "-aT", str(layer), str(target))


def buildah(folder: Path, address: str, figures: Figures) -> None:
    """Pull with buildah."""
    with _timed(figures, "buildah pull"):
        _run("buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run"),
             "--storage-driver", "overlay", "pull", "-q", "--tls-verify=false",
             f"docker://{address}/{NAME}:latest")  # fmt: skip


def umoci(folder: Path, address: str, figures: Figures) -> None:
    """Copy with skopeo, unpack with umoci."""
    with _timed(figures, "skopeo copy + umoci unpack"):
        _run("skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false",
             f"docker://{address}/{NAME}:latest", f"oci:{folder}/oci:latest")  # fmt: skip
        _run("umoci", "unpack", "--image", f"{folder}/oci:latest", str(folder / "bundle"))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr}")


@contextlib.contextmanager
def _timed(figures: Figures, name: str) -> Iterator[None]:
    """Note seconds, and those of processors that this process and its children took."""
    begin, before = time.perf_counter(), os.times()
    yield
    after = os.times()
    figures[f"{name} s"].append(time.perf_counter() - begin)
    figures[f"{name}: cpu s"].append(sum(after[:4]) - sum(before[:4]))


def _status_kb(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0])


@contextlib.contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """Mount a fresh ext4.

    What was deleted before on a file system can make new files several times as dear: ext4 without
    a journal leaves out inodes that became free within the last minute, one by one.
    """
    disk, path = cache / "disk", cache / "mounted"
    path.mkdir(exist_ok=True)
    disk.unlink(missing_ok=True)
    with disk.open("wb") as file:
        file.truncate(_DISK_BYTES)
    _run("mkfs.ext4", "-q", "-F", "-E", "nodiscard", str(disk))
    _run("mount", "-o", "loop,noinit_itable", str(disk), str(path))
    try:
        yield path
    finally:
        _run("umount", str(path))
        disk.unlink()


async def measure(rounds: int, cache: Path, only: set[str]) -> Figures:
    """Run all rounds."""
    figures: Figures = defaultdict(list)
    make_image(cache)
    archives = str(cache / "archives")

    def wanted(name: str, *programs: str) -> bool:
        missing = [program for program in programs if shutil.which(program) is None]
        if only and name not in only:
            return False
        if missing:
            print(f"{name}: left out: no {', '.join(missing)}", file=sys.stderr)
        return not missing

    with contextlib.ExitStack() as stack:
        address = ""
        if wanted("registry", "docker-registry", "skopeo") or not only:
            address = stack.enter_context(registry(cache))
        others: dict[str, tuple[tuple[str, ...], Callable[[Path, str, Figures], None]]] = {
            "buildah": (("buildah",), buildah),
            "umoci": (("skopeo", "umoci"), umoci),
        }
        for _ in range(rounds):
            if address:
                with _scratch(cache) as folder:
                    await cold(folder, f"http://{address}", figures, "registry")
            if wanted("archive"):
                with _scratch(cache) as folder:
                    await cold(folder, archives, figures, "archive")
            for name, (programs, function) in others.items():
                if address and wanted(name, *programs):
                    with _scratch(cache) as folder:
                        function(folder, address, figures)
            if wanted("copy"):
                with _scratch(cache) as folder:
                    await copies(folder, archives, figures)
    return figures


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description="Measure images, side by side with other tools.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("/var/tmp/mesos-compat-bench-images"))
    parser.add_argument("--only", default="", help="registry, archive, buildah, umoci, copy")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("bench.images: needs root for owners and mounts", file=sys.stderr)
        return 1
    logging.basicConfig(level=logging.ERROR)
    options.cache.mkdir(parents=True, exist_ok=True)
    only = set(filter(None, options.only.split(",")))
    figures = asyncio.run(measure(options.rounds, options.cache, only))
    for name, values in figures.items():
        print(f"{name:32} {statistics.median(values):9.2f}   min {min(values):9.2f}")
    if figures.get("buildah pull s"):
        base = statistics.median(figures["buildah pull s"])
        for name in ("registry", "archive"):
            if samples := figures.get(f"{name} s"):
                print(f"{name} / buildah pull: {statistics.median(samples) / base:14.2f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
