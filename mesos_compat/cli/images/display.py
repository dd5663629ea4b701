# SPDX-License-Identifier: Apache-2.0
"""How far a pull is, on a terminal or as lines of text."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from containerizer.provisioner.progress import LayerState, PullProgress
from mesos_compat.base.log import printable
from mesos_compat.cli.containers.table import size

#: Draw so often at most.
_PERIOD_S = 0.1
_BAR = 24
_CLEAR = "\r\x1b[K"


class PullDisplay:
    """Draws one line again and again on a terminal; elsewhere says which layers are done."""

    def __init__(self, out: TextIO, *, terminal: bool) -> None:
        self._out = out
        self._terminal = terminal
        self._drawn_s = 0.0
        self._told: set[str] = set()

    def changed(self, pull: PullProgress) -> None:
        """Show how far ``pull`` is now."""
        if not self._terminal:
            self._tell(pull)
            return
        now = time.monotonic()
        if now - self._drawn_s >= _PERIOD_S:
            self._drawn_s = now
            columns = shutil.get_terminal_size().columns
            self._out.write(_CLEAR + bar(pull)[: columns - 1])
            self._out.flush()

    def end(self) -> None:
        """Leave an empty line to what comes next."""
        if self._terminal:
            self._out.write(_CLEAR)
            self._out.flush()

    def _tell(self, pull: PullProgress) -> None:
        for layer in pull.layers:
            if layer.digest in self._told:
                continue
            if layer.state in (LayerState.DONE, LayerState.PRESENT):
                self._told.add(layer.digest)
                word = "is here" if layer.state is LayerState.PRESENT else "pulled"
                self._out.write(f"{printable(layer.digest)}: {word}\n")


def bar(pull: PullProgress) -> str:
    """Return the line for a terminal: a bar, bytes, speed and layers."""
    name = printable(pull.reference)
    if not pull.layers:
        return f"{name}: {printable(pull.source) or 'resolving'} {pull.elapsed_s:.0f} s"
    needed = [layer for layer in pull.layers if layer.state is not LayerState.PRESENT]
    ready = sum(layer.state in (LayerState.DONE, LayerState.PRESENT) for layer in pull.layers)
    layers = f"{ready}/{len(pull.layers)} layers"
    speed = f"{size(int(pull.received / max(pull.elapsed_s, 0.001)))}/s"
    if any(layer.size is None for layer in needed):
        return f"{name}: {size(pull.received)}, {speed}, {layers}"
    total = sum(layer.size or 0 for layer in needed)
    received = sum(layer.received for layer in needed)
    done = min(_BAR, _BAR * received // total) if total else _BAR
    drawn = "=" * done + ">" * (done < _BAR) + " " * (_BAR - done - 1)
    return f"{name}: [{drawn}] {size(received)} of {size(total)}, {speed}, {layers}"
