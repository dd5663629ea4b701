# SPDX-License-Identifier: Apache-2.0
"""The user of an image: looked up in the image's own ``/etc/passwd`` and ``/etc/group``.

Both files are the image's and may be hostile: links in them lead nowhere outside, they are bounded,
and only numbers come out.

Source: OCI image specification, ``config`` "User"; App Container specification, "Image Manifest
Schema".
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from containerizer.linux import beneath
from containerizer.linux.users import Identity
from mesos_compat.base.errors import IsolatorError

_MAX_BYTES = 1 << 20
_MAX_ID = (1 << 32) - 2
_MAX_GROUPS = 1024


def image_user(rootfs: str, text: str) -> Identity:
    """Return who ``user``, ``uid``, ``user:group`` or a mix of both is.

    Without a group it is that of the user, or 0 for a uid that the image does not know. Raises
    IsolatorError if the image does not know a name. Blocks for a moment.
    """
    user, colon, group = text.partition(":")
    entry = _find(_lines(rootfs, "/etc/passwd", 7), user, 2)
    uid = _number(user) if entry is None else _number(entry[2])
    if uid is None:
        raise IsolatorError(f"The image has no user '{user}'")
    if colon:
        return Identity(uid, _group_id(rootfs, group), ())
    if entry is None:
        return Identity(uid, 0, ())
    own = _number(entry[3])
    if own is None:
        raise IsolatorError(f"The image has no group of user '{user}'")
    groups = [own]
    for each in _lines(rootfs, "/etc/group", 4):
        number = _number(each[2])
        if number is not None and entry[0] in each[3].split(","):
            groups.append(number)
    return Identity(uid, own, tuple(dict.fromkeys(groups))[:_MAX_GROUPS])


def appc_user(rootfs: str, user: str, group: str, gids: Sequence[int]) -> Identity:
    """Return who a user and a group of an AppC image are: names, numbers, or paths of files.

    A path means the owner and the group of the file. Raises IsolatorError. Blocks for a moment.
    """
    if user.startswith("/"):
        uid: int | None = _status(rootfs, user).st_uid
    else:
        entry = _find(_lines(rootfs, "/etc/passwd", 7), user, 2)
        uid = _number(user) if entry is None else _number(entry[2])
    if uid is None:
        raise IsolatorError(f"The image has no user '{user}'")
    if group.startswith("/"):
        gid = _status(rootfs, group).st_gid
    else:
        gid = _group_id(rootfs, group)
    return Identity(uid, gid, tuple(dict.fromkeys(gids))[:_MAX_GROUPS])


def _group_id(rootfs: str, group: str) -> int:
    """Return the id of a group by name or number. Raises IsolatorError for an unknown name."""
    found = _find(_lines(rootfs, "/etc/group", 4), group, 2)
    gid = _number(group) if found is None else _number(found[2])
    if gid is None:
        raise IsolatorError(f"The image has no group '{group}'")
    return gid


def _status(rootfs: str, path: str) -> os.stat_result:
    try:
        root = beneath.open_root(rootfs)
        try:
            found = beneath.open_in_root(root, path)
            try:
                return os.fstat(found)
            finally:
                os.close(found)
        finally:
            os.close(root)
    except OSError as error:
        raise IsolatorError(f"The image has no usable file '{path}'") from error


def _find(lines: list[list[str]], name: str, number: int) -> list[str] | None:
    """Return the entry of a name, else that of a number."""
    for column in (0, number):
        for entry in lines:
            if entry[column] == name:
                return entry
    return None


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID:
        return int(text)
    return None


def _lines(rootfs: str, path: str, columns: int) -> list[list[str]]:
    """Return the entries of a file; none if there is no such file."""
    data = b""
    with contextlib.suppress(OSError):
        data = _read(rootfs, path)
    entries = [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]
    return [entry for entry in entries if len(entry) >= columns and entry[0]]


def _read(rootfs: str, path: str) -> bytes:
    root = beneath.open_root(rootfs)
    try:
        found = beneath.open_in_root(root, path)
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                return b""
            with open(f"/proc/self/fd/{found}", "rb") as file:
                return file.read(_MAX_BYTES)
        finally:
            os.close(found)
    finally:
        os.close(root)
