# SPDX-License-Identifier: Apache-2.0
"""How far pulls of images are: for logs, endpoints and terminals."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mesos_compat.model.jsonpb import JsonObject, JsonValue


class LayerState(enum.Enum):
    """What happens to a layer."""

    WAITING = "waiting"
    #: Downloaded and unpacked, which goes on at the same time.
    PULLING = "pulling"
    #: The last byte has come; it is unpacked and checked.
    FINISHING = "finishing"
    DONE = "done"
    #: It was here before.
    PRESENT = "present"


class LayerProgress:
    """How far one layer is. Pulls that share it share this."""

    def __init__(self, digest: str, size: int | None) -> None:
        self.digest = digest
        #: Bytes of the blob, if the manifest says.
        self.size = size
        self.received = 0
        self.state = LayerState.WAITING


class PullProgress:
    """How far one pull is."""

    def __init__(self, reference: str, changed: Callable[[PullProgress], None]) -> None:
        self.reference = reference
        #: What it is pulled from; empty before that is known.
        self.source = ""
        self.layers: list[LayerProgress] = []
        self._started = time.monotonic()
        self._changed = changed

    @property
    def elapsed_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    @property
    def received(self) -> int:
        """Bytes of blobs that have come."""
        return sum(layer.received for layer in self.layers)

    def changed(self) -> None:
        """Tell whoever watches that something changed."""
        self._changed(self)

    def document(self) -> JsonObject:
        """Return all of it for a JSON document."""
        layers: list[JsonValue] = []
        for layer in self.layers:
            size: JsonObject = {} if layer.size is None else {"size_bytes": layer.size}
            layers.append(
                {
                    "digest": layer.digest,
                    "state": layer.state.value,
                    "received_bytes": layer.received,
                    **size,
                }
            )
        return {
            "image": self.reference,
            "source": self.source,
            "elapsed_secs": round(self.elapsed_s, 3),
            "layers": layers,
        }


class PullTable:
    """The pulls that are under way. Used from one event loop."""

    def __init__(self) -> None:
        self._running: list[PullProgress] = []
        self._watchers: list[Callable[[PullProgress], None]] = []

    @property
    def running(self) -> tuple[PullProgress, ...]:
        """All pulls, the oldest first."""
        return tuple(self._running)

    def documents(self) -> list[JsonValue]:
        """Return all pulls for a JSON document."""
        return [pull.document() for pull in self._running]

    def watch(self, watcher: Callable[[PullProgress], None]) -> Callable[[], None]:
        """Call ``watcher`` whenever a pull changed, often; return what ends that.

        It must neither block nor raise.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    @contextmanager
    def pull(self, reference: str) -> Iterator[PullProgress]:
        """Have a pull in the table for the block."""
        made = PullProgress(reference, self._tell)
        self._running.append(made)
        self._tell(made)
        try:
            yield made
        finally:
            self._running.remove(made)
            self._tell(made)

    def _tell(self, pull: PullProgress) -> None:
        for watcher in tuple(self._watchers):
            watcher(pull)
