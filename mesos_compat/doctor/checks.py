# SPDX-License-Identifier: Apache-2.0
"""What the facts about a host mean for an agent with given flags. Pure.

A finding is *missing* if something does not work at all, *warn* if it works with drawbacks. What
the flags ask for is needed; what is needed and missing keeps the agent from running.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from containerizer.linux.seccomp import PACKAGE as SECCOMP_PACKAGE
from mesos_compat.doctor.facts import DiskSpace, Facts

#: Isolator of version 1 → controller; version 2 calls the block devices' ``io``.
_CONTROLLERS = {
    "cgroups/cpu": "cpu",
    "cgroups/cpuset": "cpuset",
    "cgroups/mem": "memory",
    "cgroups/blkio": "blkio",
    "cgroups/devices": "devices",
    "cgroups/hugetlb": "hugetlb",
    "cgroups/net_cls": "net_cls",
    "cgroups/net_prio": "net_prio",
    "cgroups/perf_event": "perf_event",
    "cgroups/pids": "pids",
}
_V2 = {"cgroups/blkio": "io"}
#: Controllers that version 2 has in the kernel, without a name in the tree.
_V2_IMPLIED = ("cgroups/devices", "cgroups/perf_event")
_V1_ONLY = ("cgroups/net_cls", "cgroups/net_prio")
_CAPABILITIES = {
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_CHROOT": 18,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_RESOURCE": 24,
    "CAP_MKNOD": 27,
}
_OPEN_FILES = 65536
_GIB = 1 << 30
_CLOCK_SKEW_S = 5.0
_NEEDS_ROOT = "run as root to find out, and to have it"


class Level(enum.Enum):
    """How good it is."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    subject: str
    text: str
    #: What to do: a Debian package to install, a flag, a setting.
    action: str = ""
    #: Whether the agent that was asked about does not run without it.
    needed: bool = False


def examine(facts: Facts, values: Mapping[str, Any]) -> list[Finding]:
    """Return all findings, for an agent whose flags have ``values``."""
    return [
        *_system(facts),
        *_cgroups(facts, values),
        *_namespaces(facts),
        *_isolators(facts, values),
        *_images(facts, values),
        *_programs(facts, values),
        *_service(facts),
        *_limits(facts),
        *_disks(facts, values),
        *_network(facts, values),
    ]


def failed(findings: list[Finding]) -> bool:
    """Whether the agent that was asked about would not run."""
    return any(each.level is Level.MISSING and each.needed for each in findings)


def _system(facts: Facts) -> Iterator[Finding]:
    numbers = tuple(int(n) for n in re.findall(r"\d+", facts.kernel)[:2])
    if numbers < (5, 6):
        yield Finding(
            Level.MISSING,
            "kernel",
            f"Linux {facts.kernel} has no openat2, pidfd_open",
            "Linux 5.6 or newer; Debian 11 or newer",
            needed=True,
        )
    elif numbers < (5, 10):
        yield Finding(
            Level.WARN,
            "kernel",
            f"Linux {facts.kernel}: each end of a container with an overlay syncs its disk",
            "Linux 5.10 or newer",
        )
    else:
        yield Finding(Level.OK, "kernel", f"Linux {facts.kernel}")
    yield Finding(Level.OK, "python", facts.python)
    if not facts.root:
        yield Finding(
            Level.WARN,
            "root",
            "not root: no images, no cgroups, no users of tasks; launcher posix only",
            "run the agent as root, or with --launcher=posix --no-switch_user",
        )
        return
    lacking = [name for name, bit in _CAPABILITIES.items() if not facts.capabilities >> bit & 1]
    if lacking:
        yield Finding(
            Level.WARN,
            "root",
            f"root without {', '.join(lacking)}",
            "give the container or service that this runs in these capabilities",
        )
    else:
        yield Finding(Level.OK, "root", "root with all capabilities that matter")


def _cgroups(facts: Facts, values: Mapping[str, Any]) -> Iterator[Finding]:
    linux = values["launcher"] == "linux"
    usable = facts.cgroups == "v2" or "freezer" in facts.controllers
    if facts.cgroups == "none":
        yield Finding(
            Level.MISSING, "cgroups", "not mounted", "mount -t cgroup2 none /sys/fs/cgroup", linux
        )
    else:
        names = ", ".join(sorted(facts.controllers)) or "no controllers"
        yield Finding(Level.OK, "cgroups", f"{facts.cgroups}: {names}")
    if usable and facts.root:
        yield Finding(Level.OK, "launcher linux", "available")
    else:
        why = "needs root" if not facts.root else "needs cgroups version 2, or 1 with freezer"
        action = "--launcher=posix" if linux else ""
        yield Finding(Level.MISSING, "launcher linux", why, action, linux)
    yield Finding(Level.OK, "launcher posix", "available")


