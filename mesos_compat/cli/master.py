# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat master``: run a real Mesos master of any published version."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from mesos_compat.base.errors import FlagError, MesosCompatError
from mesos_compat.realmaster import cache, flags, run

DEFAULT_VERSION = "1.11.0"

HELP = f"""\
usage: mesos-compat master [--version VERSION] [--log_file FILE] [mesos-master flag ...]

Run a real Apache Mesos master out of the PyPI project mesos-scheduler: downloaded once through
the index that pip is configured with, verified, cached per user. Linux x86_64, no compiler.

  --version VERSION   1.4.3, 1.5.2, 1.5.3, 1.6.1, 1.6.2, 1.7.0 to 1.7.3, 1.8.0, 1.8.1, 1.9.0,
                      1.10.0 or 1.11.0 (default: {DEFAULT_VERSION}; alone: print it and exit)
  --log_file FILE     append the log to FILE instead of writing it to stderr
  --prefetch          download, relink and load the library, then exit with 0
  --ip, --port, --advertise_ip, --advertise_port
                      addresses, as for mesos-master (default port: {flags.DEFAULT_PORT})
  --work_dir DIR      default: $XDG_STATE_HOME/mesos-compat/master-PORT (~/.local/state/…)

SIGTERM and SIGINT end it with exit code 0; it exits with 1 when it cannot start or go on.
Every other flag is the master's own and may also be given as MESOS_<FLAG> in the environment.
"""


@dataclass(frozen=True, slots=True)
class OwnFlags:
    """What the command line says to us and not to the master."""

    version: str = DEFAULT_VERSION
    log_file: str | None = None
    help: bool = False
    only_version: bool = False
    prefetch: bool = False


def split_command_line(argv: Sequence[str]) -> tuple[OwnFlags, list[str]]:
    """Return our own flags and the master's remaining ones. Raises FlagError."""
    own: dict[str, str | bool] = {}
    rest: list[str] = []
    remaining = list(argv)
    while remaining:
        argument = remaining.pop(0)
        name, equals, value = argument.partition("=")
        if name in ("--version", "--log_file"):
            if not equals and remaining and not remaining[0].startswith("--"):
                value = remaining.pop(0)
            elif not equals and name == "--version":
                own["only_version"] = True
                continue
            if not value:
                raise FlagError(f"Failed to load non-boolean flag '{name[2:]}': Missing value")
            own[name[2:]] = value
        elif argument in ("--help", "-h"):
            own["help"] = True
        elif argument == "--prefetch":
            own["prefetch"] = True
        else:
            rest.append(argument)
    version = own.get("version", DEFAULT_VERSION)
    if not isinstance(version, str) or not all(part.isdecimal() for part in version.split(".")):
        raise FlagError(f"'{version}' is not a version like {DEFAULT_VERSION}")
    return OwnFlags(**own), rest  # type: ignore[arg-type]


def library(version: str) -> str:
    """Return the path of the relinked library, downloading it on first use."""
    run.check_host()

    def fetch(target: BinaryIO) -> None:
        # Only a download pays for importing the HTTP client.
        from mesos_compat.realmaster import index

        settings = index.settings_from_pip(os.environ)
        egg = index.find_egg(version, settings)
        print(f"Downloading {egg.filename} (once for this user)", file=sys.stderr)
        index.download(egg, target, settings)

    folder = cache.cache_folder(os.environ)
    try:
        return cache.library(version, folder, fetch)
    except MesosCompatError as error:
        cached = cache.cached_versions(folder)
        if not cached:
            raise
        hint = f"Cached here and usable without a network: {', '.join(cached)}"
        raise type(error)(f"{error}\n{hint}") from error


def default_work_dir(port: str) -> str:
    """Return the work directory of a master without ``--work_dir``."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "mesos-compat", f"master-{port}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command; returns the exit code."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except MesosCompatError as error:
        print(f"mesos-compat master: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _main(argv: Sequence[str]) -> int:
    own, rest = split_command_line(argv)
    if own.only_version:
        print(f"mesos {own.version}")
        return 0
    if own.help:
        print(HELP)
        with contextlib.suppress(BrokenPipeError):
            print(run.usage(run.load(library(own.version))).partition("\n\n")[2])
        return 0
    lib = run.load(library(own.version))
    if own.prefetch:
        print(f"A Mesos master {own.version} is ready")
        return 0
    known = flags.parse_usage(run.usage(lib)) | dict.fromkeys(flags.ADDRESS_FLAGS, False)
    values = flags.parse_command_line(rest, known)
    port = values.get("port") or os.environ.get("LIBPROCESS_PORT") or flags.DEFAULT_PORT
    variables = flags.library_environment(values, os.environ, default_work_dir(port))
    _make_work_dir({**os.environ, **variables}["MESOS_WORK_DIR"], given="work_dir" in values)
    os.environ.update(variables)
    if (warning := run.sasl_warning()) is not None:
        print(f"mesos-compat master: {warning}", file=sys.stderr)
    if own.log_file is not None:
        _redirect(own.log_file)
    status = run.run(lib)
    sys.stderr.flush()
    # The library's threads still run: leave without its destructors.
    os._exit(status)


def _make_work_dir(path: str, given: bool) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise FlagError(f"Failed to create the work directory '{path}': {error.strerror}") from None
    if not given:
        print(f"mesos-compat master: work directory {path}", file=sys.stderr)


def _redirect(path: str) -> None:
    """Append stdout and stderr to the file ``path`` from now on."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise FlagError(f"Failed to open the log file '{path}': {error.strerror}") from None
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
