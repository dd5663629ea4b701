# SPDX-License-Identifier: Apache-2.0
"""A real terminal with a shell in it, driven as a person would: tmux (Debian package tmux)."""

import itertools
import os
import subprocess
from collections.abc import Mapping

from integration.processes import eventually

#: What the shell in the terminal shows when it waits.
PROMPT = "host$ "
#: Seconds that anything on the screen may take on a busy machine.
PATIENCE_S = 60.0
_numbers = itertools.count()


class Terminal:
    """One tmux server with one window, in which a bash waits."""

    def __init__(self, variables: Mapping[str, str], *, columns: int = 100, rows: int = 30) -> None:
        # The path of a socket is short, so it cannot be in the folder of the test.
        name = f"mesos-compat-{os.getpid()}-{next(_numbers)}"
        self._base = ("tmux", "-L", name, "-f", os.devnull)
        environment = {**os.environ, **variables, "PS1": PROMPT, "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        size = ("-x", str(columns), "-y", str(rows))
        shell = ("bash", "--norc", "--noprofile", "+o", "history")
        subprocess.run(
            (*self._base, "new-session", "-d", *size, *shell), env=environment, check=True
        )
        self.until(PROMPT)

    def tmux(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run a command of tmux and return what it prints."""
        done = subprocess.run(
            (*self._base, *arguments), input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode()

    def type(self, text: str) -> None:
        """Type a line."""
        self.tmux("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them: ``C-c``, ``Escape``."""
        self.tmux("send-keys", *keys)

    def paste(self, data: bytes) -> None:
        """Paste all at once, as it is."""
        self.tmux("load-buffer", "-", stdin=data)
        self.tmux("paste-buffer", "-r")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        """Return what is to be seen."""
        return self.tmux("capture-pane", "-p").rstrip()

    def last(self) -> str:
        """Return the last line that is not empty."""
        return self.screen().rpartition("\n")[2]

    def until(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """Wait until ``text`` is to be seen; return the screen."""
        seen = ""

        def probe() -> bool:
            nonlocal seen
            seen = self.screen()
            return text.rstrip() in seen

        try:
            eventually(probe, timeout_s, text)
        except AssertionError:
            raise AssertionError(f"no '{text}' on the screen:\n{seen}") from None
        return seen

    def until_prompt(self, prompt: str = PROMPT, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a shell waits: its prompt is the last line."""
        try:
            eventually(lambda: self.last() == prompt.rstrip(), timeout_s, prompt)
        except AssertionError:
            raise AssertionError(f"no prompt '{prompt}':\n{self.screen()}") from None

    def run(self, command: str, prompt: str = PROMPT, timeout_s: float = PATIENCE_S) -> list[str]:
        """Type a command on a clean screen, wait for the next prompt; return its lines."""
        self.clear(prompt)
        self.type(command)
        shown = ""

        def probe() -> bool:
            nonlocal shown
            shown = self.screen()
            lines = shown.split("\n")
            return len(lines) > 1 and lines[-1] == prompt.rstrip()

        try:
            eventually(probe, timeout_s, command)
        except AssertionError:
            raise AssertionError(f"'{command}' does not end:\n{shown}") from None
        return shown.split("\n")[1:-1]

    def clear(self, prompt: str = PROMPT) -> None:
        """Have the shell that waits show nothing but its prompt, on the first line."""
        self.press("C-l")
        eventually(lambda: self.screen() == prompt.rstrip(), PATIENCE_S, "a clean screen")

    def children(self) -> list[int]:
        """Return the processes that the shell of the user started and that run."""
        pid = self.tmux("display-message", "-p", "#{pane_pid}").strip()
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]

    def close(self) -> None:
        """End all of it."""
        self.tmux("kill-server")
