# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat pymesos install``: pymesos on today's Pythons.

pymesos needs http-parser, whose published C source does not compile on Python ≥ 3.11. The same
source distribution also holds a parser in plain Python that http-parser falls back to; this
command makes a wheel of those files on the spot and lets pip install it together with pymesos.
Neither is ever a dependency of ours.
Source: PEP 427 (wheel format).
"""

import argparse
import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence

from mesos_compat.base.errors import MesosCompatError
from mesos_compat.realmaster import index
from mesos_compat.realmaster.errors import FileUnusable

PYMESOS = "pymesos==0.3.15"
_PROJECT, _VERSION = "http-parser", "0.9.0"
_SDIST = f"{_PROJECT}-{_VERSION}.tar.gz"
#: As published; the wheel made of it is installed without further checks.
_SDIST_SHA256 = "441d3a57c6227230f98aa97539da006fda0f8f4880bc4c5cd895ff2138a52621"
_MODULES = ("__init__", "_socketio", "http", "pyparser", "reader", "util")
_LICENSES = ("LICENSE", "NOTICE")
_FILE_LIMIT_BYTES = 1 << 20
_INFO = f"http_parser-{_VERSION}.dist-info"
_WHEEL = f"http_parser-{_VERSION}-py3-none-any.whl"
#: Exit code 0 only where a framework can import it.
_PROBE = "import pymesos, http_parser.http; print(pymesos.__VERSION__)"


class PymesosError(MesosCompatError):
    """pymesos could not be installed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="mesos-compat pymesos",
        description="Install pymesos, which as published does not install on Python ≥ 3.11, "
        f"into the environment of {sys.executable}.",
    )
    parser.add_argument("action", choices=["install"])
    parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        version = installed_version()
        if version is not None:
            print(f"pymesos {version} is installed and works")
            return 0
        install()
        version = installed_version()
        if version is None:
            raise PymesosError("pip installed pymesos, but it cannot be imported")
        print(f"pymesos {version} is installed and works")
        return 0
    except MesosCompatError as error:
        print(f"mesos-compat pymesos: {error}", file=sys.stderr)
        return 1


def installed_version() -> str | None:
    """Return the version of a pymesos that can be imported here, else None."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def install() -> None:
    """Make the wheel and let pip install it and pymesos. Raises on failure."""
    settings = index.settings_from_pip(os.environ)
    sdist = index.find_file(_PROJECT, lambda file: file.filename == _SDIST, settings, _SDIST_SHA256)
    content = io.BytesIO()
    index.download(sdist, content, settings)
    with tempfile.TemporaryDirectory(prefix="mesos-compat-") as folder:
        path = os.path.join(folder, _WHEEL)
        with open(path, "wb") as file:
            file.write(pure_wheel(content.getvalue()))
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", path, PYMESOS],
            stdin=subprocess.DEVNULL,
            check=False,
        )
    if done.returncode != 0:
        raise PymesosError(
            f"pip ended with {done.returncode}, see above. Into an environment that the system "
            "manages nothing can be installed: make one with `python3 -m venv` and run it there"
        )


def pure_wheel(sdist: bytes) -> bytes:
    """Return a wheel with the plain Python modules of http-parser's source distribution."""
    try:
        with tarfile.open(fileobj=io.BytesIO(sdist), mode="r:gz") as archive:
            files = {
                f"http_parser/{name}.py": _member(archive, f"http_parser/{name}.py")
                for name in _MODULES
            }
            licenses = {f"{_INFO}/licenses/{name}": _member(archive, name) for name in _LICENSES}
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FileUnusable(f"{_SDIST} is unreadable: {error}") from error
    metadata = (
        f"Metadata-Version: 2.1\nName: {_PROJECT}\nVersion: {_VERSION}\n"
        "Summary: HTTP request/response parser (its plain Python part only)\nLicense: MIT\n"
    )
    wheel = (
        "Wheel-Version: 1.0\nGenerator: mesos-compat\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files |= licenses
    files[f"{_INFO}/METADATA"] = metadata.encode()
    files[f"{_INFO}/WHEEL"] = wheel.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in files.items():
            target.writestr(name, data)
        target.writestr(f"{_INFO}/RECORD", _record(files))
    return buffer.getvalue()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    path = f"{_PROJECT}-{_VERSION}/{name}"
    try:
        member = archive.getmember(path)
    except KeyError:
        raise FileUnusable(f"{_SDIST} has no {path}") from None
    file = archive.extractfile(member)
    if file is None or member.size > _FILE_LIMIT_BYTES:
        raise FileUnusable(f"{path} in {_SDIST} is no small file")
    return file.read()


def _record(files: Mapping[str, bytes]) -> str:
    """List each file with its hash and size, as an installer checks them."""
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join(lines) + f"{_INFO}/RECORD,,\n"


if __name__ == "__main__":
    sys.exit(main())
