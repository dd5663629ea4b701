# SPDX-License-Identifier: Apache-2.0
"""What the flags of the agent say about images."""

from __future__ import annotations

from dataclasses import dataclass, field

from containerizer.provisioner.unpack import UnpackLimits


@dataclass(frozen=True, slots=True)
class ProvisionerConfig:
    """One value for each flag that images need, under the name of the flag.

    Source: spec ``images`` 1.
    """

    work_dir: str
    #: As the operator spelled them, for example ``("docker", "APPC")``.
    image_providers: tuple[str, ...] = ()
    image_provisioner_backend: str | None = None
    docker_store_dir: str = "/tmp/mesos/store/docker"
    docker_registry: str = "https://registry-1.docker.io"
    appc_store_dir: str = "/tmp/mesos/store/appc"
    appc_simple_discovery_uri_prefix: str = "http://"
    #: A download that gets no byte for so long fails.
    fetcher_stall_timeout_s: float = 60.0
    #: Where the overlay backend makes short names for layers (``TMPDIR``).
    temporary_dir: str = "/tmp"
    limits: UnpackLimits = field(default_factory=UnpackLimits)
