# SPDX-License-Identifier: Apache-2.0
"""What an agent does for ``mesos-compat image``."""

from __future__ import annotations

from collections.abc import Sequence

from mesos_compat.cli.containers.client import OperatorClient
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.agent import agent_pb2


async def prune(address: str, credential: str | None, kept: Sequence[str]) -> None:
    """Have an agent remove the images that it does not use; ``credential`` is a file.

    Raises ContainerError and FlagError.
    """
    call = agent_pb2.Call(type=agent_pb2.Call.PRUNE_IMAGES)
    call.prune_images.SetInParent()
    for name in kept:
        image = call.prune_images.excluded_images.add(type=v1.Image.DOCKER)
        image.docker.name = name
    client = OperatorClient(address, credential)
    try:
        await client.call(call)
    finally:
        await client.close()
