# SPDX-License-Identifier: Apache-2.0
"""From ``--containerizers`` to an object.

Source: spec ``containerizer`` 1.2; texts as in the recordings of agents that refuse to start.
"""

from __future__ import annotations

from collections.abc import Callable

from containerizer.api import Containerizer
from containerizer.isolators.caller import close_isolators
from containerizer.isolators.cgroups.ownership import CORE
from containerizer.isolators.context import ContainerizerConfig, IsolatorContext
from containerizer.isolators.order import create_isolators, normalised, supported
from containerizer.launcher.base import Launcher
from containerizer.linux.cgroup1 import V2_MOUNT_POINT
from containerizer.loggers.base import ContainerLogger, HelperStarter, LoggerContext
from containerizer.loggers.load import create_logger
from containerizer.mesos import MesosContainerizer
from containerizer.provisioner.base import Provisioner
from containerizer.rundir import RuntimeDirectory
from containerizer.sandbox import SandboxCollector
from containerizer.secrets import SecretResolver, ValueSecretResolver
from containerizer.switchboard.isolator import IOSwitchboard, SwitchboardConfig
from mesos_compat.base.errors import FlagError, IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.ids import ContainerId

#: Containerizers that can be named in ``--containerizers``.
_SUPPORTED = ("mesos",)

_PREFIX = "Failed to create a containerizer: "
_MESOS = "Could not create MesosContainerizer: "


def check_images(config: ContainerizerConfig) -> None:
    """Raise FlagError if the isolation does not fit ``--image_providers``.

    To be called before a provisioner is made, as upstream's order of refusals has it.
    """
    try:
        normalised(config.isolation, images=bool(config.image_providers), launcher=config.launcher)
    except IsolatorError as error:
        raise FlagError(f"{_PREFIX}{_MESOS}{error}") from error
    for provider in config.image_providers:
        if provider.upper() == "DOCKER" and "docker/runtime" not in config.isolation:
            raise FlagError(
                "Docker runtime isolator has to be specified if 'DOCKER' is included in"
                " 'image_providers'. Please add 'docker/runtime' to '--isolation' flags"
            )


def create_containerizer(
    config: ContainerizerConfig,
    launcher: Launcher,
    provisioner: Provisioner | None,
    metrics: Metrics,
    logger: ContainerLogger | None = None,
    helpers: HelperStarter | None = None,
    secrets: SecretResolver | None = None,
    fetched: Callable[[ContainerId, str], None] | None = None,
    sandboxes: SandboxCollector | None = None,
) -> Containerizer:
    """Make the containerizer that ``config`` describes; on the event loop.

    ``provisioner`` may be ``None``: then nothing has an image. ``logger`` replaces the one
    that ``config`` names. ``helpers`` (the launcher's spawner) starts I/O switchboards and loggers;
    without it there are no terminals and no sessions. ``fetched`` is called with the sandbox of
    each container when all its files are there, and raises nothing; ``sandboxes`` removes those of
    nested containers some time after their end. Raises FlagError with the line
    that upstream prints.
    """
    names = [name for name in config.containerizers.split(",") if name]
    if len(set(names)) != len(names):
        raise FlagError(
            f"{_PREFIX}Duplicate entries found in --containerizer flag '{config.containerizers}'"
        )
    for name in names:
        if name not in _SUPPORTED:
            raise FlagError(f"{_PREFIX}Unknown or unsupported containerizer: {name}")
    if not names:
        raise FlagError(f"{_PREFIX}No containerizers specified")
    check_images(config)
    rundir = RuntimeDirectory(config.runtime_dir)
    try:
        isolation = normalised(
            config.isolation, images=bool(config.image_providers), launcher=config.launcher
        )
        if _hierarchies(launcher) == (V2_MOUNT_POINT,):
            # One tree for everything: containers see their part of it whatever they asked for.
            isolation += () if any(n.startswith("cgroups/") for n in isolation) else (CORE,)
        context = IsolatorContext(
            config=config,
            isolation=frozenset(supported(isolation, config.isolation)),
            metrics=metrics,
            container_directory=rundir.path,
            container_config=rundir.read_config,
            launcher_hierarchies=_hierarchies(launcher),
            secrets=secrets or ValueSecretResolver(),
        )
        isolators = create_isolators(context)
    except IsolatorError as error:
        raise FlagError(f"{_PREFIX}{_MESOS}{error}") from error
    cgroups = tuple(getattr(launcher, "helper_cgroups", ()))
    if logger is None:
        chosen = config.container_logger
        parameters = config.parameters.get(chosen, ()) if chosen is not None else ()
        try:
            logger = create_logger(chosen, LoggerContext(parameters, helpers, cgroups))
        except FlagError as error:
            close_isolators(isolators)
            raise FlagError(f"{_PREFIX}{_MESOS}{error}") from error
    switchboard = IOSwitchboard(
        SwitchboardConfig(
            local=config.local,
            heartbeat_interval_s=config.http_heartbeat_interval_s,
            cgroups=cgroups,
        ),
        logger,
        rundir.path,
        helpers,
    )
    return MesosContainerizer(
        config, launcher, provisioner, switchboard, isolators, metrics, fetched, sandboxes
    )


def _hierarchies(launcher: Launcher) -> tuple[str, ...]:
    """Return where the launcher keeps a cgroup of every container, if it has cgroups."""
    return tuple(getattr(launcher, "hierarchies", ()))
