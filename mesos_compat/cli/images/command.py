# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat image``: what images there are on this host; more of them, or fewer."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from containerizer.local.archives import archive_name
from containerizer.provisioner.layout import DockerLayout
from containerizer.provisioner.progress import PullTable
from containerizer.provisioner.stores.archive_puller import archive_names
from containerizer.provisioner.stores.catalog import (
    StoredImage,
    StoredLayer,
    read_catalog,
    read_config,
)
from containerizer.provisioner.stores.docker import DockerStore
from containerizer.provisioner.stores.in_use import mounted
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ContainerError
from mesos_compat.cli.containers import options as common
from mesos_compat.cli.containers.table import size, table
from mesos_compat.cli.images import store as stores
from mesos_compat.cli.images.display import PullDisplay

_EPILOG = """\
example:
  mesos-compat image pull busybox:latest
  mesos-compat image ls --docker_store_dir /var/lib/mesos/store/docker

What an agent uses can be looked at; to remove something, ask the agent:
  mesos-compat image prune --agent localhost:5051 --keep busybox:latest
"""
_SHORT = 19


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    options = _parser().parse_args(argv)
    job: Callable[[argparse.Namespace], Coroutine[Any, Any, int]] = options.job
    return common.run(lambda: job(options), verbose=options.verbose)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mesos-compat image",
        description="The Docker and OCI images of this host.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    several = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, text: str, job: Callable[[argparse.Namespace], Coroutine[Any, Any, int]]
    ) -> argparse.ArgumentParser:
        made = several.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.set_defaults(job=job)
        stores.add_options(made)
        if name != "inspect":
            made.add_argument("--json", action="store_true", help="the result as JSON")
        return made

    ls = add("ls", "list images", _ls)
    ls.add_argument("-q", "--quiet", action="store_true", help="names only")

    pull = add("pull", "fetch images, or what is new of them", _pull)
    pull.add_argument("image", nargs="+", help="[REGISTRY/]REPOSITORY[:TAG][@DIGEST]")
    stores.add_pull_options(pull)
    for flag, text in (
        (
            "docker_registry",
            "URL of the default registry, or a folder of archives",
        ),
        ("docker_config", "credentials: JSON like Docker's config.json, or a path"),
        ("docker_registry_mirrors", "mirrors: hosts.toml files or a registries.conf"),
        ("docker_registry_certs", "certificates of registries"),
        ("docker_insecure_registries", "registries without TLS that can be checked"),
    ):
        pull.add_argument(f"--{flag}", metavar="X", help=f"{text}; as the agent's flag")

    load = add("load", "take images out of a local archive or OCI layout", _load)
    load.add_argument("archive", help="file or folder")
    load.add_argument(
        "--name",
        action="append",
        default=[],
        help="an image of it (default: all that have a name); for one without, its new name",
    )
    stores.add_pull_options(load)

    rm = add("rm", "remove images and layers that nothing else needs", _rm)
    rm.add_argument("image", nargs="+", help="name as `ls` shows it")

    inspect = add("inspect", "show all about images, as JSON", _inspect)
    inspect.add_argument("image", nargs="+", help="name as `ls` shows it")

    prune = add("prune", "remove all images and layers that nothing uses", _prune)
    prune.add_argument(
        "--keep", action="append", default=[], metavar="IMAGE", help="but not this one"
    )
    prune.add_argument(
        "--agent", metavar="HOST:PORT", help="have this agent do it, with what it uses in mind"
    )
    common.add_credential(prune)

    add("df", "show what images take of the disk", _df)
    return parser


async def _ls(options: argparse.Namespace) -> int:
    catalog = await asyncio.to_thread(read_catalog, stores.layout(options))
    if options.json:
        _print_json([_shown(image) for image in catalog.images])
    elif options.quiet:
        print("".join(f"{image.reference}\n" for image in catalog.images), end="")
    else:
        rows = [
            (
                image.reference,
                image.id[:_SHORT],
                str(len(image.layers)),
                size(image.size_bytes),
                "" if image.complete else "incomplete",
            )
            for image in catalog.images
        ]
        print("\n".join(table(("IMAGE", "ID", "LAYERS", "SIZE", ""), rows)))
    return 0


async def _pull(options: argparse.Namespace) -> int:
    names = list(options.image)
    if options.docker_registry is not None and os.path.isdir(options.docker_registry):
        folder = options.docker_registry = os.path.abspath(options.docker_registry)
        names = [archive_name(folder, name) for name in names]
    return await _fetch(options, names, None)


async def _load(options: argparse.Namespace) -> int:
    archive = os.path.abspath(options.archive)
    names = options.name or await archive_names(archive, UnpackLimits())
    if not names:
        raise ContainerError(f"'{archive}' holds no image with a name: give it one by --name")
    return await _fetch(options, names, archive)


