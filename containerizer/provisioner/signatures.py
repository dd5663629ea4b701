# SPDX-License-Identifier: Apache-2.0
"""Detached OpenPGP signatures of AppC images, checked by ``gpgv`` of GnuPG.

Trusted keys are files, armoured or not, in a directory that the operator keeps: those in it and in
``root.d`` may sign any image, those in ``prefix.d/<name with "," for "/">`` and
``prefix.d/<name>`` only images whose names begin so.

Source: spec ``images`` 10.3; gpgv(1), GnuPG ``doc/DETAILS`` for the status lines; RFC 9580 for
ASCII armour.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
from collections.abc import Iterator, Sequence

from containerizer.provisioner.offload import in_thread
from mesos_compat.base import procs
from mesos_compat.base.errors import ProvisionError

log = logging.getLogger(__name__)

#: Bytes of one key file or signature.
MAX_BYTES = 1 << 20

#: Most files of keys for one image.
_MAX_KEYS = 100

_TIMEOUT_S = 300.0

_BEGIN = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = b"-----END PGP PUBLIC KEY BLOCK-----"
#: Characters of the line with a checksum.
_CHECKSUM = 5
_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{40,64})( .*)?$", re.MULTILINE)
_GOOD = re.compile(r"^\[GNUPG:\] GOODSIG ", re.MULTILINE)


def trusted_keys(directory: str, name: str) -> list[bytes]:
    """Read the keys that may sign the image ``name``. Blocks. Raises ProvisionError."""
    found: list[bytes] = []
    try:
        for folder in [directory, os.path.join(directory, "root.d"), *_prefixes(directory, name)]:
            found += _keys_in(folder)
    except OSError as error:
        raise ProvisionError(
            f"Failed to read the trusted keys in '{directory}': {error.strerror}"
        ) from error
    if len(found) > _MAX_KEYS:
        raise ProvisionError(f"More than {_MAX_KEYS} keys in '{directory}' may sign '{name}'")
    return found


def dearmoured(key: bytes) -> bytes:
    """Return a file of public keys in binary form, which is what gpgv reads.

    Raises ProvisionError.
    """
    if b"-----BEGIN PGP" not in key:
        return key
    made = b""
    try:
        for block in _blocks(key):
            made += base64.b64decode(block, validate=True)
    except binascii.Error as error:
        raise ProvisionError(f"A key is damaged: {error}") from error
    if not made:
        raise ProvisionError("A key is damaged: there is no block of public keys in it")
    return made


def _blocks(key: bytes) -> Iterator[bytes]:
    """Yield what is in base64 between headers and checksum.

    Keys come from sites, too, so this takes no longer than they are large.
    """
    for part in key.split(_BEGIN)[1:]:
        inside, end, _ = part.partition(_END)
        lines = [line.strip() for line in inside.splitlines()]
        if not end or b"" not in lines[1:]:
            continue
        content = [line for line in lines[lines.index(b"", 1) :] if line]
        if content and len(content[-1]) == _CHECKSUM and content[-1].startswith(b"="):
            content.pop()
        yield b"".join(content)


async def verify(image: str, signature: str, keys: Sequence[bytes], scratch: str) -> str:
    """Check that one of ``keys`` signed the file ``image``; return its fingerprint.

    ``scratch`` is a directory to work in. Raises ProvisionError.
    """
    if not keys:
        raise ProvisionError("no trusted key may sign it")
    arguments = ["gpgv", "--homedir", scratch, "--status-fd", "1", "--weak-digest", "SHA1"]
    for number, key in enumerate(keys):
        path = os.path.join(scratch, f"key-{number}.gpg")
        await in_thread(_write_key, path, key)
        arguments += ["--keyring", path]
    try:
        ended = await procs.run(
            [*arguments, "--", signature, image],
            timeout_s=_TIMEOUT_S,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )
    except procs.ProgramError as error:
        raise ProvisionError(f"Failed to check the signature: {error}") from error
    status = ended.stdout.decode("utf-8", "replace")
    valid = _VALID.search(status)
    if ended.exit_code != 0 or valid is None or _GOOD.search(status) is None:
        words = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        raise ProvisionError(f"its signature is not good: {words}")
    # the last word names the main key, the first one that which signed
    return (valid[2] or valid[1]).split()[-1]


def _prefixes(directory: str, name: str) -> list[str]:
    """Return the directories of keys for ``name`` and what it begins with, at whole parts."""
    parts = name.split("/")
    found = []
    for count in range(1, len(parts) + 1):
        part = parts[:count]
        if any(each in ("", ".", "..") or "\0" in each for each in part):
            break
        found.append(os.path.join(directory, "prefix.d", ",".join(part)))
        if count > 1:
            found.append(os.path.join(directory, "prefix.d", *part))
    return found


def _keys_in(folder: str) -> list[bytes]:
    found: list[bytes] = []
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return found
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not name.startswith("."):
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                log.warning("Ignoring the key '%s': it has more than %d bytes", path, MAX_BYTES)
                continue
            found.append(data)
    return found


def _write_key(path: str, key: bytes) -> None:
    with open(path, "xb") as file:
        file.write(dearmoured(key))
