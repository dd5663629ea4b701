# SPDX-License-Identifier: Apache-2.0
"""A provisioner of Docker images that come from a directory."""

from __future__ import annotations

from pathlib import Path

from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from containerizer.provisioner.provisioner import ImageProvisioner
from mesos_compat.base.metrics import Metrics


def docker_provisioner(tmp_path: Path, registry: Path, backend: str) -> ImageProvisioner:
    """Make one that keeps all that it makes below ``tmp_path``."""
    return create_provisioner(
        ProvisionerConfig(
            work_dir=str(tmp_path / "work"),
            image_providers=("docker",),
            image_provisioner_backend=backend,
            docker_store_dir=str(tmp_path / "store"),
            docker_registry=str(registry),
            temporary_dir=str(tmp_path),
        ),
        Metrics(),
    )