async def _fetch(options: argparse.Namespace, names: Sequence[str], archive: str | None) -> int:
    pulls = PullTable()
    done = []
    async with stores.opened(options, pulls, archive) as store:
        for name in names:
            await _fetch_one(options, store, pulls, name)
            done.append(name)
            if not options.json:
                print(name)
    if options.json:
        catalog = await asyncio.to_thread(read_catalog, stores.layout(options))
        _print_json([_shown(catalog.image(name)) for name in done])
    return 0


async def _fetch_one(
    options: argparse.Namespace, store: DockerStore, pulls: PullTable, name: str
) -> None:
    display = PullDisplay(sys.stderr, terminal=sys.stderr.isatty())
    stop = None if options.quiet else pulls.watch(display.changed)
    try:
        async with store.using():
            await store.get(stores.docker_image(name, cached=False), stores.backend(options))
    finally:
        if stop is not None:
            stop()
            display.end()


async def _rm(options: argparse.Namespace) -> int:
    before = await asyncio.to_thread(read_catalog, stores.layout(options))
    for name in options.image:
        before.image(name)
    async with stores.opened(options) as store:
        await store.forget(options.image, await _active(store.layout))
    return await _told(options, before.layer_bytes)


async def _inspect(options: argparse.Namespace) -> int:
    layout = stores.layout(options)
    catalog = await asyncio.to_thread(read_catalog, layout)
    images = [catalog.image(name) for name in options.image]
    active = await _active(layout)
    _print_json([_details(layout, image, active) for image in images])
    return 0


async def _prune(options: argparse.Namespace) -> int:
    if options.agent is not None:
        # HTTP takes long to load and is needed for agents only.
        from mesos_compat.cli.images.agent import prune

        await prune(options.agent, options.credential, options.keep)
        return 0
    before = await asyncio.to_thread(read_catalog, stores.layout(options))
    for name in options.keep:
        before.image(name)
    gone = [i.reference for i in before.images if i.reference not in options.keep]
    async with stores.opened(options) as store:
        await store.forget(gone, await _active(store.layout))
    return await _told(options, before.layer_bytes)


async def _df(options: argparse.Namespace) -> int:
    layout = stores.layout(options)
    catalog = await asyncio.to_thread(read_catalog, layout)
    active = {os.path.basename(os.path.dirname(path)) for path in await _active(layout)}
    document: dict[str, object] = {
        "store": layout.root,
        "images": len(catalog.images),
        "layers": len(catalog.layers),
        "mounted_layers": len(active),
        "layers_bytes": catalog.layer_bytes,
        "unused_bytes": catalog.unused_bytes,
        "staging_bytes": catalog.staging_bytes,
        "garbage_bytes": catalog.garbage_bytes,
    }
    try:
        disk = os.statvfs(layout.root)
        document["disk_bytes"] = disk.f_blocks * disk.f_frsize
        document["disk_free_bytes"] = disk.f_bavail * disk.f_frsize
    except OSError:
        pass  # nothing was ever put there
    if options.json:
        _print_json(document)
        return 0
    for name, value in document.items():
        word, is_bytes, _ = name.replace("_", " ").partition(" bytes")
        assert isinstance(value, str | int)
        print(f"{word + ':':16} {size(value) if is_bytes and isinstance(value, int) else value}")
    return 0


async def _told(options: argparse.Namespace, before_bytes: int) -> int:
    """Say what became free."""
    after = await asyncio.to_thread(read_catalog, stores.layout(options))
    freed = max(0, before_bytes - after.layer_bytes)
    if options.json:
        _print_json({"freed_bytes": freed, "images": [i.reference for i in after.images]})
    else:
        print(f"{size(freed)} freed")
    return 0


async def _active(layout: DockerLayout) -> set[str]:
    """Return the layers that are mounted somewhere."""
    return await asyncio.to_thread(mounted, layout.layers)


def _shown(image: StoredImage) -> dict[str, object]:
    return {
        "image": image.reference,
        "id": image.id,
        "layers": [layer.id for layer in image.layers],
        "size_bytes": image.size_bytes,
        "complete": image.complete,
    }


def _details(layout: DockerLayout, image: StoredImage, active: set[str]) -> dict[str, object]:
    def layer(found: StoredLayer) -> dict[str, object]:
        paths = {tree: os.path.join(layout.layer(found.id), tree) for tree in found.trees}
        return {
            "id": found.id,
            "size_bytes": found.size_bytes,
            "trees": paths,
            "mounted": bool(active & set(paths.values())),
        }

    data = read_config(layout, image)
    try:
        config = None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        config = None
    return {
        **_shown(image),
        "layers": [layer(each) for each in image.layers],
        "config_digest": image.config_digest,
        "config": config,
    }


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=1))
