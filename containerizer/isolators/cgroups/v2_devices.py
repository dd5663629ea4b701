# SPDX-License-Identifier: Apache-2.0
"""``cgroups/devices`` with version 2: which device nodes a container may use.

One program for all containers; it stays with a cgroup until that is removed, whatever becomes of
the agent.

Source: spec ``isolators-resources`` 5.6.
Deviation: entries of ``--allowed_devices`` that the usual ones contain are no error; nothing is
checkpointed, because nothing has to be attached again.
"""

from __future__ import annotations

import os

from containerizer.isolators.cgroups.devices import entries
from containerizer.isolators.cgroups.subsystem import Subsystem
from containerizer.isolators.context import ContainerizerConfig
from containerizer.linux import ebpf
from containerizer.linux.ebpf import DeviceRule
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class DevicesV2(Subsystem):
    """Allows the usual and ``--allowed_devices``, nothing else."""

    controller = "devices"

    def __init__(self, program: int) -> None:
        """``program`` is the descriptor of the loaded program, which becomes ours."""
        self._program = program

    @classmethod
    def create(cls, root: str, config: ContainerizerConfig) -> DevicesV2:
        """Load the program; refuses entries of ``--allowed_devices`` that mean nothing."""
        rules = [DeviceRule.parse(entry) for entry in entries(config)]
        try:
            return cls(ebpf.load(ebpf.device_program(rules)))
        except OSError as error:
            raise IsolatorError(f"Failed to load the device program: {error}") from error

    def prepare(
        self, container_id: ContainerId, cgroup: str, config: slave.ContainerConfig
    ) -> None:
        """Apply the program to the container and all that will be in it."""
        try:
            ebpf.attach(self._program, cgroup)
        except OSError as error:
            text = f"Failed to configure allow and deny devices: {error}"
            raise IsolatorError(text) from error

    def close(self) -> None:
        """Let go of the program; cgroups keep it."""
        if self._program >= 0:
            os.close(self._program)
            self._program = -1
