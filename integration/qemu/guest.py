# SPDX-License-Identifier: Apache-2.0
"""Process 1 of the guest: a host with nothing but cgroups version 2, on which one program runs.

Standard library only. Written to the second serial port: one line of JSON, ``{"exit": status}``.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import traceback

_MOUNTS = (
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
    ("tmpfs", "/tmp", "tmpfs", "mode=1777"),
    ("tmpfs", "/run", "tmpfs", "mode=755"),
    ("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
    ("devpts", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"),
)
_ENVIRONMENT = {
    "PATH": "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "XDG_CACHE_HOME": "/root/.cache",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_SIOCSIFFLAGS = 0x8914
_UP_AND_RUNNING = 0x41
_POWER_OFF = 0x4321FEDC


def main() -> None:
    """Set up the host, run the job, report, switch off."""
    status = 1
    try:
        _set_up()
        status = _run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        with open("/dev/ttyS1", "w", encoding="ascii") as port:
            port.write(json.dumps({"exit": status}) + "\n")
        os.sync()
        ctypes.CDLL(None).reboot(_POWER_OFF)


def _set_up() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for source, target, kind, options in _MOUNTS:
        os.makedirs(target, exist_ok=True)
        if libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "cannot mount", target)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        with contextlib.suppress(FileExistsError):
            os.symlink(target, f"/dev/{name}")
    socket.sethostname("guest")
    with open("/etc/hosts", "w", encoding="ascii") as file:
        file.write("127.0.0.1 localhost guest\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", _UP_AND_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
    # The master's library is looked for in a folder that is the user's own.
    os.makedirs("/root/.cache", exist_ok=True)
    os.symlink("/opt/cache/mesos-compat", "/root/.cache/mesos-compat")


def _run() -> int:
    with open("/opt/job.json", encoding="utf-8") as file:
        job = json.load(file)
    child = subprocess.Popen(
        job["argv"], cwd="/tmp", env=_ENVIRONMENT | job["environ"], stdin=subprocess.DEVNULL
    )
    while True:
        # Orphans become ours and have to be reaped.
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


if __name__ == "__main__":
    main()
