# SPDX-License-Identifier: Apache-2.0
"""Which archive of a local folder is meant by the name of an image.

The stores take names to the letter, as agents have to; who types a name means ``busybox``,
``busybox:latest`` and ``docker.io/library/busybox`` alike.

Source: spec ``images`` 6.
"""

from __future__ import annotations

from collections.abc import Iterator

from containerizer.provisioner.reference import DEFAULT_TAG, Reference
from containerizer.provisioner.stores.archive_puller import find_archive

_HUB = "docker.io"


def archive_name(folder: str, text: str) -> str:
    """Return the name under which ``folder`` has the image; ``text`` itself if it has none.

    Raises ManifestError.
    """
    for name in dict.fromkeys([text, *_same(Reference.parse(text))]):
        if find_archive(folder, name) is not None:
            return name
    return text


def _same(reference: Reference) -> Iterator[str]:
    """Yield the names of the same image, the shortest first."""
    repositories = [reference.familiar]
    if reference.on_hub:
        plain = "/" not in reference.familiar
        full = f"library/{reference.familiar}" if plain else reference.familiar
        repositories += [full, f"{_HUB}/{full}", f"{_HUB}/{reference.familiar}"]
    for repository in repositories:
        if reference.digest is not None:
            yield f"{repository}@{reference.digest}"
        elif reference.tag in (None, DEFAULT_TAG):
            yield repository
            yield f"{repository}:{DEFAULT_TAG}"
        else:
            yield f"{repository}:{reference.tag}"
