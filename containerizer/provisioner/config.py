# SPDX-License-Identifier: Apache-2.0
"""What the flags of the agent say about images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from containerizer.provisioner.progress import PullTable
from containerizer.provisioner.unpack import UnpackLimits
from containerizer.secrets import SecretResolver, ValueSecretResolver

#: Where Docker and others look for certificates of registries.
DEFAULT_CERTS = "/etc/docker/certs.d"

#: Parts of the AppC specification that upstream's agent ignores. The defaults are about what an
#: image is made of, the others belong to isolators.
DEFAULT_EXTENSIONS = frozenset({"dependency_ids", "path_whitelist"})
RUNTIME_EXTENSIONS = frozenset({"environment", "isolators", "mount_points", "user"})


@dataclass(frozen=True, slots=True)
class ProvisionerConfig:
    """One value for each flag that images need, under its name, and what else they need.

    Source: spec ``images`` 1.
    """

    work_dir: str
    #: As the operator spelled them, for example ``("docker", "APPC")``.
    image_providers: tuple[str, ...] = ()
    image_provisioner_backend: str | None = None
    docker_store_dir: str = "/tmp/mesos/store/docker"
    docker_registry: str = "https://registry-1.docker.io"
    #: Credentials of registries, as in Docker's ``config.json``.
    docker_config: Mapping[str, Any] | None = field(default=None, repr=False)
    #: Directory of ``hosts.toml`` files, or a ``registries.conf``; ``None`` for no mirrors.
    docker_registry_mirrors: str | None = None
    #: Certificates of registries, each in a directory with the registry's name.
    docker_registry_certs: str = DEFAULT_CERTS
    #: Registries and networks without a certificate that can be checked, or without TLS.
    docker_insecure_registries: str = ""
    appc_store_dir: str = "/tmp/mesos/store/appc"
    appc_simple_discovery_uri_prefix: str = "http://"
    #: Whether the site that an AppC image is named after is asked where the image is.
    appc_meta_discovery: bool = False
    #: Whether that may happen without TLS.
    appc_meta_discovery_insecure: bool = False
    #: Directory of the keys that sign AppC images; ``None`` and signatures are not looked at.
    appc_trusted_keys: str | None = None
    #: Whether keys count that the site of an image names.
    appc_trust_discovered_keys: bool = False
    #: Parts of the AppC specification that are honoured though upstream ignores them.
    appc_extensions: frozenset[str] = DEFAULT_EXTENSIONS
    #: Where Hadoop is installed; otherwise ``HADOOP_HOME`` or ``PATH`` tell.
    hadoop_home: str | None = None
    #: A download that gets no byte for so long fails.
    fetcher_stall_timeout_s: float = 60.0
    #: Where the overlay backend makes short names for layers (``TMPDIR``).
    temporary_dir: str = "/tmp"
    #: Whether the stores belong to nobody: commands use them at the same time, no agent does.
    shared_stores: bool = False
    limits: UnpackLimits = field(default_factory=UnpackLimits)
    #: Resolves credentials that images bring along.
    secrets: SecretResolver = field(default_factory=ValueSecretResolver)
    #: Where pulls that are under way are shown.
    pulls: PullTable = field(default_factory=PullTable)
