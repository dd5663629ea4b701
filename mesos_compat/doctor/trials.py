# SPDX-License-Identifier: Apache-2.0
"""Tries what cannot be read off a host: namespaces, isolators, backends of images.

Runs as a program of its own, ``trials.py DIRECTORY``, in a mount namespace of its own if it may:
whatever a trial mounts is gone with it. Prints one JSON object with a reason, or null for what
works, per name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from containerizer.isolators.context import ContainerizerConfig, IsolatorContext
from containerizer.isolators.order import CGROUPS
from containerizer.isolators.order import GROUP as ISOLATORS
from containerizer.linux import mount, namespaces
from containerizer.provisioner.config import ProvisionerConfig
from containerizer.provisioner.create import BACKENDS
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Group, call

_NAMESPACES = {
    "mnt": namespaces.CLONE_NEWNS,
    "pid": namespaces.CLONE_NEWPID,
    "net": namespaces.CLONE_NEWNET,
    "ipc": namespaces.CLONE_NEWIPC,
    "uts": namespaces.CLONE_NEWUTS,
    "cgroup": namespaces.CLONE_NEWCGROUP,
    "user": namespaces.CLONE_NEWUSER,
}

Outcomes = dict[str, str | None]


def main() -> int:
    """Try everything in the directory that is the only argument."""
    directory = sys.argv[1]
    logging.disable()
    result: dict[str, Outcomes] = {"namespaces": _namespaces()}
    if result["namespaces"]["mnt"] is None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
    result |= asyncio.run(_try(directory))
    print(json.dumps(result))
    return 0


def _namespaces() -> Outcomes:
    return {
        name: _in_child(partial(namespaces.unshare, flag)) for name, flag in _NAMESPACES.items()
    }


def _in_child(attempt: Callable[[], None]) -> str | None:
    """Run ``attempt`` in a process of its own; return the reason if it fails."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if status == 0 else os.strerror(status)


async def _try(directory: str) -> dict[str, Outcomes]:
    backends = Group(BACKENDS)
    found: dict[str, Outcomes] = {"backends": {}, "isolators": {}}
    for name in backends.names():
        found["backends"][name] = await _outcome(_backend, backends, name, directory)
    isolators = Group(ISOLATORS)
    for name in isolators.names():
        if name != CGROUPS:  # by controllers: making it leaves cgroups behind
            found["isolators"][name] = await _outcome(_isolator, isolators, name, directory)
    return found


async def _outcome(attempt: Callable[..., Any], *arguments: object) -> str | None:
    try:
        await attempt(*arguments)
    except Exception as error:  # whatever it is, it is the reason
        return str(error) or type(error).__name__
    return None


async def _backend(group: Group, name: str, directory: str) -> None:
    """Make a root file system of one layer, look into it, and take it apart."""
    base = os.path.join(directory, f"backend-{name}")
    layer, rootfs, own = (os.path.join(base, each) for each in ("layer", "rootfs", "backend"))
    for path in (layer, own, os.path.join(base, "provisioner")):
        os.makedirs(path)
    with open(os.path.join(layer, "file"), "w", encoding="ascii") as file:
        file.write("content")
    config = ProvisionerConfig(work_dir=base, temporary_dir=base)
    backend = call(group.load(name), config, Metrics())
    await backend.provision([layer], rootfs, own)
    with open(os.path.join(rootfs, "file"), encoding="ascii") as file:
        if file.read() != "content":
            raise OSError("The root file system does not show what its layer has")
    await backend.destroy(rootfs, own)


async def _isolator(group: Group, name: str, directory: str) -> None:
    base = os.path.join(directory, f"isolator-{name.replace('/', '-')}")
    os.makedirs(base)
    config = ContainerizerConfig(
        work_dir=base,
        runtime_dir=base,
        launcher="linux" if os.geteuid() == 0 else "posix",
        isolation=name if name.startswith("filesystem/") else f"filesystem/linux,{name}",
        seccomp_config_dir=base,
        cgroups_root=os.path.basename(directory),
    )
    context = IsolatorContext(
        config=config,
        isolation=frozenset({name, "filesystem/linux"}),
        metrics=Metrics(),
        container_directory=lambda container_id: base,
        container_config=lambda container_id: None,
    )
    call(group.load(name).create, context)


if __name__ == "__main__":
    sys.exit(main())
