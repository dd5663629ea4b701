# SPDX-License-Identifier: Apache-2.0
"""The record of the images in the Docker store: ``storedImages``.

Replaced as a whole at each change. It is only a memory: an image that it does not know is fetched
again, except for the layers that are there.

Source: spec ``images`` 5.3; upstream ``provisioner/docker/metadata_manager.cpp``.
Deviation: a damaged record is an empty one; upstream's agent does not start.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Mapping

from containerizer.provisioner.documents import check_layer_id
from containerizer.provisioner.layout import DockerLayout
from containerizer.provisioner.reference import Reference
from containerizer.provisioner.trees import discard_tree
from mesos_compat.base import checkpoint
from mesos_compat.base.errors import CheckpointError, ManifestError, ProvisionError
from mesos_compat.model.stored import parse_stored
from mesos_compat.pb.mesos.docker import spec_pb2 as spec
from mesos_compat.pb.mesos.internal.slave.containerizer.mesos.provisioner.docker import (
    message_pb2 as stored,
)

log = logging.getLogger(__name__)

#: What files are called before they are moved to where they belong (``checkpoint``).
_TEMPORARY = re.compile(r"[a-z0-9_]{8}")

#: Images by the text of their reference.
Images = Mapping[str, stored.Image]


class ImageRecord:
    """All methods block for a moment."""

    def __init__(self, layout: DockerLayout) -> None:
        self._path = layout.images
        #: A directory that is always there: whoever changes the record locks it.
        self._lock = layout.staging

    def read(self) -> dict[str, stored.Image]:
        """Return all images. Raises ProvisionError if the file cannot be read at all."""
        images: dict[str, stored.Image] = {}
        try:
            data = checkpoint.read_record(self._path)
            if data is None:
                if os.path.exists(self._path):
                    log.warning("The record of images '%s' is empty", self._path)
                return images
            record = parse_stored(self._path, data, stored.Images)
        except CheckpointError as error:
            if isinstance(error.__cause__, OSError):
                raise ProvisionError(
                    f"Failed to read images from '{self._path}': {error}"
                ) from error
            log.error(
                "The record of images '%s' is damaged (%s): all images will be fetched again",
                self._path,
                error,
            )
            return images
        for image in record.images:
            try:
                for name in (*image.layer_ids, image.config_digest or "x"):
                    check_layer_id(name)
            except ManifestError as error:
                log.warning("The record of images '%s': %s", self._path, error)
                continue
            key = str(reference_of(image))
            if images.setdefault(key, image) is not image:
                log.warning("The record of images '%s' holds '%s' twice", self._path, key)
        return images

    def clear(self) -> None:
        """Remove what an interrupted update left; failures are only logged."""
        folder = os.path.dirname(self._path)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if _TEMPORARY.fullmatch(name) is not None and os.path.isfile(path):
                discard_tree(path)

    def update(self, change: Callable[[Images], Images]) -> dict[str, stored.Image]:
        """Replace what is recorded by what ``change`` makes of it, and return that.

        Others that share the store wait meanwhile. Raises ProvisionError; nothing is changed then.
        """
        try:
            lock = os.open(self._lock, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ProvisionError(f"Failed to open '{self._lock}': {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            images = dict(change(self.read()))
            record = stored.Images(images=images.values())
            checkpoint.write_record(self._path, record.SerializeToString())
        except (CheckpointError, OSError) as error:
            raise ProvisionError(f"Failed to save the record of images: {error}") from error
        finally:
            os.close(lock)
        return images


def reference_of(image: stored.Image) -> Reference:
    """Return what a recorded image is called."""
    found = image.reference
    return Reference(
        found.repository, found.registry or None, found.tag or None, found.digest or None
    )


def recorded(
    reference: Reference, layer_ids: tuple[str, ...], config_digest: str | None
) -> stored.Image:
    """Return an image as it is recorded."""
    return stored.Image(
        reference=spec.ImageReference(
            registry=reference.registry,
            repository=reference.repository,
            tag=reference.tag,
            digest=reference.digest,
        ),
        layer_ids=layer_ids,
        config_digest=config_digest,
    )
