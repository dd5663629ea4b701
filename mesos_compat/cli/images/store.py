# SPDX-License-Identifier: Apache-2.0
"""The store that a command works on, and what it does there."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from containerizer.provisioner.backends.mounts import require_root
from containerizer.provisioner.config import DEFAULT_CERTS, ProvisionerConfig
from containerizer.provisioner.layout import DockerLayout
from containerizer.provisioner.progress import PullTable
from containerizer.provisioner.stores.docker import DockerStore, create_store
from mesos_compat.base.errors import ContainerError, FlagError, MesosCompatError
from mesos_compat.base.flags import JSON_OBJECT
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.cli.containers.local import default_places
from mesos_compat.pb.mesos import mesos_pb2 as pb

DEFAULT_REGISTRY = "https://registry-1.docker.io"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where images are."""
    parser.add_argument(
        "--docker_store_dir",
        metavar="DIR",
        help="where the images are: an agent's flag of this name, for example"
        " (default: those of `mesos-compat run`)",
    )
    parser.add_argument(
        "--engine",
        metavar="DIR",
        default=os.environ.get("MESOS_COMPAT_ENGINE"),
        help="those of `mesos-compat run --engine DIR`",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what is done, on stderr")


def add_pull_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that put images into the store."""
    parser.add_argument(
        "--backend",
        choices=("overlay", "copy", "bind"),
        help="what the layers are for: the agent's --image_provisioner_backend"
        " (default: overlay for root, copy for others)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only the result")


def layout(options: argparse.Namespace) -> DockerLayout:
    """Return where the files of the store are, which need not exist."""
    path = options.docker_store_dir
    if path is None:
        path = os.path.join(default_places(options.engine).store, "docker")
    return DockerLayout(os.path.realpath(path))


def backend(options: argparse.Namespace) -> str:
    """Return the backend whose trees are wanted."""
    if options.backend is not None:
        return str(options.backend)
    try:
        require_root("OverlayBackend")
    except MesosCompatError:
        return "copy"
    return "overlay"


@contextlib.asynccontextmanager
async def opened(
    options: argparse.Namespace, pulls: PullTable | None = None, archive: str | None = None
) -> AsyncIterator[DockerStore]:
    """Hold the store open for the block. Raises ContainerError."""
    given: dict[str, Any] = {
        name: value
        for name in (
            "docker_registry",
            "docker_registry_mirrors",
            "docker_registry_certs",
            "docker_insecure_registries",
        )
        if (value := getattr(options, name, None)) is not None
    }
    config_text = getattr(options, "docker_config", None)
    given.setdefault("docker_registry", DEFAULT_REGISTRY)
    given.setdefault("docker_registry_certs", DEFAULT_CERTS)
    path = layout(options).root
    try:
        os.makedirs(path, exist_ok=True)
        config = ProvisionerConfig(
            work_dir=path,
            docker_store_dir=path,
            docker_config=None if config_text is None else _docker_config(config_text),
            temporary_dir=os.environ.get("TMPDIR") or "/tmp",
            shared_stores=True,
            pulls=pulls or PullTable(),
            **given,
        )
        async with Scope("image", on_error=lambda name, error: None) as scope:
            store = create_store(config, scope, Metrics(), archive=archive)
            try:
                await store.recover()
                yield store
            finally:
                store.close()
    except FlagError as error:
        raise ContainerError(str(error)) from error
    except OSError as error:
        raise ContainerError(f"Failed to use the store '{path}': {error.strerror}") from error


def _docker_config(text: str) -> dict[str, Any]:
    """Read credentials: JSON, or the path of a file with it. Raises ContainerError."""
    path = text.removeprefix("file://")
    try:
        if path.startswith("/"):
            with open(path, encoding="utf-8") as file:
                text = file.read()
        return JSON_OBJECT.parse(text)
    except (OSError, ValueError) as error:
        raise ContainerError(f"Failed to read --docker_config: {error}") from error


def docker_image(name: str, *, cached: bool = True) -> pb.Image:
    """Return the message that asks for an image."""
    return pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name=name), cached=cached)
