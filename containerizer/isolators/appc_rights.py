# SPDX-License-Identifier: Apache-2.0
"""What the isolators of an AppC image take away from its app. Pure.

They only take away: what Mesos does not grant, no image gets.

Source: spec ``images`` 10.3; App Container specification, "Isolators".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mesos_compat.base.errors import IsolatorError
from mesos_compat.pb.mesos import mesos_pb2 as pb

_RETAIN = "os/linux/capabilities-retain-set"
_REMOVE = "os/linux/capabilities-remove-set"
NO_NEW_PRIVILEGES = "os/linux/no-new-privileges"
HONOURED = frozenset({_RETAIN, _REMOVE, NO_NEW_PRIVILEGES})

_PREFIX = "CAP_"

#: What an app has of which capabilities are removed.
_DEFAULT = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "KILL", "MKNOD", "NET_RAW"),
    *("NET_BIND_SERVICE", "SETUID", "SETGID", "SETPCAP", "SETFCAP", "SYS_CHROOT"),
)


def no_new_privileges(isolators: Mapping[str, Any]) -> bool:
    """Whether programs of the image give nobody more rights. Raises IsolatorError."""
    value = isolators.get(NO_NEW_PRIVILEGES, False)
    if not isinstance(value, bool):
        raise IsolatorError(f"The value of '{NO_NEW_PRIVILEGES}' in the image is no boolean")
    return value


def allowed_capabilities(isolators: Mapping[str, Any]) -> frozenset[int] | None:
    """Return the most capabilities that the app is to have; ``None`` if nothing is said.

    Unknown ones count for nothing. Raises IsolatorError.
    """
    if _RETAIN in isolators and _REMOVE in isolators:
        raise IsolatorError(f"The image has both '{_RETAIN}' and '{_REMOVE}'")
    if _RETAIN in isolators:
        return frozenset(_numbers(_names(isolators, _RETAIN)))
    if _REMOVE in isolators:
        return frozenset(_numbers(_DEFAULT)) - frozenset(_numbers(_names(isolators, _REMOVE)))
    return None


def _names(isolators: Mapping[str, Any], isolator: str) -> list[str]:
    value = isolators[isolator]
    found = value.get("set") if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise IsolatorError(f"The value of '{isolator}' in the image has no 'set' of names")
    return [name.upper().removeprefix(_PREFIX) for name in found]


def _numbers(names: list[str] | tuple[str, ...]) -> list[int]:
    known = pb.CapabilityInfo.Capability
    return [known.Value(name) for name in names if name in known.keys()]  # noqa: SIM118
