# SPDX-License-Identifier: Apache-2.0
"""Status updates on their way: through the pipeline of an executor, and to the master.

Source: spec ``agent-master`` 11.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mesos_compat.model.ids import FrameworkId, TaskId
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as messages

#: UUIDs of acknowledged updates remembered per task, the newest.
MAX_ACKNOWLEDGED = 10_000


@dataclass(frozen=True, slots=True)
class IncomingUpdate:
    """A status update on its way through the pipeline of its executor."""

    #: Nobody else's.
    update: messages.StatusUpdate
    from_executor: bool
    #: UPID text of whoever is to get the acknowledgement; empty: the executor's stream, if any.
    pid: str = ""


class IncomingQueue:
    """Status updates in order of arrival, and how many bytes they are."""

    __slots__ = ("_sizes", "_updates", "bytes")

    def __init__(self) -> None:
        self._updates: deque[IncomingUpdate] = deque()
        self._sizes: deque[int] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._updates)

    @property
    def head(self) -> IncomingUpdate:
        """The first one."""
        return self._updates[0]

    def append(self, update: IncomingUpdate) -> None:
        """Add an update at the end."""
        size = update.update.ByteSize()
        self._updates.append(update)
        self._sizes.append(size)
        self.bytes += size

    def popleft(self) -> IncomingUpdate:
        """Remove and return the first one."""
        self.bytes -= self._sizes.popleft()
        return self._updates.popleft()


@dataclass(slots=True)
class UpdateStream:
    """Unacknowledged updates of one task; the head is the only one in flight."""

    framework_id: FrameworkId
    task_id: TaskId
    queue: deque[messages.StatusUpdate] = field(default_factory=deque)
    #: Size of the messages in ``queue``.
    queued_bytes: int = 0
    received: set[bytes] = field(default_factory=set)
    #: Oldest first, at most MAX_ACKNOWLEDGED; all of them were received.
    acknowledged: dict[bytes, None] = field(default_factory=dict)
    #: Seconds until the head is sent again, if it was sent since the last resume.
    retry_s: float | None = None
    #: The file with its updates; empty if they are not kept.
    path: str = ""


@dataclass(slots=True)
class OperationStream:
    """Unacknowledged updates of one operation; the head is the only one in flight."""

    uuid: bytes
    queue: deque[messages.UpdateOperationStatusMessage] = field(default_factory=deque)
    acknowledged: set[bytes] = field(default_factory=set)
    #: Seconds until the head is sent again, if it was sent since the last resume.
    retry_s: float | None = None
