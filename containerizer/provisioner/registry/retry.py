# SPDX-License-Identifier: Apache-2.0
"""When a registry is asked again: after broken connections, 429 and 5xx, with growing pauses.

Deviation: upstream never asks twice.

Source: RFC 9110 10.2.3; spec ``images`` 3.9, 7.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from containerizer.provisioner.registry.transport import TransientError

log = logging.getLogger(__name__)

#: Longest pause in seconds that a registry may ask for; it is refused if it wants more.
MAX_RETRY_AFTER_S = 60.0

_BACK_OFF = wait_exponential(multiplier=0.3, max=20.0) + wait_random(0.0, 0.3)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and at what pace to ask again."""

    #: Attempts in a row that bring nothing.
    attempts: int = 5
    #: Attempts altogether.
    most: int = 50
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def retrying(self, progress: Callable[[], int] = lambda: 0) -> AsyncRetrying:
        """Return tenacity's object for one thing that is asked for.

        ``progress`` only grows; as long as it does, attempts do not count.
        """
        before, since = progress(), 0

        def stop(state: RetryCallState) -> bool:
            nonlocal before, since
            now = progress()
            since, before = (1 if now > before else since + 1), now
            outcome = state.outcome
            error = None if outcome is None else outcome.exception()
            wanted = error.retry_after_s if isinstance(error, TransientError) else None
            if wanted is not None and wanted > MAX_RETRY_AFTER_S:
                return True
            return since >= self.attempts or state.attempt_number >= self.most

        return AsyncRetrying(
            stop=stop,
            wait=_wait,
            retry=retry_if_exception_type(TransientError),
            sleep=self.sleep,
            before_sleep=_say,
            reraise=True,
        )


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds in a ``Retry-After`` header; ``None`` if it says nothing usable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(min(int(value[:9]), 10**8))
    try:
        moment = email.utils.parsedate_to_datetime(value[:100])
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def _wait(state: RetryCallState) -> float:
    error = None if state.outcome is None else state.outcome.exception()
    wanted = error.retry_after_s if isinstance(error, TransientError) else None
    return max(_BACK_OFF(state), wanted or 0.0)


def _say(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    log.info("%s; asking again", error)
