# SPDX-License-Identifier: Apache-2.0
"""Who somebody is: what authentication found out about a client. Pure.

Source: spec ``operator-api`` 7.5 (printed form) and 8.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesos_compat.model.jsonpb import JsonObject, dumps


@dataclass(frozen=True, slots=True)
class Principal:
    """A client that authenticated itself; it has a value, claims, or both."""

    #: Name of a user, absent for holders of tokens.
    value: str | None
    #: What a token says about its holder.
    claims: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        """Return the form for logs and error texts: the value, or JSON if there are claims."""
        if self.value is not None and not self.claims:
            return self.value
        shown: JsonObject = {} if self.value is None else {"value": self.value}
        if self.claims:
            shown["claims"] = dict(sorted(self.claims.items()))
        return dumps(shown).decode("utf-8", "surrogateescape")
