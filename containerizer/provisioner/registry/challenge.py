# SPDX-License-Identifier: Apache-2.0
"""The ``WWW-Authenticate`` header of a reply. Pure.

Source: RFC 9110 11.6.1; spec ``images`` 8.5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesos_compat.base.errors import WireError

# Registries write what these read: no two parts in a row match the same characters.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:[ \t]+|\s*(?=,)|\s*$)")
_PARAMETER = re.compile(
    rf"\s*(?:,\s*)?({_TOKEN})[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}))[ \t]*(?=,|$)"
)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")

#: Longest header that is looked at.
_MAX_LENGTH = 16384


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate. Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Return all challenges of a reply. Raises WireError."""
    found: list[Challenge] = []
    for header in headers:
        if len(header) > _MAX_LENGTH:
            raise WireError(f"more than {_MAX_LENGTH} characters")
        found += _parse(header)
    return found


def _parse(header: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while header[position:].strip(" \t,"):
        scheme = _SCHEME.match(header, position)
        if scheme is None:
            raise WireError(f"'{header[position : position + 100]}' is no challenge")
        position = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(header, position)) is not None:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name.lower(), value)
            position = parameter.end()
        opaque = None if parameters else _TOKEN68.match(header, position)
        if opaque is not None and header[position - 1] in " \t":
            position = opaque.end()  # "Negotiate abc=="
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
