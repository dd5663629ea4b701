# SPDX-License-Identifier: Apache-2.0
"""Programs under test: started with a log of their own, waited for, ended, never forgotten."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Our own programs, run by the interpreter of the tests.
PROGRAMS = {
    "master": "mesos_compat.cli.master",
    "agent": "mesos_compat.cli.agent",
    "execute": "mesos_compat.cli.execute",
    "simulate": "mesos_compat.cli.simulate",
}


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line of one of our programs."""
    return [sys.executable, "-m", PROGRAMS[program], *arguments]


def flag_arguments(flags: Mapping[str, object]) -> list[str]:
    """Return ``--name=value`` for each flag; True and False become ``--name`` and ``--no-name``."""
    arguments = []
    for name, value in flags.items():
        match value:
            case None:
                continue
            case True:
                arguments.append(f"--{name}")
            case False:
                arguments.append(f"--no-{name}")
            case _:
                arguments.append(f"--{name}={value}")
    return arguments


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without what would configure masters, agents or HTTP proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MESOS_", "LIBPROCESS_")) and not name.lower().endswith("_proxy")
    }
    return kept | variables


def free_port(ip: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now, outside the range of outgoing connections."""
    low = 20000 + os.getpid() * 37 % 10000
    for port in range(low, low + 2000):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ip, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError("no free port")


_given: set[int] = set()


def eventually(probe: Callable[[], T | None], timeout_s: float, subject: str) -> T:
    """Return the first true answer of ``probe``; fails with ``subject`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {subject}")
        time.sleep(0.05)
    return answer


class Program:
    """A daemon: start, stop, kill and restart it; its output is appended to ``log``."""

    def __init__(self, name: str, log: str) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        #: Size of the log when it was started last.
        self._begin = 0

    @property
    def pid(self) -> int:
        """The process id; it must run or have run."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """As ``Popen.poll``: None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def launch(self, arguments: Sequence[str], variables: Mapping[str, str], cwd: str) -> None:
        """Start the program in a session of its own."""
        assert not self.running, f"{self.name} runs already"
        with open(self.log, "ab") as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(**variables),
                cwd=cwd,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for its end; returns the exit status. Fails, and kills it, after ``timeout_s``."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} did not end within {timeout_s} s\n{self.tail()}"
            ) from None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log_text(self) -> str:
        """All that it printed so far, over all its starts."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def said(self, text: str) -> bool:
        """Whether the process that was started last has logged ``text``."""
        with open(self.log, "rb") as file:
            file.seek(self._begin)
            return text.encode() in file.read()

    def tail(self, lines: int = 40) -> str:
        """The end of the log, for messages."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def wait_for_log(self, text: str, timeout_s: float = 60.0) -> None:
        """Wait until ``text`` stands in the log."""

        def probe() -> bool:
            if not self.running and text not in self.log_text():
                raise AssertionError(f"{self.name} ended without '{text}'\n{self.tail()}")
            return text in self.log_text()

        eventually(probe, timeout_s, f"'{text}' in the log of {self.name}\n{self.tail()}")


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(address: str, path: str, timeout_s: float = 20.0) -> bytes:
    """GET ``path``; raises OSError (HTTPError included) when there is no 2xx answer."""
    with _opener.open(f"http://{address}/{path.lstrip('/')}", timeout=timeout_s) as reply:
        body: bytes = reply.read()
        return body


def get_json(address: str, path: str) -> Any:
    """GET a JSON document; None while there is no good answer, as in a daemon's first moments."""
    try:
        return json.loads(get(address, path))
    except OSError:
        return None


def post_json(address: str, path: str, value: object, timeout_s: float = 20.0) -> Any:
    """POST a JSON document and return the JSON answer, None if it is empty."""
    request = urllib.request.Request(
        f"http://{address}/{path.lstrip('/')}",
        data=json.dumps(value).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        method="POST",
    )
    with _opener.open(request, timeout=timeout_s) as reply:
        body = reply.read()
    return json.loads(body) if body else None
