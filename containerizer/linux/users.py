# SPDX-License-Identifier: Apache-2.0
"""Users and groups as the host knows them."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """All that a process needs to become somebody."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def uid_of(name: str) -> int | None:
    """Return the uid of a user; ``None`` if there is no such user."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def identity_of(name: str) -> Identity | None:
    """Return a user's uid, primary gid and groups; ``None`` if there is no such user."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    groups = os.getgrouplist(name, entry.pw_gid)
    return Identity(entry.pw_uid, entry.pw_gid, tuple(groups))
