# SPDX-License-Identifier: Apache-2.0
"""Users and groups as the host knows them, and users that are known by numbers alone."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

#: What no user of the host is called: a uid, a gid and more groups.
_NUMBERS = re.compile(r"#(\d{1,10}):(\d{1,10})((?:,\d{1,10})*)")


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


def numbered(identity: Identity) -> str:
    """Return a text that stands for an identity where otherwise the name of a user does."""
    groups = "".join(f",{gid}" for gid in identity.groups)
    return f"#{identity.uid}:{identity.gid}{groups}"


def is_numbered(user: str) -> bool:
    """Whether ``user`` could be taken for a text of ``numbered``: nobody may send one to us."""
    return user.startswith("#")


def of_numbers(user: str) -> Identity | None:
    """Return the identity that ``numbered`` wrote; ``None`` for anything else."""
    found = _NUMBERS.fullmatch(user)
    if found is None:
        return None
    groups = tuple(int(gid) for gid in found[3].split(",") if gid)
    return Identity(int(found[1]), int(found[2]), groups)
