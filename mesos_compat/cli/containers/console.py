# SPDX-License-Identifier: Apache-2.0
"""The input, output and terminal of a command that waits for a container.

Descriptors that are no terminals are handed to the container as they are. Terminals never are:
who has one could type into it. They are served by threads that copy, so a slow reader on either
side slows the container down and nothing else.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import fcntl
import os
import signal
import struct
import termios
import threading
import tty
from collections.abc import AsyncIterator, Callable, Sequence

from containerizer.launcher.base import Stdio
from containerizer.local.attached import Attachment
from mesos_compat.base.errors import ContainerError

_PIECE = 65536
#: Pieces of input that wait for somebody to take them.
_PENDING = 4
_WINDOW = struct.Struct("HHHH")
#: Seconds that output gets to be written once the container is gone.
_DRAIN_S = 5.0


class Console:
    """Descriptors for one container. ``open``, ``begin`` once it runs, at last ``close``."""

    def __init__(
        self, *, interactive: bool, terminal: bool, own: Sequence[int] = (0, 1, 2)
    ) -> None:
        """With ``terminal`` the container gets one; ``own`` are our descriptors."""
        self.interactive = interactive
        self.terminal = terminal
        self._stdin, self._stdout, self._stderr = own
        #: The container's ends, ours until it has them.
        self._theirs: list[int] = []
        #: What has to be copied from where to where once the container runs.
        self._copies: list[tuple[int, int, Callable[[int, int], None]]] = []
        self._output: list[threading.Thread] = []
        self._master = -1
        self._raw: RawTerminal | None = None

    def open(self) -> Attachment:
        """Make the descriptors. Raises ContainerError if a terminal is wanted and there is none."""
        if not self.terminal:
            return Attachment(self._pipes())
        if self.interactive and not os.isatty(self._stdin):
            raise ContainerError("The input is no terminal: leave out -t")
        try:
            self._master, slave = os.openpty()
        except OSError as error:
            raise ContainerError(f"Cannot make a terminal: {error.strerror}") from error
        os.set_inheritable(slave, False)
        self._theirs.append(slave)
        self._resize()
        self._copies.append((self._master, self._stdout, _copy_out))
        if self.interactive:
            self._copies.append((self._stdin, self._master, _copy_in))
        return Attachment(Stdio(slave, slave, slave), terminal=os.ttyname(slave))

    def begin(self) -> None:
        """Start to copy: the container has its descriptors."""
        if not self.terminal:
            self._let_go()
        elif self.interactive:
            self._raw = RawTerminal(True, self._resize, self._stdin).__enter__()
            # The size may have changed while the container was made.
            self._resize()
        for source, sink, copy in self._copies:
            # Whoever waits for input cannot be stopped; the end of the program ends it.
            thread = threading.Thread(target=copy, args=(source, sink), daemon=True)
            thread.start()
            if copy is _copy_out:
                self._output.append(thread)

    async def close(self) -> None:
        """Write what is left of the output and set our own terminal back."""
        self._let_go()
        for thread in self._output:
            await asyncio.to_thread(thread.join, _DRAIN_S)
        if self._raw is not None:
            self._raw.__exit__()
            self._raw = None
        for source, _, copy in self._copies:
            if copy is _copy_out:
                with contextlib.suppress(OSError):
                    os.close(source)
        self._copies.clear()

    def _pipes(self) -> Stdio:
        if not self.interactive:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._theirs.append(stdin)
        elif os.isatty(self._stdin):
            stdin, write = os.pipe()
            self._theirs.append(stdin)
            self._copies.append((self._stdin, write, _copy_in))
        else:
            stdin = self._stdin
        return Stdio(stdin, self._output_end(self._stdout), self._output_end(self._stderr))

    def _output_end(self, own: int) -> int:
        if not os.isatty(own):
            return own
        read, theirs = os.pipe()
        self._theirs.append(theirs)
        self._copies.append((read, own, _copy_out))
        return theirs

    def _let_go(self) -> None:
        """Close the container's ends, so that its end is seen."""
        while self._theirs:
            os.close(self._theirs.pop())

    def _resize(self) -> None:
        """Give the container's terminal the size of ours."""
        for own in (self._stdout, self._stdin):
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(own, termios.TIOCGWINSZ, bytes(_WINDOW.size))
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
                return


class Keyboard:
    """Our own input as an asynchronous sequence of pieces, for containers far away."""

    def __init__(self, source: int = 0) -> None:
        self._source = source
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_PENDING)

    def start(self) -> None:
        """Begin to read; a thread does, which only the end of the program ends."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._pieces.get():
            yield piece

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        piece = b"?"
        while piece:
            try:
                piece = os.read(self._source, _PIECE)
            except OSError:
                piece = b""
            try:
                # At most _PENDING pieces wait.
                asyncio.run_coroutine_threadsafe(self._pieces.put(piece), loop).result()
            except (RuntimeError, concurrent.futures.CancelledError):
                return


class RawTerminal:
    """Our terminal without line editing and signals in the block, if ``terminal`` is wanted."""

    def __init__(self, terminal: bool, resized: Callable[[], None], source: int = 0) -> None:
        self._terminal = terminal and os.isatty(source)
        self._resized = resized
        self._source = source

    def __enter__(self) -> RawTerminal:
        if self._terminal:
            self._saved = termios.tcgetattr(self._source)
            tty.setraw(self._source)
            asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, self._resized)
        return self

    def __exit__(self, *error: object) -> None:
        if self._terminal:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
            termios.tcsetattr(self._source, termios.TCSADRAIN, self._saved)


def window_size(own: Sequence[int] = (1, 0)) -> tuple[int, int] | None:
    """Return rows and columns of our terminal; ``None`` without one."""
    for fd in own:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(fd)
            return size.lines, size.columns
    return None


def write(sink: int, piece: bytes) -> None:
    """Write all of ``piece``. Raises OSError."""
    view = memoryview(piece)
    while view:
        view = view[os.write(sink, view) :]


def _copy_out(source: int, sink: int) -> None:
    """Copy until the last writer is gone; the reader's end ends the writers."""
    try:
        while piece := os.read(source, _PIECE):
            write(sink, piece)
    except OSError:
        # EIO: nobody has the terminal any more. EPIPE and others: nobody reads.
        pass


def _copy_in(source: int, sink: int) -> None:
    """Copy until the end of the input, and close the pipe to let the container know."""
    try:
        while piece := os.read(source, _PIECE):
            write(sink, piece)
    except OSError:
        pass
    if not os.isatty(sink):
        with contextlib.suppress(OSError):
            os.close(sink)
