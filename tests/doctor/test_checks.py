# SPDX-License-Identifier: Apache-2.0
"""Findings about hosts that are made up."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mesos_compat.agent.flags import agent_flag_values
from mesos_compat.doctor.checks import Finding, Level, examine, failed
from mesos_compat.doctor.facts import DiskSpace, Facts, Master

GIB = 1 << 30

#: A host on which everything works.
GOOD = Facts(
    kernel="6.1.0-18-amd64",
    root=True,
    capabilities=(1 << 41) - 1,
    python="3.11.2",
    cgroups="v2",
    controllers=frozenset({"cpu", "cpuset", "memory", "io", "pids", "hugetlb"}),
    namespaces={"mnt": None, "pid": None},
    isolators={
        "filesystem/linux": None,
        "linux/seccomp": None,
        "posix/cpu": None,
        "posix/mem": None,
    },
    backends={"overlay": None, "copy": None},
    seccomp_kernel=True,
    seccomp_library="",
    cni_plugins={"/opt/cni/bin": ("bridge",)},
    programs={"gpgv": "/usr/bin/gpgv", "hadoop": "/usr/bin/hadoop"},
    modules=frozenset({"isal", "backports.zstd", "kazoo"}),
    systemd=True,
    units={"mesos-agent": {"KillMode": "process", "Delegate": "yes", "Type": "notify"}},
    open_files=(1024, 1048576),
    disks={
        "work_dir": DiskSpace("/var/lib/mesos", "ext4", 100 * GIB, 50 * GIB, True),
        "runtime_dir": DiskSpace("/run/mesos", "tmpfs", GIB, GIB, True),
    },
    clock_synchronized=True,
    hostname="a",
    addresses=("10.0.0.5",),
    masters=(Master("10.0.0.1:5050", "1.11.0", "", 0.2),),
    zookeepers={"10.0.0.1:2181": None},
)


def about(facts: Facts, *flags: str) -> list[Finding]:
    launcher = () if any("--launcher" in each for each in flags) else ("--launcher=linux",)
    return examine(facts, agent_flag_values([*launcher, *flags], {}))


def only(findings: list[Finding], subject: str) -> Finding:
    [found] = [each for each in findings if each.subject == subject]
    return found


def test_a_good_host() -> None:
    findings = about(GOOD, "--isolation=filesystem/linux,cgroups/cpu,cgroups/blkio")
    bad = [each.subject for each in findings if each.level is not Level.OK]
    assert bad == ["isolator cgroups/net_cls", "isolator cgroups/net_prio"]
    assert not failed(findings)


@pytest.mark.parametrize(
    ("change", "subject", "level", "words"),
    [
        ({"kernel": "5.4.0"}, "kernel", Level.MISSING, "Linux 5.6 or newer"),
        ({"kernel": "5.8"}, "kernel", Level.WARN, "Linux 5.10 or newer"),
        ({"root": False}, "root", Level.WARN, "--launcher=posix"),
        ({"root": False}, "launcher linux", Level.MISSING, "needs root"),
        ({"capabilities": ((1 << 41) - 1) ^ 1 << 21}, "root", Level.WARN, "CAP_SYS_ADMIN"),
        ({"cgroups": "none"}, "cgroups", Level.MISSING, "mount -t cgroup2"),
        ({"cgroups": "v1"}, "launcher linux", Level.MISSING, "freezer"),
        ({"cgroups": "v1"}, "isolator cgroups/blkio", Level.MISSING, "'blkio' is not there"),
        ({"controllers": frozenset()}, "isolator cgroups/mem", Level.MISSING, "'memory' is not"),
        ({"trials_error": "boom"}, "trials", Level.MISSING, "boom"),
        ({"namespaces": {"user": "No"}}, "namespace user", Level.MISSING, "No"),
        ({"backends": {"overlay": "No such device"}}, "backend overlay", Level.MISSING, "No such"),
        ({"seccomp_library": "gone"}, "seccomp", Level.MISSING, "apt-get install libseccomp2"),
        ({"seccomp_kernel": False}, "seccomp", Level.MISSING, "kernel"),
        ({"cni_plugins": {}}, "CNI plug-ins", Level.WARN, "containernetworking-plugins"),
        ({"modules": frozenset()}, "zstd", Level.WARN, "pip install backports.zstd"),
        ({"modules": frozenset()}, "isal", Level.WARN, "pip install isal"),
        ({"modules": frozenset()}, "ZooKeeper client", Level.WARN, "pip install kazoo"),
        ({"programs": {}}, "gpgv", Level.WARN, "apt-get install gpgv"),
        ({"programs": {}}, "hadoop", Level.WARN, "--hadoop_home"),
        ({"units": {"mesos-slave": {}}}, "service mesos-slave", Level.WARN, "KillMode=process"),
        ({"systemd": False}, "systemd", Level.OK, "not booted"),
        ({"open_files": (1024, 4096)}, "open files", Level.WARN, "LimitNOFILE"),
        ({"open_files": (1024, -1)}, "open files", Level.OK, "no limit"),
        ({"clock_synchronized": False}, "clock", Level.WARN, "timesyncd"),
        ({"clock_synchronized": None}, "clock", Level.OK, "unknown"),
        ({"addresses": ()}, "hostname", Level.WARN, "has no address"),
        ({"addresses": ("127.0.1.1", "::1")}, "hostname", Level.WARN, "no other host can reach"),
        ({"masters": (Master("m:1", error="refused"),)}, "master m:1", Level.WARN, "refused"),
        ({"masters": (Master("m:1", "1.4.3", "", -60.0),)}, "master m:1", Level.WARN, "-60 s"),
        ({"zookeepers": {"z:1": "refused"}}, "ZooKeeper z:1", Level.WARN, "refused"),
    ],
)
def test_what_is_wrong(change: dict[str, Any], subject: str, level: Level, words: str) -> None:
    found = only(about(dataclasses.replace(GOOD, **change)), subject)
    assert found.level is level
    assert words in f"{found.text} {found.action}"


@pytest.mark.parametrize(
    ("flag", "disk", "level", "words"),
    [
        (
            "work_dir",
            DiskSpace("/w", "ext4", 9 * GIB, 5 * GIB, False),
            Level.MISSING,
            "not writable",
        ),
        ("work_dir", DiskSpace("/w", "ext4", 9 * GIB, GIB // 2, True), Level.WARN, "make room"),
        ("work_dir", DiskSpace("/w", "ext4", 99 * GIB, 5 * GIB, True), Level.WARN, "at once"),
        (
            "docker_store_dir",
            DiskSpace("/d", "tmpfs", 9 * GIB, 5 * GIB, True),
            Level.WARN,
            "reboot",
        ),
        ("runtime_dir", DiskSpace("/r", "ext4", 9 * GIB, 5 * GIB, True), Level.WARN, "tmpfs"),
    ],
)
def test_disks(flag: str, disk: DiskSpace, level: Level, words: str) -> None:
    found = only(about(dataclasses.replace(GOOD, disks={flag: disk})), f"--{flag}")
    assert found.level is level
    assert words in f"{found.text} {found.action}"


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"isolators": {**GOOD.isolators, "linux/seccomp": "No"}}, ["--isolation=linux/seccomp"]),
        ({}, ["--isolation=no/such"]),
        ({"controllers": frozenset()}, ["--isolation=cgroups/mem"]),
        ({"backends": {"copy": "No"}}, ["--image_providers=docker"]),
        (
            {"backends": {"copy": None, "overlay": "No"}},
            ["--image_providers=docker", "--image_provisioner_backend=overlay"],
        ),
        ({"modules": frozenset()}, ["--master=zk://h:2181/mesos"]),
        ({"cni_plugins": {}}, ["--network_cni_plugins_dir=/opt/cni/bin"]),
        ({"root": False}, []),
    ],
)
def test_what_the_flags_ask_for_is_needed(change: dict[str, Any], flags: list[str]) -> None:
    facts = dataclasses.replace(GOOD, **change)
    assert failed(about(facts, *flags))
    if flags:
        assert not failed(about(facts))
    else:
        assert not failed(about(facts, "--launcher=posix"))
