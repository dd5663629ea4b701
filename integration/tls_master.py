# SPDX-License-Identifier: Apache-2.0
"""A real master that speaks TLS.

The published libraries of Mesos need OpenSSL 1.0, which no distribution has any more and masters
without TLS do without. An old wheel of ``psycopg2-binary`` brings it along, for the process of this
master alone: ``python -m integration.tls_master`` loads it and then is ``mesos-compat master``.
"""

import contextlib
import ctypes
import glob
import json
import os
import runpy
import ssl
import subprocess
import sys
import urllib.request
import zipfile
from typing import Any

from integration.master import RealMaster
from integration.processes import eventually, flag_arguments

_WHEEL = "psycopg2-binary==2.7.7"
_LIBRARIES = "OPENSSL_1_0_LIBRARIES"


def fetch(folder: str) -> str:
    """Put OpenSSL 1.0 below ``folder``; return where it is. Raises OSError if that fails."""
    wheels = os.path.join(folder, "wheels")
    platform = ("--python-version=36", "--abi=cp36m", "--platform=manylinux1_x86_64")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", _WHEEL, *platform]
    done = subprocess.run(
        [*command, "--only-binary=:all:", "--implementation=cp", f"--dest={wheels}"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = glob.glob(os.path.join(wheels, "*.whl"))
    if not found:
        raise OSError(f"{_WHEEL} is not to be had: {done.stderr[-500:]}")
    with zipfile.ZipFile(found[0]) as wheel:
        wheel.extractall(folder)
    return os.path.join(folder, "psycopg2", ".libs")


class TlsMaster(RealMaster):
    """Is set up by ``variables``, whose certificate it is asked with, too."""

    def __init__(
        self,
        version: str,
        work_dir: str,
        libraries: str,
        variables: dict[str, str],
        **flags: object,
    ) -> None:
        super().__init__(version, work_dir, **flags)  # type: ignore[arg-type]
        self.variables = variables | {
            _LIBRARIES: libraries,
            "LD_LIBRARY_PATH": libraries,
            "LD_BIND_NOW": "1",
            "SSL_CERT_FILE": variables["LIBPROCESS_SSL_CERT_FILE"],
        }
        self._context = ssl.create_default_context(cafile=variables["LIBPROCESS_SSL_CA_FILE"])
        self._context.load_cert_chain(
            variables["LIBPROCESS_SSL_CERT_FILE"], variables["LIBPROCESS_SSL_KEY_FILE"]
        )
        # What masters of that time have.
        self._context.set_ciphers("AES128-SHA:AES256-SHA")
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2

    def start(self) -> "TlsMaster":
        """Start it and wait until it answers."""
        flags = {
            "version": self.version,
            "ip": self.ip,
            "port": self.port,
            "work_dir": os.path.join(self.work_dir, "registry"),
            "hostname": self.ip,
            **self.flags,
        }
        program = [sys.executable, "-m", "integration.tls_master", *flag_arguments(flags)]
        self.launch(program, self.variables, os.path.dirname(os.path.dirname(__file__)))
        eventually(self._answers, 60, f"{self.name} to answer\n{self.tail()}")
        return self

    def state(self) -> dict[str, Any]:
        """Return /state, by TLS."""
        url = f"https://{self.address}/state"
        with urllib.request.urlopen(url, context=self._context, timeout=10.0) as reply:
            value = json.loads(reply.read())
        assert isinstance(value, dict)
        return value

    def _answers(self) -> bool:
        assert self.running, f"{self.name} ended\n{self.tail()}"
        with contextlib.suppress(OSError):
            return bool(self.state())
        return False


def main() -> None:
    """Be the master."""
    folder = os.environ.pop(_LIBRARIES)
    for name in ("LD_LIBRARY_PATH", "LD_BIND_NOW"):
        os.environ.pop(name, None)
    # All that uses today's OpenSSL has to be bound to it before the old one is there.
    import hashlib  # noqa: F401

    import mesos_compat.cli.master  # noqa: F401

    for name in ("libcrypto", "libssl"):
        (path,) = glob.glob(os.path.join(folder, f"{name}-*.so.1.0*"))
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    runpy.run_module("mesos_compat.cli.master", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
