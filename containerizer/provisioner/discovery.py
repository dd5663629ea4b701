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


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image is: a local path or an HTTP URL."""

    path: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return self.path or self.url or ""


def usable_prefix(prefix: str) -> bool:
    """Whether images can be looked for below ``prefix``."""
    return prefix.startswith(("http://", "https://", "/", _FILE + "/"))


def locate(prefix: str, name: str, labels: Mapping[str, str], machine: str) -> Location:
    """Return where the image ``name`` with ``labels`` is. Raises ManifestError.

    Deviation: ``os`` and ``arch`` have defaults, those of this host; upstream refuses requests
    without them.
    """
    version = labels.get("version", "latest")
    system = labels.get("os", "linux")
    arch = labels.get("arch", _ARCHITECTURES.get(machine, machine))
    file = f"{name}-{version}-{system}-{arch}.aci"
    if not name or "\0" in file or ".." in file.split("/"):
        raise ManifestError(f"Failed to get discovery path for image '{name}': unusable name")
    if prefix.startswith(("http://", "https://")):
        try:
            return Location(url=prefix + quote(file, safe="/:~!$&'()*+,;=@"))
        except UnicodeEncodeError as error:
            raise ManifestError(
                f"Failed to get discovery path for image '{name}': unusable name"
            ) from error
    return Location(path=prefix.removeprefix(_FILE) + file)
