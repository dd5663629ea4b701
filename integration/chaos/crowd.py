# SPDX-License-Identifier: Apache-2.0
"""The process of a framework that keeps tasks going."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from integration.processes import environment

PROJECT = Path(__file__).parent.parent.parent


class CrowdProcess:
    """``integration.frameworks.crowd``, told what to do by its stdin."""

    def __init__(self, master: str, log: str, style: str, seed: int, flock: int) -> None:
        arguments = [f"--style={style}", f"--seed={seed}", f"--flock={flock}"]
        self.log = log
        with open(log, "wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "integration.frameworks.crowd", master, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=PROJECT,
                env=environment(),
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Tell it to come to an end."""
        assert self._process.stdin is not None
        self._process.stdin.write("stop\n")
        self._process.stdin.flush()

    def report(self, timeout_s: float) -> dict[str, Any]:
        """Wait until all its tasks have ended, or the time is over; return its book."""
        assert self._process.stdout is not None
        # Asked a second time, it tells what it has.
        impatience = threading.Timer(timeout_s, self.stop)
        impatience.start()
        try:
            line = self._process.stdout.readline()
        finally:
            impatience.cancel()
        assert line, f"the framework ended without a word\n{Path(self.log).read_text()[-4000:]}"
        found: dict[str, Any] = json.loads(line)
        return found

    def leave(self) -> None:
        """Let it tear itself down; returns when it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
