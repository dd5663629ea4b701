# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures, made by ``gpg``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_gpg = pytest.mark.skipif(
    shutil.which("gpg") is None or shutil.which("gpgv") is None,
    reason="needs gpg and gpgv (Debian: gnupg, gpgv)",
)


class Signer:
    """Somebody with a key; ``folder`` is new and short, as the socket of gpg-agent is in it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)
        self._gpg("--quick-generate-key", f"{name} <{name}@example.com>", "ed25519", "sign", "0")

    def key(self, *, armour: bool = True) -> bytes:
        """Return the public key."""
        return self._gpg(*(["--armor"] if armour else []), "--export")

    def sign(self, path: Path) -> bytes:
        """Return a detached signature of a file."""
        return self._gpg("--armor", "--output", "-", "--detach-sign", str(path))

    def close(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self._folder), "--kill", "all"],
            check=False,
            capture_output=True,
        )

    def _gpg(self, *arguments: str) -> bytes:
        base = ["gpg", "--homedir", str(self._folder), "--batch", "--quiet", "--passphrase", ""]
        ended = subprocess.run(
            [*base, "--pinentry-mode", "loopback", *arguments], check=True, capture_output=True
        )
        return ended.stdout
