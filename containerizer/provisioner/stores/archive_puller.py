# SPDX-License-Identifier: Apache-2.0
"""The puller of local archives: ``--docker_registry`` is a directory of them.

Source: spec ``images`` 6; upstream ``provisioner/docker/local_puller.cpp``.
"""

from __future__ import annotations

import os
import tempfile

from containerizer.provisioner.documents import check_layer_id
from containerizer.provisioner.offload import in_thread, run_operation
from containerizer.provisioner.pullers import PulledImage, PullOrder
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.stores.layers import LayerDirectory
from containerizer.provisioner.unpack import UnpackLimits
from mesos_compat.base.errors import ProvisionError

#: Files of an unpacked archive or OCI layout, one of which makes a directory an image.
_MARKERS = ("manifest.json", "oci-layout", "repositories")


class ArchivePuller:
    """Unpacks images of the directory ``folder``, or of the one archive that is given."""

    def __init__(
        self, folder: str, layers: LayerDirectory, limits: UnpackLimits, archive: str | None = None
    ) -> None:
        self._folder = folder
        self._one = archive
        self._layers = layers
        self._limits = limits

    async def pull(self, order: PullOrder) -> PulledImage:
        """Unpack the archive of an image. Raises ProvisionError."""
        archive = await in_thread(self._archive, order.reference)
        order.progress.source = archive
        order.progress.changed()
        async with self._layers.staging.directory() as staging:
            answer = await run_operation(
                "pull_archive",
                {
                    "path": archive,
                    "reference": str(order.reference),
                    "staging": staging,
                    "tree": order.tree,
                    "layers": self._layers.layout.layers,
                },
                self._limits,
                subject=f"image '{order.reference}' from '{archive}'",
            )
            layer_ids = tuple(check_layer_id(str(each)) for each in answer["layer_ids"])
            config = answer["config_digest"]
            config_digest = None if config is None else check_layer_id(str(config))
            await self._layers.publish(staging, layer_ids, config_digest, order.tree)
        return PulledImage(layer_ids, config_digest)

    def _archive(self, reference: Reference) -> str:
        """Return the archive of an image, or the directory with its unpacked content."""
        found = self._one or find_archive(self._folder, str(reference))
        if found is None:
            path = f"{self._folder.rstrip('/')}/{reference}.tar"
            raise ProvisionError(f"Failed to find archive for image '{reference}' at '{path}'")
        return found


async def archive_names(path: str, limits: UnpackLimits) -> list[str]:
    """Return what the images in an archive are called. Raises ProvisionError."""
    with tempfile.TemporaryDirectory() as scratch:
        answer = await run_operation(
            "list_archive",
            {"path": path, "scratch": scratch},
            limits,
            subject=f"'{path}'",
        )
    return [str(name) for name in answer["names"]]


def find_archive(folder: str, name: str) -> str | None:
    """Return the archive of exactly this name, or the directory with its unpacked content."""
    # Not os.path.join: a name that begins with "/" must stay below the directory, too.
    path = f"{folder.rstrip('/')}/{name}"
    if os.path.exists(f"{path}.tar"):
        return f"{path}.tar"
    if any(os.path.isfile(os.path.join(path, marker)) for marker in _MARKERS):
        return path
    return None
