# SPDX-License-Identifier: Apache-2.0
"""``linux/capabilities``: what root in a container may do.

Source: spec ``isolators-resources`` 10.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from containerizer.isolators.appc_rights import allowed_capabilities
from containerizer.isolators.base import Isolator, executor_argument, is_debug
from containerizer.isolators.context import IsolatorContext, no_app
from containerizer.linux import caps
from containerizer.provisioner.appc_details import AppcApp
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

log = logging.getLogger(__name__)


class CapabilitiesIsolator(Isolator):
    """Compares what containers ask for with what the agent allows."""

    supports_nesting = True
    supports_standalone = True

    def __init__(
        self,
        effective: pb.CapabilityInfo | None,
        bounding: pb.CapabilityInfo | None,
        appc_app: Callable[[ContainerId], AppcApp | None] = no_app,
    ) -> None:
        """Take the agent's defaults; ``bounding`` is also the most that anybody gets.

        ``appc_app`` tells of images that give capabilities up.
        """
        self._appc_app = appc_app
        if effective is not None and bounding is not None and not _within(effective, bounding):
            raise IsolatorError("Allowed capabilities are not a subset of the bounding capabilites")
        self._effective = effective
        self._bounding = bounding

    @classmethod
    def create(cls, context: IsolatorContext) -> CapabilitiesIsolator:
        """Make the isolator; needs root and a kernel whose capabilities all have a name."""
        if os.geteuid() != 0:
            raise IsolatorError("Linux capabilities isolator requires root permissions")
        last = caps.last()
        if last >= len(caps.NAMES):
            raise IsolatorError(
                f"System last capability value '{last}' is greater than maximum supported number"
                f" of capabilities '{len(caps.NAMES)}'"
            )
        config = context.config
        if "isolators" in config.appc_extensions:
            return cls(
                config.effective_capabilities, config.bounding_capabilities, context.appc_app
            )
        return cls(config.effective_capabilities, config.bounding_capabilities)

    async def prepare(
        self, container_id: ContainerId, config: slave.ContainerConfig
    ) -> slave.ContainerLaunchInfo | None:
        """Return the sets of the container; of the task, if its executor is to keep its own."""
        effective, bounding = self.sets(config.container_info.linux_info)
        app = None if is_debug(config) else self._appc_app(container_id)
        allowed = None if app is None else allowed_capabilities(app.isolators)
        if allowed is not None:
            effective, bounding = _narrowed(effective, bounding, allowed)
            log.info("Container %s: only '%s', as its image says", container_id, _text(bounding))
        if bounding is None:
            return None
        made = slave.ContainerLaunchInfo()
        if config.HasField("task_info") and config.HasField("rootfs"):
            arguments = [executor_argument("bounding_capabilities", bounding)]
            if effective is not None:
                arguments.append(executor_argument("effective_capabilities", effective))
            made.command.arguments.extend(arguments)
            return made
        made.bounding_capabilities.CopyFrom(bounding)
        if effective is not None:
            made.effective_capabilities.CopyFrom(effective)
        return made

    def sets(
        self, asked: pb.LinuxInfo
    ) -> tuple[pb.CapabilityInfo | None, pb.CapabilityInfo | None]:
        """Return the effective and the bounding set of who asks; ``None``: they stay as they are.

        Raises IsolatorError if it is too much.
        """
        effective, bounding = self._asked_effective(asked), self._asked_bounding(asked)
        if bounding is None:
            bounding = self._bounding if self._bounding is not None else effective
        if effective is not None and bounding is not None and not _within(effective, bounding):
            raise IsolatorError(
                f"Requested capabilities '{_text(effective)}', but only '{_text(bounding)}' are"
                " allowed"
            )
        return effective, bounding

    def _asked_effective(self, asked: pb.LinuxInfo) -> pb.CapabilityInfo | None:
        if asked.HasField("capability_info"):
            if asked.HasField("effective_capabilities"):
                raise IsolatorError(
                    "Only one of 'capability_info' or 'effective_capabilities' is allowed"
                )
            return asked.capability_info
        return (
            asked.effective_capabilities
            if asked.HasField("effective_capabilities")
            else self._effective
        )

    def _asked_bounding(self, asked: pb.LinuxInfo) -> pb.CapabilityInfo | None:
        if not asked.HasField("bounding_capabilities"):
            return None
        bounding = asked.bounding_capabilities
        if self._bounding is not None and not _within(bounding, self._bounding):
            raise IsolatorError(
                f"Bounding capabilities '{_text(bounding)}', but only '{_text(self._bounding)}'"
                " are allowed"
            )
        return bounding


def _narrowed(
    effective: pb.CapabilityInfo | None, bounding: pb.CapabilityInfo | None, allowed: frozenset[int]
) -> tuple[pb.CapabilityInfo | None, pb.CapabilityInfo]:
    """Leave only what is ``allowed``; an effective set that was not said stays so."""

    def narrow(some: pb.CapabilityInfo | None) -> pb.CapabilityInfo:
        left = allowed if some is None else allowed & set(some.capabilities)
        return pb.CapabilityInfo(capabilities=sorted(left))  # type: ignore[arg-type]  # numbers

    return None if effective is None else narrow(effective), narrow(bounding)


def _within(some: pb.CapabilityInfo, all_of: pb.CapabilityInfo) -> bool:
    return set(some.capabilities) <= set(all_of.capabilities)


def _text(these: pb.CapabilityInfo) -> str:
    names = map(pb.CapabilityInfo.Capability.Name, sorted(set(these.capabilities)))
    return f"{{ {', '.join(names)} }}"
