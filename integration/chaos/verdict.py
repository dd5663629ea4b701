# SPDX-License-Identifier: Apache-2.0
"""What framework, master and agent say of each task, and where they do not agree. Pure.

Source: spec ``agent-master`` 6.9, 7.1, 9.2.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from integration.frameworks.crowd import KINDS, Update
from integration.frameworks.director import TERMINAL

#: What masters say of tasks on an agent that is not there; it may still bring their ends.
_AWAY = frozenset(("TASK_LOST", "TASK_UNREACHABLE", "TASK_UNKNOWN"))
#: The end of a task that the framework was never told another one of.
_LOST = "TASK_LOST"
_FINISHED = "TASK_FINISHED"


@dataclass(frozen=True, slots=True)
class Book:
    """What a framework was told of one task."""

    name: str
    #: What was launched: one of ``KINDS``.
    kind: str
    updates: tuple[Update, ...]

    @property
    def end(self) -> str | None:
        """The state in which it ended for good; None if it did not, or was given up only."""
        return next((update.state for update in self.updates if update.final), None)

    @property
    def given_up(self) -> bool:
        """Whether a master told that its agent is not there."""
        return any(update.state in _AWAY - {"TASK_UNKNOWN"} for update in self.updates)

    def problems(self) -> Iterator[str]:
        """What must not be told of a task."""
        if self.end is None and [update.state for update in self.updates[-1:]] != [_LOST]:
            yield f"{self} has not ended"
        if self.end == "TASK_ERROR" or (self.end == _FINISHED and KINDS[self.kind][1] != _FINISHED):
            yield f"{self}, which {self.kind}, cannot have ended so"
        ended = False
        for update in self.updates:
            if ended and update.state != self.end and not _away(update):
                yield f"{self} goes on after its end"
                return
            ended = ended or update.final
            if update.foretold and update.state in TERMINAL - {self.end}:
                yield f"{self} was to end otherwise"

    def __str__(self) -> str:
        """All that came, for messages."""
        told = " → ".join(
            f"{update.state} at {update.at_s} ({update.source} {update.reason} {update.message!r})"
            for update in self.updates
        )
        return f"{self.name} [{told}]"


def disagreements(
    who: str,
    books: Mapping[str, Book],
    seen: Iterable[tuple[str, str]],
    *,
    shuts_down: bool,
) -> Iterator[str]:
    """Compare the books with the tasks and states that somebody else has.

    ``shuts_down``: masters before 1.5 have an agent that comes back shut down the frameworks that
    are not partition-aware, which were told TASK_LOST of all that it ran. No updates follow, so
    the agent keeps whatever states these tasks had, and tells them to the next master among its
    completed frameworks (6.3).
    """
    for name, state in seen:
        book = books.get(name)
        if book is None:
            yield f"{who} knows {name}, which nobody launched"
            continue
        end = book.end or _LOST
        if state != end and not (shuts_down and end == _LOST):
            yield f"{who} has {state} for {book}"


def ends(books: Iterable[Book]) -> dict[str, int]:
    """Return how many tasks ended in each state; those that were given up count as TASK_LOST."""
    return dict(Counter(book.end or _LOST for book in books))


def _away(update: Update) -> bool:
    """Whether a master tells nothing but that an agent is not there.

    It does so of all tasks whose last update is not acknowledged, those that ended included.
    """
    return update.state in _AWAY and update.source == "SOURCE_MASTER"
