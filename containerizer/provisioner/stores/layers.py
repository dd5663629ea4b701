# SPDX-License-Identifier: Apache-2.0
"""The layers and image configurations of the Docker store: there under their final name, or not.

Source: spec ``images`` 5.1, 5.6.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence

from containerizer.provisioner.layout import DockerLayout
from containerizer.provisioner.offload import in_thread
from containerizer.provisioner.staging import StagingArea
from mesos_compat.base.errors import ProvisionError


class LayerDirectory:
    """What pullers fill. Used from one event loop."""

    def __init__(self, layout: DockerLayout) -> None:
        self.layout = layout
        self.staging = StagingArea(layout.staging)
        self._publishing = asyncio.Lock()

    def has(self, layer_id: str, tree: str) -> bool:
        """Whether the tree of a layer is there. Blocks for a moment."""
        return os.path.isdir(os.path.join(self.layout.layer(layer_id), tree))

    async def publish(
        self, staging: str, layer_ids: Sequence[str], config_digest: str | None, tree: str
    ) -> None:
        """Move layers and a configuration from a staging directory to where they belong.

        What is not in ``staging`` is left out, what is there already stays. Raises ProvisionError.
        """
        async with self._publishing:
            await in_thread(self._publish, staging, layer_ids, config_digest, tree)

    def _publish(
        self, staging: str, layer_ids: Sequence[str], config_digest: str | None, tree: str
    ) -> None:
        try:
            # Nobody else on this host may run the setuid programs of images.
            os.makedirs(self.layout.layers, 0o700, exist_ok=True)
            for layer_id in layer_ids:
                _move(os.path.join(staging, layer_id), self.layout.layer(layer_id), tree)
            if config_digest is not None:
                source = os.path.join(staging, config_digest)
                os.replace(source, self.layout.layer(config_digest))
        except OSError as error:
            raise ProvisionError(f"Failed to move layers into the store: {error}") from error


def _move(source: str, target: str, tree: str) -> None:
    """Give a layer its final name. If it has one for another backend, add what is missing."""
    if not os.path.isdir(source):
        return
    if os.path.lexists(target) and not os.path.isdir(target):
        os.unlink(target)
    try:
        os.rename(source, target)
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    # The tree comes last: it is what makes a layer usable.
    for name in sorted(os.listdir(source), key=lambda name: name == tree):
        new = os.path.join(target, name)
        if name == tree and os.path.lexists(new) and not os.path.isdir(new):
            os.unlink(new)
        if not os.path.lexists(new):
            os.rename(os.path.join(source, name), new)
