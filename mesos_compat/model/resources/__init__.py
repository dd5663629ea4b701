# SPDX-License-Identifier: Apache-2.0
"""Resources: their algebra, formats, text and rules."""

from mesos_compat.model.resources.algebra import EMPTY, Resources
from mesos_compat.model.resources.formats import (
    downgrade,
    downgrade_all,
    upgrade,
    upgrade_all,
)
from mesos_compat.model.resources.rules import (
    is_dynamically_reserved,
    is_persistent_volume,
    needs_checkpointing,
    resource_error,
    role_error,
)
from mesos_compat.model.resources.text import format_resource, parse_resources, resource_of

__all__ = [
    "EMPTY",
    "Resources",
    "downgrade",
    "downgrade_all",
    "format_resource",
    "is_dynamically_reserved",
    "is_persistent_volume",
    "needs_checkpointing",
    "parse_resources",
    "resource_error",
    "resource_of",
    "role_error",
    "upgrade",
    "upgrade_all",
]
