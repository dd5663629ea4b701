# SPDX-License-Identifier: Apache-2.0
"""AppC simple discovery: from the name and labels of an image to where its file is. Pure.

Source: spec ``images`` 10.2; upstream ``provisioner/appc/fetcher.cpp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from mesos_compat.base.errors import ManifestError

#: Machine names of Linux → values of the label ``arch``, where they differ.
_ARCHITECTURES = {"x86_64": "amd64", "i686": "i386"}

_FILE = "file://"
_HDFS = "hdfs://"


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image is: a local path or a URL (``http``, ``https`` or ``hdfs``)."""

    path: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return self.path or self.url or ""

    @property
    def signature(self) -> Location:
        """Where the signature of the image is."""
        return Location(
            None if self.path is None else f"{self.path}.asc",
            None if self.url is None else f"{self.url}.asc",
        )


def usable_prefix(prefix: str) -> bool:
    """Whether images can be looked for below ``prefix``."""
    return prefix.startswith(("http://", "https://", _HDFS, "/", _FILE + "/"))


def defaulted(labels: Mapping[str, str], machine: str) -> dict[str, str]:
    """Return ``labels`` with ``version``, ``os`` and ``arch``: if missing, the latest for us."""
    arch = _ARCHITECTURES.get(machine, machine)
    return {"version": "latest", "os": "linux", "arch": arch, **labels}


def locate(prefix: str, name: str, labels: Mapping[str, str], machine: str) -> Location:
    """Return where the image ``name`` with ``labels`` is. Raises ManifestError.

    Deviation: ``os`` and ``arch`` have defaults, those of this host; upstream refuses requests
    without them.
    """
    known = defaulted(labels, machine)
    file = f"{name}-{known['version']}-{known['os']}-{known['arch']}.aci"
    if not name or "\0" in file or ".." in file.split("/"):
        raise ManifestError(f"Failed to get discovery path for image '{name}': unusable name")
    if prefix.startswith(("http://", "https://")):
        try:
            return Location(url=prefix + quote(file, safe="/:~!$&'()*+,;=@"))
        except UnicodeEncodeError as error:
            raise ManifestError(
                f"Failed to get discovery path for image '{name}': unusable name"
            ) from error
    if prefix.startswith(_HDFS):
        return Location(url=prefix + file)
    return Location(path=prefix.removeprefix(_FILE) + file)
