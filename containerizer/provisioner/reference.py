# SPDX-License-Identifier: Apache-2.0
"""Image references: ``[REGISTRY/]REPOSITORY[:TAG][@DIGEST]``. Pure.

Nothing is filled in: the text of a reference is the key of the cache and the name of the local
archive, so ``busybox`` and ``busybox:latest`` are two images.

Source: spec ``images`` 5.2, 6; upstream ``docker/spec.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesos_compat.base.errors import ManifestError

#: Longest text of a reference that we look at; registries allow far less.
MAX_LENGTH = 4096

DEFAULT_TAG = "latest"

#: Names of Docker's own registry, which ``docker save`` leaves out.
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; absent parts are ``None``."""

    repository: str
    registry: str | None = None
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Split ``text``. Raises ManifestError.

        Deviation: what cannot be the name of a file below a directory (an empty name, ``..``, a
        NUL byte) is refused; upstream looks such names up outside of ``--docker_registry``.
        """
        why = _unusable(text)
        if why is not None:
            raise ManifestError(f"Failed to parse docker image '{text}': {why}")
        rest, at, digest = text.partition("@")
        tag: str | None = None
        head, colon, tail = rest.rpartition(":")
        if colon and "/" not in tail:
            rest, tag = head, tail
        first, slash, remainder = rest.partition("/")
        registry: str | None = None
        repository = rest
        if slash and ("." in first or ":" in first or first == "localhost"):
            registry, repository = first, remainder
        if not repository:
            raise ManifestError(f"Failed to parse docker image '{text}': No repository")
        return cls(repository, registry, tag, digest if at else None)

    def __str__(self) -> str:
        text = self.repository if self.registry is None else f"{self.registry}/{self.repository}"
        if self.digest is not None:
            return f"{text}@{self.digest}"
        return text if self.tag is None else f"{text}:{self.tag}"

    @property
    def name(self) -> str:
        """Registry and repository."""
        return self.repository if self.registry is None else f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The name as Docker shows it: without its own registry and without ``library/``."""
        name = self.repository
        if not self.on_hub:
            return self.name
        return name.removeprefix("library/")

    @property
    def on_hub(self) -> bool:
        """Whether Docker's own registry is meant, by its name or by none."""
        return self.registry is None or self.registry in _DOCKER_HUB

    def same_image(self, other: Reference) -> bool:
        """Whether both mean one tag of one repository, whatever they leave to the defaults."""
        return self.familiar == other.familiar and (self.tag or DEFAULT_TAG) == (
            other.tag or DEFAULT_TAG
        )


def _unusable(text: str) -> str | None:
    if text.count("@") > 1:
        return "Multiple '@' symbols found"
    if not text:
        return "The name is empty"
    if len(text) > MAX_LENGTH:
        return f"The name is longer than {MAX_LENGTH} characters"
    if "\0" in text:
        return "The name contains a NUL character"
    if ".." in text.split("/"):
        return "The name contains '..'"
    return None
