# SPDX-License-Identifier: Apache-2.0
"""From ``--containerizers`` to an object.

Source: spec ``containerizer`` 1.2; texts as in the recordings of agents that refuse to start.
Deviation: without a containerizer for Docker ``docker,mesos`` is ``mesos`` alone, with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from containerizer.api import Containerizer
from containerizer.composing import ComposingContainerizer
from containerizer.isolators.caller import close_isolators
from containerizer.isolators.cgroups.ownership import CORE
from containerizer.isolators.context import ContainerizerConfig, IsolatorContext, no_app, no_images
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
from containerizer.volume_gids import VolumeGids
from mesos_compat.base import plugins
from mesos_compat.base.errors import FlagError, IsolatorError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Group
from mesos_compat.model.ids import ContainerId

log = logging.getLogger(__name__)

#: Entry points of foreign containerizers: functions ``(ContainerizerConfig, Metrics)``.
GROUP = "mesos_compat.containerizers"
_OURS = "mesos"
#: What operators of upstream's agent name everywhere.
_DOCKER = "docker"

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
    gids: VolumeGids | None = None,
) -> Containerizer:
    """Make the containerizer that ``config`` describes; on the event loop.

    ``provisioner`` may be ``None``: then nothing has an image. ``logger`` replaces the one
    that ``config`` names. ``helpers`` (the launcher's spawner) starts I/O switchboards and loggers;
    without it there are no terminals and no sessions. ``fetched`` is called with the sandbox of
    each container when all its files are there, and raises nothing; ``sandboxes`` removes those of
    nested containers some time after their end. ``gids`` gives volumes
    groups. Raises FlagError with the line that upstream prints.
    """
    names = [name for name in config.containerizers.split(",") if name]
    if len(set(names)) != len(names):
        raise FlagError(
            f"{_PREFIX}Duplicate entries found in --containerizer flag '{config.containerizers}'"
        )
    foreign = Group(GROUP)
    if _DOCKER in names and _DOCKER not in foreign and len(names) > 1:
        log.warning("There is no containerizer 'docker' here: tasks of type DOCKER will fail")
        names.remove(_DOCKER)
    for name in names:
        if name != _OURS and name not in foreign:
            raise FlagError(f"{_PREFIX}Unknown or unsupported containerizer: {name}")
    if not names:
        raise FlagError(f"{_PREFIX}No containerizers specified")
    check_images(config)
    surroundings = _Surroundings(
        config, launcher, provisioner, metrics, logger, helpers, secrets, fetched, sandboxes, gids
    )
    # Upstream keeps the names in a sorted set, whatever the order of the flag.
    made = [
        _create_ours(surroundings)
        if name == _OURS
        else _create_foreign(name, foreign, config, metrics)
        for name in sorted(names)
    ]
    return made[0] if len(made) == 1 else ComposingContainerizer(made)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The parameters of ``create_containerizer``."""

    config: ContainerizerConfig
    launcher: Launcher
    provisioner: Provisioner | None
    metrics: Metrics
    logger: ContainerLogger | None
    helpers: HelperStarter | None
    secrets: SecretResolver | None
    fetched: Callable[[ContainerId, str], None] | None
    sandboxes: SandboxCollector | None
    gids: VolumeGids | None


def _create_foreign(
    name: str, foreign: Group, config: ContainerizerConfig, metrics: Metrics
) -> Containerizer:
    made: Containerizer = plugins.call(foreign.load(name), config, metrics)
    if not callable(getattr(made, "launch", None)):
        raise FlagError(f"{_PREFIX}'{name}' made {type(made).__name__}, which is no containerizer")
    log.info("Containerizer '%s' is %s", name, foreign.origin(name))
    return made


def _create_ours(given: _Surroundings) -> Containerizer:
    config, launcher, metrics = given.config, given.launcher, given.metrics
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
            gids=given.gids,
            secrets=given.secrets or ValueSecretResolver(),
            appc_app=no_app if given.provisioner is None else given.provisioner.appc_app,
            provision=no_images if given.provisioner is None else given.provisioner.provision,
        )
        isolators = create_isolators(context)
    except IsolatorError as error:
        raise FlagError(f"{_PREFIX}{_MESOS}{error}") from error
    cgroups = tuple(getattr(launcher, "helper_cgroups", ()))
    logger = given.logger
    if logger is None:
        chosen = config.container_logger
        parameters = config.parameters.get(chosen, ()) if chosen is not None else ()
        try:
            logger = create_logger(chosen, LoggerContext(parameters, given.helpers, cgroups))
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
        given.helpers,
    )
    return MesosContainerizer(
        config,
        launcher,
        given.provisioner,
        switchboard,
        isolators,
        metrics,
        given.fetched,
        given.sandboxes,
        given.gids,
    )


def _hierarchies(launcher: Launcher) -> tuple[str, ...]:
    """Return where the launcher keeps a cgroup of every container, if it has cgroups."""
    return tuple(getattr(launcher, "hierarchies", ()))
