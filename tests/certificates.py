# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by openssl: an authority and what it signed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Paths of a certificate and its key."""

    cert: str
    key: str


class Authority:
    """Signs certificates; all its files are in ``folder``."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        self.cert = str(folder / f"{name}.pem")
        self._key = str(folder / f"{name}.key")
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"),
            *(f"/CN=authority {name}", "-keyout", self._key, "-out", self.cert),
        )

    def sign(self, name: str, *alternatives: str) -> Certificate:
        """Make a certificate for a common name and alternative ones (``DNS:x``, ``IP:1.2.3.4``)."""
        made = Certificate(*(str(self._folder / f"{name}.{end}") for end in ("pem", "key")))
        request = str(self._folder / f"{name}.csr")
        _openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", made.key, "-out", request),
        )
        extensions = self._folder / f"{name}.ext"
        names = f"subjectAltName={','.join(alternatives)}\n" if alternatives else ""
        extensions.write_text(f"basicConstraints=CA:FALSE\n{names}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key),
            *("-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", made.cert),
        )
        return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