def _namespaces(facts: Facts) -> Iterator[Finding]:
    if facts.trials_error:
        yield Finding(
            Level.MISSING, "trials", facts.trials_error, "this is a bug, please report it", True
        )
    for name, why in facts.namespaces.items():
        if why is None:
            yield Finding(Level.OK, f"namespace {name}", "available")
        elif facts.root:
            yield Finding(Level.MISSING, f"namespace {name}", why, "a kernel that has it")
        else:
            yield Finding(Level.WARN, f"namespace {name}", why, _NEEDS_ROOT)


def _isolators(facts: Facts, values: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = {name for name in str(values["isolation"]).split(",") if name}
    outcomes = dict(facts.isolators)
    for name in _CONTROLLERS:
        outcomes[name] = _controller(facts, name)
    for name in sorted(wanted - outcomes.keys() - {"process", "cgroups", "cgroups/all"}):
        outcomes[name] = "there is no such isolator here"
    for name, why in sorted(outcomes.items()):
        subject = f"isolator {name}"
        if why is None:
            yield Finding(Level.OK, subject, "available", needed=name in wanted)
            continue
        action = "" if facts.root else "run the agent as root"
        if name == "linux/seccomp" and facts.seccomp_library:
            action = f"apt-get install {SECCOMP_PACKAGE}"
        yield Finding(Level.MISSING, subject, why, action, needed=name in wanted)
    if not facts.seccomp_kernel:
        yield Finding(Level.MISSING, "seccomp", "not supported by the kernel")
    elif facts.seccomp_library:
        action = f"apt-get install {SECCOMP_PACKAGE}"
        yield Finding(Level.MISSING, "seccomp", facts.seccomp_library, action)
    else:
        yield Finding(Level.OK, "seccomp", "kernel and library")


def _controller(facts: Facts, name: str) -> str | None:
    if not facts.root:
        return "needs root"
    if facts.cgroups == "none":
        return "cgroups are not mounted"
    if facts.cgroups == "v2":
        if name in _V2_IMPLIED:
            return None
        if name in _V1_ONLY:
            return "there is none in cgroups version 2"
        controller = _V2.get(name, _CONTROLLERS[name])
    else:
        controller = _CONTROLLERS[name]
    if controller in facts.controllers:
        return None
    return f"the controller '{controller}' is not there"


def _images(facts: Facts, values: Mapping[str, Any]) -> Iterator[Finding]:
    images = bool(values["image_providers"])
    chosen = values["image_provisioner_backend"]
    for name, why in facts.backends.items():
        subject = f"backend {name}"
        if why is None:
            yield Finding(Level.OK, subject, "tried, works")
        else:
            action = "" if facts.root else "run the agent as root"
            yield Finding(Level.MISSING, subject, why, action, images and chosen == name)
    if images and not any(why is None for why in facts.backends.values()):
        yield Finding(Level.MISSING, "images", "no backend works", needed=True)
    has_zstd = bool(facts.modules & {"backports.zstd", "compression.zstd"})
    yield _module(has_zstd, "zstd", "layers compressed by zstd", "pip install backports.zstd")
    yield _module("isal" in facts.modules, "isal", "fast decompression", "pip install isal")
    yield _optional(
        facts, "gpgv", "checks signatures of AppC images", "apt-get install gpgv", False
    )


def _module(there: bool, name: str, purpose: str, action: str) -> Finding:
    if there:
        return Finding(Level.OK, name, purpose)
    return Finding(Level.WARN, name, f"not installed: no {purpose}", action)


def _optional(facts: Facts, name: str, purpose: str, action: str, needed: bool) -> Finding:
    if name in facts.programs:
        return Finding(Level.OK, name, f"{facts.programs[name]}: {purpose}")
    return Finding(Level.MISSING if needed else Level.WARN, name, f"not found: {purpose}", action)


def _programs(facts: Facts, values: Mapping[str, Any]) -> Iterator[Finding]:
    given = bool(values["network_cni_plugins_dir"])
    if facts.cni_plugins:
        for directory, names in facts.cni_plugins.items():
            yield Finding(Level.OK, "CNI plug-ins", f"{directory}: {', '.join(names)}")
    else:
        yield Finding(
            Level.MISSING if given else Level.WARN,
            "CNI plug-ins",
            "none found: containers share the host's network",
            "apt-get install containernetworking-plugins, --network_cni_plugins_dir=/usr/lib/cni",
            given,
        )
    zk = str(values["master"] or "").startswith("zk://")
    if "kazoo" in facts.modules:
        yield Finding(Level.OK, "ZooKeeper client", "kazoo")
    else:
        level = Level.MISSING if zk else Level.WARN
        text = "not installed: no --master=zk://…"
        yield Finding(level, "ZooKeeper client", text, "pip install kazoo", zk)
    yield _optional(
        facts, "hadoop", "fetches hdfs:// URIs", "install Hadoop's client, --hadoop_home", False
    )


def _service(facts: Facts) -> Iterator[Finding]:
    if not facts.systemd:
        yield Finding(Level.OK, "systemd", "this host was not booted by it")
        return
    if not facts.units:
        action = "mesos-compat systemd-unit > /etc/systemd/system/mesos-agent.service"
        yield Finding(Level.OK, "systemd", "no service for an agent yet", action)
    for name, properties in facts.units.items():
        wrong = [
            f"{key}={value}"
            for key, value in (("KillMode", "process"), ("Delegate", "yes"))
            if properties.get(key) != value
        ]
        if wrong:
            text = "a stop of the service may end containers: its unit lacks " + ", ".join(wrong)
            yield Finding(Level.WARN, f"service {name}", text, "mesos-compat systemd-unit")
        else:
            yield Finding(Level.OK, f"service {name}", "containers outlive it")


def _limits(facts: Facts) -> Iterator[Finding]:
    soft, hard = facts.open_files
    if 0 <= hard < _OPEN_FILES:
        yield Finding(
            Level.WARN,
            "open files",
            f"at most {hard} for this process",
            f"LimitNOFILE=1024:1048576 in the service, or ulimit -Hn {_OPEN_FILES}",
        )
    else:
        shown = "no limit" if hard < 0 else str(hard)
        yield Finding(Level.OK, "open files", f"hard limit: {shown}, soft limit: {soft}")


def _disks(facts: Facts, values: Mapping[str, Any]) -> Iterator[Finding]:
    for flag, disk in facts.disks.items():
        text = f"{disk.directory} ({disk.fstype}, {_gib(disk.free)} of {_gib(disk.size)} free)"
        if not disk.writable:
            needed = flag != "docker_store_dir" or bool(values["image_providers"])
            yield Finding(Level.MISSING, f"--{flag}", f"{text} is not writable", needed=needed)
        elif flag == "runtime_dir":
            yield from _runtime_dir(disk, text)
        elif disk.free < _GIB:
            yield Finding(Level.WARN, f"--{flag}", text, "make room")
        elif disk.fstype in ("tmpfs", "ramfs"):
            yield Finding(Level.WARN, f"--{flag}", f"{text} is lost at a reboot", f"--{flag}=…")
        elif disk.free < float(values["gc_disk_headroom"]) * disk.size:
            action = "make room, or another --gc_disk_headroom"
            yield Finding(Level.WARN, f"--{flag}", f"{text}: sandboxes are removed at once", action)
        else:
            yield Finding(Level.OK, f"--{flag}", text)


def _runtime_dir(disk: DiskSpace, text: str) -> Iterator[Finding]:
    if disk.fstype in ("tmpfs", "ramfs"):
        yield Finding(Level.OK, "--runtime_dir", text)
    else:
        yield Finding(
            Level.WARN,
            "--runtime_dir",
            f"{text} survives a reboot, the processes it tells of do not",
            "a directory on a tmpfs, such as /run/mesos",
        )


def _gib(number: int) -> str:
    return f"{number / _GIB:.1f} GiB"


def _network(facts: Facts, values: Mapping[str, Any]) -> Iterator[Finding]:
    if facts.clock_synchronized is False:
        action = "apt-get install systemd-timesyncd (or chrony)"
        yield Finding(Level.WARN, "clock", "not synchronized", action)
    else:
        yield Finding(Level.OK, "clock", "synchronized" if facts.clock_synchronized else "unknown")
    hint = "name it in /etc/hosts or DNS, or --hostname and --ip"
    if values["hostname"]:
        yield Finding(Level.OK, "hostname", f"--hostname={values['hostname']}")
    elif not facts.addresses:
        yield Finding(Level.WARN, "hostname", f"'{facts.hostname}' has no address", hint)
    elif all(ipaddress.ip_address(each.split("%")[0]).is_loopback for each in facts.addresses):
        text = f"'{facts.hostname}' is {', '.join(facts.addresses)}: no other host can reach that"
        yield Finding(Level.WARN, "hostname", text, hint)
    else:
        yield Finding(Level.OK, "hostname", f"{facts.hostname} ({', '.join(facts.addresses)})")
    for master in facts.masters:
        subject = f"master {master.address}"
        if master.error:
            yield Finding(Level.WARN, subject, f"no answer: {master.error}", "--master")
        elif abs(master.ahead_s) > _CLOCK_SKEW_S:
            text = f"Mesos {master.version}; its clock is {master.ahead_s:+.0f} s from ours"
            yield Finding(Level.WARN, subject, text, "synchronize both clocks")
        else:
            yield Finding(Level.OK, subject, f"Mesos {master.version}")
    for address, why in facts.zookeepers.items():
        if why is None:
            yield Finding(Level.OK, f"ZooKeeper {address}", "answers")
        else:
            yield Finding(Level.WARN, f"ZooKeeper {address}", f"no answer: {why}", "--master")
