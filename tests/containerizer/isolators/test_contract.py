# SPDX-License-Identifier: Apache-2.0
"""All built-in isolators keep the contract, and none is forgotten here."""

from __future__ import annotations

from pathlib import Path

from containerizer.isolators.appc_runtime import AppcRuntimeIsolator
from containerizer.isolators.base import Isolator
from containerizer.isolators.cgroups.isolator import AnyCgroupsIsolator
from containerizer.isolators.cgroups.v1 import CgroupsIsolator
from containerizer.isolators.docker_runtime import DockerRuntimeIsolator
from containerizer.isolators.environment_secret import EnvironmentSecretIsolator
from containerizer.isolators.filesystem_linux import LinuxFilesystemIsolator
from containerizer.isolators.filesystem_posix import PosixFilesystemIsolator
from containerizer.isolators.linux_capabilities import CapabilitiesIsolator
from containerizer.isolators.linux_nnp import NoNewPrivilegesIsolator
from containerizer.isolators.linux_seccomp import SeccompIsolator
from containerizer.isolators.namespaces_ipc import IpcNamespaceIsolator
from containerizer.isolators.namespaces_pid import PidNamespaceIsolator
from containerizer.isolators.network_cni.isolator import CniIsolator
from containerizer.isolators.order import GROUP, ORDER
from containerizer.isolators.posix_cpu import PosixCpuIsolator
from containerizer.isolators.posix_mem import PosixMemIsolator
from containerizer.isolators.posix_rlimits import PosixRlimitsIsolator
from containerizer.isolators.volume_host_path import HostPathVolumeIsolator
from containerizer.isolators.volume_image import ImageVolumeIsolator
from containerizer.isolators.volume_sandbox_path import SandboxPathVolumeIsolator
from mesos_compat.base.plugins import Group
from tests.suites.isolators import IsolatorSuite, context


class TestPosixFilesystem(IsolatorSuite):
    nesting = False
    standalone = False

    def make(self, folder: Path) -> Isolator:
        return PosixFilesystemIsolator.create(context(folder))


class TestLinuxFilesystem(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return LinuxFilesystemIsolator(context(folder))


class TestPosixCpu(IsolatorSuite):
    nesting = False
    standalone = False

    def make(self, folder: Path) -> Isolator:
        return PosixCpuIsolator.create(context(folder))


class TestPosixMem(IsolatorSuite):
    nesting = False
    standalone = False

    def make(self, folder: Path) -> Isolator:
        return PosixMemIsolator.create(context(folder))


class TestCgroupsWithoutController(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return CgroupsIsolator(context(folder), ())


class TestAppcRuntime(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return AppcRuntimeIsolator.create(context(folder))


class TestDockerRuntime(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return DockerRuntimeIsolator.create(context(folder))


class TestPosixRlimits(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return PosixRlimitsIsolator.create(context(folder))


class TestCapabilities(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return CapabilitiesIsolator(None, None)


class TestNoNewPrivileges(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return NoNewPrivilegesIsolator.create(context(folder))


class TestSeccomp(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        around = context(folder)
        (folder / "allow").write_text(
            '{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": []}'
        )
        return SeccompIsolator(
            str(folder), "allow", None, around.container_directory, around.container_config
        )


class TestIpcNamespace(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        around = context(folder)
        return IpcNamespaceIsolator(
            around.container_directory, around.container_config, False, None
        )


class TestPidNamespace(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return PidNamespaceIsolator(context(folder).container_directory, False)


class TestSandboxPathVolume(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return SandboxPathVolumeIsolator.create(context(folder))


class TestHostPathVolume(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        isolation = "filesystem/linux,volume/host_path"
        return HostPathVolumeIsolator.create(context(folder, isolation=isolation))


class TestImageVolume(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return ImageVolumeIsolator.create(context(folder, isolation="filesystem/linux"))


class TestCni(IsolatorSuite):
    nesting = True
    standalone = False

    def make(self, folder: Path) -> Isolator:
        return CniIsolator.create(context(folder))


class TestEnvironmentSecret(IsolatorSuite):
    nesting = True
    standalone = True

    def make(self, folder: Path) -> Isolator:
        return EnvironmentSecretIsolator.create(context(folder))


def test_every_built_in_isolator_is_here(tmp_path: Path) -> None:
    suites = [
        kind for kind in globals().values() if isinstance(kind, type) and kind is not IsolatorSuite
    ]
    here = {type(kind().make(tmp_path)) for kind in suites if issubclass(kind, IsolatorSuite)}
    group = Group(GROUP)
    built_in = {group.load(name) for name in group.names() if name in ORDER}
    # a door to one of two, of which the second needs the kernel's cgroup2
    assert built_in - {AnyCgroupsIsolator} <= here
