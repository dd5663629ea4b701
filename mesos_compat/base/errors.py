# SPDX-License-Identifier: Apache-2.0
"""The root of all exceptions that we raise on purpose, and their few categories.

The text of each is fit for an operator. Callers test the class, never the text.
"""


class MesosCompatError(Exception):
    """Root of every expected failure."""


class FlagError(MesosCompatError):
    """A flag, an environment variable or a configuration is unusable: the program exits with 1."""


class WireError(MesosCompatError):
    """Input of a peer is unusable. libprocess drops and logs it, HTTP answers 4xx."""


class ApiError(MesosCompatError):
    """An HTTP request ends with ``status`` and the plain-text ``body``."""

    def __init__(self, status: int, body: str = "") -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class AuthorizationError(MesosCompatError):
    """It could not be found out whether somebody may do something: nobody may."""


class CheckpointError(MesosCompatError):
    """A file of the work, meta or runtime directory cannot be read or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class ContainerError(MesosCompatError):
    """A container operation failed; the text becomes part of a task status."""


class LaunchAborted(ContainerError):
    """A container was destroyed while it was being launched."""


class LaunchError(ContainerError):
    """The launcher could not start the init process of a container."""


class IsolatorError(ContainerError):
    """An isolator refused to start or failed in one of its verbs."""


class ProvisionError(ContainerError):
    """An image could not be turned into a root file system."""


class BackendError(ProvisionError):
    """A backend cannot make the root file system of an image that another may be able to make."""


class ManifestError(ProvisionError):
    """A document of an image (reference, index, manifest, configuration) is unusable."""


class UnpackError(ProvisionError):
    """A layer or image archive is unusable, truncated or hostile."""


class RegistryError(ProvisionError):
    """A registry cannot be reached, refuses, or answers nonsense."""


class FetchError(ContainerError):
    """A URI could not be fetched."""


class InvariantError(Exception):
    """Our own bug. Outside the tree above, never caught: it stops the program with its story."""
