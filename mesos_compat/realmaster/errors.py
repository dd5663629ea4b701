# SPDX-License-Identifier: Apache-2.0
"""Why there is no real master to run."""

from mesos_compat.base.errors import MesosCompatError


class RealMasterError(MesosCompatError):
    """No real master can be had or started here; the text says what to do about it."""


class IndexUnusable(RealMasterError):
    """No package index, or none with the version that was asked for, could be read."""


class FileUnusable(RealMasterError):
    """A downloaded file is not what its index promised, or does not hold what it should."""


class RelinkError(RealMasterError):
    """A library is not the kind of ELF file that we know how to edit."""


class HostUnusable(RealMasterError):
    """This host lacks something that the library needs: CPU, libc or shared libraries."""
