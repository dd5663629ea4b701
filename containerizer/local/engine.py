# SPDX-License-Identifier: Apache-2.0
"""A containerizer put together from its parts, for an agent or for anybody else on this host.

Source: spec ``containerizer`` 1.2; the order of refusals is upstream's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from containerizer.api import Containerizer
from containerizer.create import create_containerizer
from containerizer.isolators.context import ContainerizerConfig
from containerizer.launcher.base import Launcher
from containerizer.launcher.linux import LinuxLauncher, LinuxLauncherConfig
from containerizer.launcher.posix import PosixLauncher
from containerizer.launcher.spawn import Spawner
from containerizer.launcher.systemd import SystemdConfig, prepare_systemd
from containerizer.loggers.base import HelperStarter
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import create_provisioner
from containerizer.sandbox import SandboxCollector
from containerizer.secrets import SecretResolver
from containerizer.volume_gids import VolumeGids
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId


def create_launcher(
    config: ContainerizerConfig, spawner: Spawner, systemd: SystemdConfig | None
) -> Launcher:
    """Make the launcher that ``config`` names.

    With ``systemd`` containers survive the agent's service where systemd runs the host. Raises
    FlagError.
    """
    running = None if systemd is None else prepare_systemd(systemd)
    if config.launcher == "posix":
        return PosixLauncher(spawner, running)
    return LinuxLauncher.create(
        LinuxLauncherConfig(
            cgroups_hierarchy=config.cgroups_hierarchy,
            cgroups_root=config.cgroups_root,
            destroy_timeout_s=config.cgroups_destroy_timeout_s,
            systemd=running,
        ),
        spawner,
    )


def open_engine(
    config: ContainerizerConfig,
    images: ProvisionerConfig,
    launcher: Launcher,
    helpers: HelperStarter,
    metrics: Metrics,
    stack: AsyncExitStack,
    *,
    secrets: SecretResolver | None = None,
    fetched: Callable[[ContainerId, str], None] | None = None,
    sandboxes: SandboxCollector | None = None,
    gids: VolumeGids | None = None,
) -> Containerizer:
    """Make provisioner and containerizer, on the event loop; ``stack`` closes both.

    There is a provisioner also without image providers: it clears away what one with other flags
    left. The other parameters are those of ``create_containerizer``. Raises FlagError.
    """
    provisioner = create_provisioner(images, metrics)
    stack.push_async_callback(provisioner.close)
    containerizer = create_containerizer(
        config,
        launcher,
        provisioner,
        metrics,
        helpers=helpers,
        secrets=secrets,
        fetched=fetched,
        sandboxes=sandboxes,
        gids=gids,
    )
    stack.push_async_callback(containerizer.close)
    return containerizer
