# SPDX-License-Identifier: Apache-2.0
"""What a process that reads hostile layers can still do."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from containerizer.linux import mount
from containerizer.provisioner.workers import Work, confine, run_all
from mesos_compat.base.errors import UnpackError

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


def attempts(directory: Path) -> dict[str, Any]:
    """Try, confined, what nobody who unpacks has to do."""
    confine(os.open(directory, os.O_RDONLY))
    found: dict[str, Any] = {"names": os.listdir("/")}

    def escape() -> None:
        os.mkdir("/sub")
        os.chroot("/sub")

    def raw_socket() -> None:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    for name, call in (
        ("read", lambda: os.open("/etc/passwd", os.O_RDONLY)),
        ("up", lambda: os.open("../../../../../etc/passwd", os.O_RDONLY)),
        ("chroot", escape),
        ("mount", lambda: mount.mount("none", "/", "tmpfs")),
        ("attribute", lambda: os.setxattr("/file", "trusted.x", b"1")),
        ("socket", raw_socket),
        ("user", lambda: os.setuid(1)),
        ("host name", lambda: socket.sethostname("x")),
    ):
        try:
            call()
        except OSError as error:
            found[name] = error.strerror
        else:
            found[name] = "done"
    return found


def test_nothing_but_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [found] = run_all([Work("it", lambda: attempts(tmp_path))])
    assert found.pop("names") == ["file"]
    assert found.pop("read") == found.pop("up") == "No such file or directory"
    assert set(found.values()) == {"Operation not permitted"}, found


def test_answers_in_order_and_failures(tmp_path: Path) -> None:
    assert run_all([Work(str(n), lambda n=n: {"n": n}) for n in range(9)]) == [  # type: ignore[misc]
        {"n": n} for n in range(9)
    ]

    def killed() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def endless() -> dict[str, Any]:
        (tmp_path / str(os.getpid())).touch()
        signal.pause()
        return {}

    with pytest.raises(UnpackError, match=r"Failed to unpack layer 7: .*signal 9"):
        run_all([Work("another", endless), Work("layer 7", killed)])
    for name in os.listdir(tmp_path):
        assert not os.path.exists(f"/proc/{name}")


def test_workers_end_with_the_program(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from containerizer.provisioner.workers import Work, run_all\n"
        "def work():\n"
        "    print(os.getpid(), flush=True)\n"
        "    signal.pause()\n"
        "run_all([Work('endless', work)])\n"
    )
    program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert program.stdout is not None
    worker = int(program.stdout.readline())
    handle = os.pidfd_open(worker)
    program.kill()
    program.wait()
    program.stdout.close()
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)
