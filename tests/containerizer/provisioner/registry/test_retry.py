# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime

import pytest

from containerizer.provisioner.registry.retry import RetryPolicy, retry_after_s
from containerizer.provisioner.registry.transport import TransientError
from mesos_compat.base.errors import RegistryError

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("-5", None),
        ("9" * 1000, 1e8),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("tomorrow", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


class Clock:
    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


async def fail(policy: RetryPolicy, errors: list[Exception], progress: list[int]) -> int:
    calls = 0
    async for attempt in policy.retrying(lambda: progress[0]):
        with attempt:
            calls += 1
            if errors:
                raise errors.pop(0)
    return calls


async def test_pauses_grow() -> None:
    clock = Clock()
    errors: list[Exception] = [TransientError("x") for _ in range(4)]
    assert await fail(RetryPolicy(sleep=clock.sleep), errors, [0]) == 5
    assert len(clock.pauses) == 4
    assert clock.pauses[3] > clock.pauses[0]


async def test_end() -> None:
    clock = Clock()
    errors: list[Exception] = [TransientError("x") for _ in range(9)]
    with pytest.raises(TransientError):
        await fail(RetryPolicy(sleep=clock.sleep), errors, [0])
    assert len(clock.pauses) == 4


async def test_other_failures_are_final() -> None:
    clock = Clock()
    with pytest.raises(RegistryError):
        await fail(RetryPolicy(sleep=clock.sleep), [RegistryError("x")], [0])
    assert clock.pauses == []


async def test_progress_counts() -> None:
    position = [0]

    async def sleep(seconds: float) -> None:
        position[0] += 1

    errors: list[Exception] = [TransientError("x") for _ in range(40)]
    assert await fail(RetryPolicy(sleep=sleep), errors, position) == 41
    errors = [TransientError("x") for _ in range(60)]
    with pytest.raises(TransientError):
        await fail(RetryPolicy(sleep=sleep), errors, position)
    assert len(errors) == 10


async def test_what_the_registry_wants() -> None:
    clock = Clock()
    error = TransientError("x")
    error.retry_after_s = 7.0
    assert await fail(RetryPolicy(sleep=clock.sleep), [error], [0]) == 2
    assert clock.pauses == [7.0]
    error.retry_after_s = 3600.0
    with pytest.raises(TransientError):
        await fail(RetryPolicy(sleep=clock.sleep), [error], [0])
    assert clock.pauses == [7.0]
