# SPDX-License-Identifier: Apache-2.0
"""The one writer of the agent's state: takes events in order, steps the machine, runs effects.

Nothing a peer sends ends the agent: a step that fails is logged and its event dropped, as long as
the state is sound. A state that contradicts itself stops the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping

from containerizer.api import Containerizer
from mesos_compat.agent.machine.effects import Effect
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.invariants import check
from mesos_compat.agent.machine.state import AgentState
from mesos_compat.agent.machine.step import step
from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import InvariantError
from mesos_compat.base.metrics import Metrics

log = logging.getLogger(__name__)

#: Random bytes of the process, and those of an event's number. Both go with each event, whose
#: random numbers the machine makes with a hash function that has them as key.
_SECRET_BYTES = 32
_NUMBER_BYTES = 8
#: Events that are remembered for the story of a failure.
_STORY_EVENTS = 50

Run = Callable[[Effect], Event | None]


class AgentLoop:
    """The agent at work; what HTTP handlers see of it is ``AgentPort``.

    ``start`` connects it with its runner. ``failed`` is called once with an InvariantError.
    """

    def __init__(
        self,
        state: AgentState,
        containerizer: Containerizer,
        flags: Mapping[str, str],
        metrics: Metrics,
        files: Mapping[str, str],
        clock: Clock,
        failed: Callable[[InvariantError], None],
    ) -> None:
        self.state = state
        self.containerizer = containerizer
        #: Displayed value of each flag that has one, by name.
        self.flags = flags
        self.metrics = metrics
        #: Real path of each attached virtual path.
        self.files = files
        self._clock = clock
        self._failed = failed
        self._run: Run | None = None
        self._queue: deque[Event] = deque()
        self._scheduled = False
        self._number = 0
        self._story: deque[tuple[int, type[Event]]] = deque(maxlen=_STORY_EVENTS)
        #: What the random bytes of events are made of; nobody can guess it.
        self._secret = os.urandom(_SECRET_BYTES)

    def start(self, run: Run) -> None:
        """Begin to handle events, those submitted before included."""
        self._run = run
        self._schedule()

    def stop(self) -> None:
        """Handle no more events."""
        self._run = None
        self._queue.clear()

    def submit(self, event: Event) -> None:
        """Queue an event; it is handled when the caller has given up control.

        What arrives between two turns of the event loop bounds the queue: it is emptied at each.
        """
        self._queue.append(event)
        self._schedule()

    def _schedule(self) -> None:
        if self._run is not None and self._queue and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        try:
            while self._queue and self._run is not None:
                self._handle(self._queue.popleft())
        except InvariantError as error:
            self.stop()
            story = ", ".join(f"{number} {kind.__name__}" for number, kind in self._story)
            log.critical("%s; the last events were: %s", error, story)
            self._failed(error)

    def _handle(self, event: Event) -> None:
        self._number += 1
        number, name = self._number, type(event).__name__
        self._story.append((number, type(event)))
        entropy = self._secret + number.to_bytes(_NUMBER_BYTES, "big")
        try:
            effects = step(self.state, event, self._clock.time(), entropy)
        except InvariantError:
            raise
        except Exception:
            log.exception("Event %d (%s) cannot be handled and is dropped", number, name)
            check(self.state)
            return
        if log.isEnabledFor(logging.DEBUG):
            asked = ", ".join(type(effect).__name__ for effect in effects)
            log.debug("Event %d: %s → %s", number, name, asked or "nothing")
        answers: list[Event] = []
        for effect in effects:
            if self._run is None:
                return
            try:
                answer = self._run(effect)
            except InvariantError:
                raise
            except Exception:
                kind = type(effect).__name__
                log.exception("Event %d (%s): %s failed and is left out", number, name, kind)
                continue
            if answer is not None:
                answers.append(answer)
        # Before all that came meanwhile, but never amid the effects of one event.
        self._queue.extendleft(reversed(answers))
