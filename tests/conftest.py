# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Take a program that is run in here to task for a log that it leaves open.

    Its stream is closed with the test; from then on each line of all later tests is an error with a
    stack trace, and pytest keeps them all.
    """
    before = _handlers()
    yield
    assert _handlers() == before


def _handlers() -> list[logging.Handler]:
    found = logging.getLogger().handlers
    return [each for each in found if not type(each).__module__.startswith("_pytest")]
