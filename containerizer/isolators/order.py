# SPDX-License-Identifier: Apache-2.0
"""From the text of ``--isolation`` to isolators in the order in which they are asked.

Source: spec ``containerizer`` 2.2, 2.3.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from containerizer.isolators.base import Isolator
from containerizer.isolators.caller import NamedIsolator, close_isolators
from containerizer.isolators.context import IsolatorContext
from mesos_compat.base import plugins
from mesos_compat.base.errors import FlagError, IsolatorError
from mesos_compat.base.plugins import Group

log = logging.getLogger(__name__)

#: Entry points of isolators, ours and foreign ones; the name is that in ``--isolation``.
GROUP = "mesos_compat.isolators"

#: The one isolator behind all names ``cgroups/…``.
CGROUPS = "cgroups"

#: Upstream's order. File systems come first because others mount on top, cgroups before runtimes
#: because their executor arguments come first, volumes after the sandbox is mounted, networks last.
ORDER = (
    "filesystem/posix",
    "filesystem/linux",
    "filesystem/shared",
    "posix/cpu",
    "posix/mem",
    "posix/rlimits",
    CGROUPS,
    "appc/runtime",
    "docker/runtime",
    "linux/devices",
    "linux/capabilities",
    "linux/nnp",
    "namespaces/ipc",
    "namespaces/pid",
    "volume/sandbox_path",
    "docker/volume",
    "volume/host_path",
    "volume/image",
    "volume/secret",
    "volume/csi",
    "disk/du",
    "disk/xfs",
    "linux/seccomp",
    "gpu/nvidia",
    "network/cni",
    "network/port_mapping",
    "network/ports",
    "environment_secret",
)

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "process": ("posix/cpu", "posix/mem"),
    "cgroups": ("cgroups/cpu", "cgroups/mem"),
    "posix/disk": ("disk/du",),
}

#: What ``filesystem/linux`` brings along.
_VOLUMES = ("volume/image", "volume/host_path", "volume/sandbox_path")


def named(isolation: str) -> list[str]:
    """Return the names written in ``--isolation``. Raises IsolatorError for a repeated one."""
    tokens = [token for token in isolation.split(",") if token]
    if len(set(tokens)) != len(tokens):
        raise IsolatorError(
            f"Duplicate entries found in --isolation flag '[ {', '.join(tokens)} ]'"
        )
    return tokens


def normalised(isolation: str, *, images: bool, launcher: str) -> list[str]:
    """Return the names of all isolators that ``--isolation`` means, written ones first.

    Raises IsolatorError in upstream's words.
    """
    names: list[str] = []
    for token in named(isolation):
        if token in _ALIASES:
            log.warning(
                "The '%s' isolation flag is deprecated: use '%s'", token, ",".join(_ALIASES[token])
            )
        names += (name for name in _ALIASES.get(token, (token,)) if name not in names)
    _exactly_one(names, "filesystem/", "filesystem", default="filesystem/posix")
    _exactly_one(names, "network/", "network", default="network/cni", uncounted="network/ports")
    if "filesystem/linux" in names:
        names += (name for name in _VOLUMES if name not in names)
    if "environment_secret" not in names:
        names.append("environment_secret")
    if images:
        if "filesystem/linux" not in names:
            raise IsolatorError(
                "The 'filesystem/linux' isolator must be enabled for container image support"
            )
        if launcher != "linux":
            raise IsolatorError("The 'linux' launcher must be used for container image support")
    return names


def ordered(names: Sequence[str]) -> list[str]:
    """Put normalised names in order: built-in ones, then foreign ones as they were written."""
    joined = list(dict.fromkeys(CGROUPS if n.startswith("cgroups/") else n for n in names))
    return [n for n in ORDER if n in joined] + [n for n in joined if n not in ORDER]


def supported(names: Sequence[str], isolation: str) -> list[str]:
    """Return the ``names`` (normalised) that exist, as far as the others were only implied.

    One that was written in ``isolation`` has to exist. Raises IsolatorError in upstream's words.
    """
    written = set(named(isolation))
    available = Group(GROUP)
    found = []
    for name in names:
        if (CGROUPS if name.startswith("cgroups/") else name) in available:
            found.append(name)
        elif name in written or not _implied(name):
            raise IsolatorError(f"Unknown or unsupported isolator '{name}'")
    return found


def create_isolators(context: IsolatorContext) -> list[NamedIsolator]:
    """Load and create the isolators of ``context.isolation`` (supported ones), in order.

    Foreign ones come in the order in which they were written. Raises IsolatorError with upstream's
    text.
    """
    available = Group(GROUP)
    written = [name for name in named(context.config.isolation) if name in context.isolation]
    names = ordered([*written, *sorted(context.isolation.difference(written))])
    made: list[NamedIsolator] = []
    try:
        for name in names:
            made.append(NamedIsolator(name, _create(name, available, context)))
    except BaseException:
        close_isolators(made)
        raise
    return made


def _exactly_one(
    names: list[str], prefix: str, kind: str, default: str, uncounted: str | None = None
) -> None:
    count = sum(name.startswith(prefix) and name != uncounted for name in names)
    if count > 1:
        raise IsolatorError(f"Using multiple {kind} isolators simultaneously is disallowed")
    if count == 0:
        names.append(default)


def _implied(name: str) -> bool:
    return name in _VOLUMES or name in ("network/cni", "environment_secret")


def _create(name: str, available: Group, context: IsolatorContext) -> Isolator:
    # upstream creates all cgroups isolators as one, under the first name of its table
    shown = "cgroups/all" if name == CGROUPS else name
    try:
        kind = available.load(name)
        if not (isinstance(kind, type) and issubclass(kind, Isolator)):
            raise IsolatorError(f"{kind!r} is no isolator")
        mine = replace(context, parameters=context.config.parameters.get(name, ()))
        made = plugins.call(kind.create, mine)
        if not isinstance(made, Isolator):
            raise IsolatorError(f"{kind.__name__}.create returned {type(made).__name__}")
    except (IsolatorError, FlagError) as error:
        raise IsolatorError(f"Failed to create isolator '{shown}': {error}") from error
    if name not in ORDER:
        log.info("Isolator '%s' is %s", name, available.origin(name))
    return made
