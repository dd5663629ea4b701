# SPDX-License-Identifier: Apache-2.0
"""All ``cgroups/…`` names, in the version that this host has.

Source: spec ``isolators-resources`` 3.1.
"""

from __future__ import annotations

from containerizer.isolators.base import Isolator
from containerizer.isolators.cgroups.v1 import CgroupsIsolator
from containerizer.isolators.cgroups.v2 import CgroupsV2Isolator
from containerizer.isolators.context import IsolatorContext
from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import CgroupLayout


class AnyCgroupsIsolator(Isolator):
    """The door: what it creates is one of the two."""

    @classmethod
    def create(cls, context: IsolatorContext) -> Isolator:
        """Make the isolator for the cgroups of this host; hybrid hosts count as version 1."""
        if cgroup1.layout() is CgroupLayout.V2:
            return CgroupsV2Isolator.create(context)
        return CgroupsIsolator.create(context)
