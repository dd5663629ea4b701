# SPDX-License-Identifier: Apache-2.0
"""What an isolator gets when it is created.

Source: spec ``containerizer`` 1.5, ``isolators-resources`` 2, ``isolators-fs-net`` 2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from containerizer.provisioner.appc_details import AppcApp
from containerizer.provisioner.base import ProvisionInfo
from containerizer.secrets import SecretResolver, ValueSecretResolver
from containerizer.volume_gids import VolumeGids
from mesos_compat.base.errors import ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Parameters
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


@dataclass(frozen=True, slots=True)
class ContainerizerConfig:
    """The settings of a containerizer, by the names and with the defaults of the agent's flags.

    Paths are absolute. ``extra`` holds the values of all agent flags for foreign isolators; ours
    use what is named here.
    """

    work_dir: str
    runtime_dir: str
    launcher: str
    launcher_dir: str = ""
    containerizers: str = "mesos"
    isolation: str = "posix/cpu,posix/mem"
    image_providers: tuple[str, ...] = ()
    #: Images that are never pruned.
    kept_images: tuple[pb.Image, ...] = ()
    sandbox_directory: str = "/mnt/mesos/sandbox"
    switch_user: bool = True
    cgroups_hierarchy: str = "/sys/fs/cgroup"
    cgroups_root: str = "mesos"
    cgroups_destroy_timeout_s: float = 60.0
    cgroups_enable_cfs: bool = False
    cgroups_limit_swap: bool = False
    cgroups_cpu_enable_pids_and_tids_count: bool = False
    revocable_cpu_low_priority: bool = True
    allowed_devices: pb.DeviceWhitelist | None = None
    effective_capabilities: pb.CapabilityInfo | None = None
    bounding_capabilities: pb.CapabilityInfo | None = None
    seccomp_config_dir: str | None = None
    seccomp_profile_name: str | None = None
    disallow_sharing_agent_pid_namespace: bool = False
    disallow_sharing_agent_ipc_namespace: bool = False
    default_container_shm_size_bytes: int | None = None
    docker_ignore_runtime: bool = False
    #: Whether the users of Docker images count.
    docker_image_user: bool = False
    #: Parts of the AppC specification to honour beyond what upstream does.
    appc_extensions: frozenset[str] = frozenset()
    host_path_volume_force_creation: tuple[str, ...] = ()
    network_cni_plugins_dir: str | None = None
    network_cni_config_dir: str | None = None
    #: Plug-in that takes the output of containers; ``None``: files in the sandbox.
    container_logger: str | None = None
    http_heartbeat_interval_s: float = 30.0
    #: Whether containers have the stdio of this very process.
    local: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)
    #: Parameters of plug-ins by their names, from ``--modules``.
    parameters: Mapping[str, Parameters] = field(default_factory=dict)


def no_app(container_id: ContainerId) -> AppcApp | None:
    """Know of no AppC image."""
    return None


#: Makes a root file system of an image for a container; ProvisionError.
Provision = Callable[[ContainerId, pb.Image], Awaitable[ProvisionInfo]]


async def no_images(container_id: ContainerId, image: pb.Image) -> ProvisionInfo:
    """Refuse an image where nothing has one."""
    kind = pb.Image.Type.Name(image.type)
    raise ProvisionError(f"Unsupported container image type: {kind}")


@dataclass(frozen=True, slots=True)
class IsolatorContext:
    """Everything of the surroundings that an isolator may know."""

    config: ContainerizerConfig
    #: Names of all isolators in use: ``--isolation`` normalised, as far as supported.
    isolation: frozenset[str]
    metrics: Metrics
    #: Runtime directory of a container, which exists from before ``prepare`` to after ``cleanup``.
    container_directory: Callable[[ContainerId], str]
    #: Configuration of a known container; ``None`` for others.
    container_config: Callable[[ContainerId], slave.ContainerConfig | None]
    #: What the AppC image of a container that is being launched says beyond its manifest.
    appc_app: Callable[[ContainerId], AppcApp | None] = no_app
    #: Makes one more root file system for a container that is being launched; it goes with it.
    provision: Provision = no_images
    #: Hierarchies (mount points) in which the launcher keeps a cgroup of every container.
    launcher_hierarchies: tuple[str, ...] = ()
    #: Gives volumes groups; ``None`` without ``--volume_gid_range``.
    gids: VolumeGids | None = None
    #: Turns references to secrets into their values.
    secrets: SecretResolver = field(default_factory=ValueSecretResolver)
    #: Those of this very isolator, from ``--modules``.
    parameters: Parameters = ()

    def names(self, isolator: str) -> bool:
        """Whether the text of ``--isolation`` has ``isolator`` in it.

        Several prerequisites are meant as "the operator wrote it", so what normalising added
        does not count.
        """
        return isolator in self.config.isolation
