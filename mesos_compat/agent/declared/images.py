# SPDX-License-Identifier: Apache-2.0
"""Images, and files that tasks want to be fetched.

Source: spec ``agent-flags.tsv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesos_compat.base.flags import (
    BOOL,
    BYTES,
    DURATION,
    JSON_OBJECT,
    NAMES,
    PATH,
    STRING,
    STRING_SET,
    flag,
    optional,
)


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """Images, and files that tasks want to be fetched."""

    # --- images ---
    image_providers: str | None = optional(NAMES, "Kinds of images: APPC, DOCKER or both.")
    image_provisioner_backend: str | None = optional(
        STRING, "How root file systems are made: overlay, copy, bind or aufs. Chosen if not given."
    )
    image_gc_config: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "When to remove unused images, and which never."
    )
    docker_registry: str = flag(
        STRING,
        "Where Docker images come from: a registry's URL, or a directory of saved images as "
        "/directory, hdfs://host/directory or archive+https://host/directory.",
        default="https://registry-1.docker.io",
    )
    docker_store_dir: str = flag(PATH, "Where Docker images are kept.", default="")
    docker_config: Mapping[str, Any] | None = optional(
        JSON_OBJECT, "Docker client configuration with credentials of registries."
    )
    docker_registry_mirrors: str | None = optional(
        PATH, "Mirrors of registries: a directory of hosts.toml files, or a registries.conf."
    )
    docker_registry_certs: str | None = optional(
        PATH,
        "Directory with <registry>/*.crt, and *.cert with *.key, for TLS to registries."
        " /etc/docker/certs.d if not given.",
    )
    docker_insecure_registries: str | None = optional(
        NAMES,
        "Registries (host, host:port or network) without a certificate that can be checked, or"
        " without TLS.",
    )
    docker_ignore_runtime: bool = flag(
        BOOL, "Ignore environment, entry point and command of Docker images.", default=False
    )
    docker_image_user: bool | None = optional(
        BOOL,
        "Run containers as the user that their Docker image says, unless the task names one.",
    )
    appc_store_dir: str = flag(PATH, "Where AppC images are kept.", default="")
    appc_simple_discovery_uri_prefix: str = flag(
        PATH,
        "Prefix of the URIs where AppC images are looked for: /directory/, file://, http://, "
        "https:// or hdfs://.",
        default="http://",
    )
    appc_meta_discovery: bool | None = optional(
        BOOL,
        "Ask the site that an AppC image is named after where it is, if it is not below the "
        "prefix.",
    )
    appc_meta_discovery_insecure: bool | None = optional(
        BOOL, "Ask sites that have no TLS, too, and take images from there."
    )
    appc_trusted_keys: str | None = optional(
        PATH,
        "Directory with the OpenPGP keys one of which has to have signed an AppC image. "
        "Signatures are not looked at if not given.",
    )
    appc_trust_discovered_keys: bool | None = optional(
        BOOL, "Trust the keys that the site of an AppC image names, too."
    )
    appc_extensions: tuple[str, ...] | None = optional(
        STRING_SET,
        "Parts of the AppC specification to honour that upstream's agent ignores, comma "
        "separated: dependency_ids, path_whitelist, environment, isolators, mount_points, user. "
        "The first two if not given.",
    )

    # --- files of tasks ---
    fetcher_cache_dir: str = flag(PATH, "Where fetched files are kept.", default="")
    fetcher_cache_size: int = flag(BYTES, "How much of them.", default=2 << 30)
    fetcher_stall_timeout: float = flag(
        DURATION, "Downloads that stand still that long are given up.", default=60.0
    )
    hadoop_home: str | None = optional(
        PATH, "Where Hadoop is installed, for images in HDFS. HADOOP_HOME or PATH if not given."
    )
