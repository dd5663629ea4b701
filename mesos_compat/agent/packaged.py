# SPDX-License-Identifier: Apache-2.0
"""Configuration as hosts have it where the Mesos packages' ``mesos-init-wrapper`` starts the agent.

::

    /etc/mesos-slave/<flag>             its value; ?<flag> and ?no-<flag>: booleans
    /etc/mesos-slave/attributes/<name>  one attribute; resources/<name> likewise
    /etc/default/mesos                  shell, for all: MESOS_*, MASTER, IP, LOGS, ISOLATION
    /etc/default/mesos-slave            shell, for the agent
    /etc/mesos/zk                       where the master is, if nothing else says it

All of them follow from the name of the first directory. As with the wrapper, final newlines of
values are cut off, and a flag in two of these places is an error. Deviation: ``MESOS_*`` in the
shell files need no export, ``/etc/mesos/zk`` needs no mention in them, ``ULIMIT`` is left to the
service manager, editors' and packages' leftovers among the files are passed over with a warning.

Source: the packages' mesos-init-wrapper (github.com/mesosphere/mesos-deb-packaging).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mesos_compat.base.errors import FlagError
from mesos_compat.base.flags import ENV_PREFIX, Setting

#: Variables of the shell files that stand for flags.
_VARIABLES = {"MASTER": "master", "IP": "ip", "LOGS": "log_dir", "ISOLATION": "isolation"}
#: Flags that can be given piece by piece in a directory of their name.
_PIECES = ("attributes", "resources")
#: Ends of names that editors and package managers give to what they put aside.
_LEFTOVERS = ("~", ".bak", ".dpkg-dist", ".dpkg-old", ".dpkg-new", ".rpmnew", ".rpmsave", ".swp")
_MAX_BYTES = 1 << 20
#: Seconds that the shell files may take.
_SHELL_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Packaged:
    """What was found."""

    settings: list[Setting] = field(default_factory=list)
    #: Variables that the shell files set and that are no flags, such as LIBPROCESS_IP.
    variables: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_packaged(
    directory: str, environ: Mapping[str, str], known: Iterable[str] = ()
) -> Packaged:
    """Read ``directory`` (``/etc/mesos-slave``) and what goes with it.

    ``known`` are the names of flags that may stand in the shell files as ``MESOS_*``. What is
    missing is no error. Runs a shell that reads the files in ``/etc/default``. Raises FlagError.
    """
    directory = os.path.abspath(directory)
    above, name = os.path.split(directory)
    found = Packaged()
    _files(found, directory)
    scripts = [
        path
        for each in ("mesos", name)
        if os.path.isfile(path := os.path.join(above, "default", each))
    ]
    if scripts:
        _variables(found, scripts, environ, frozenset(known))
    _master(found, os.path.join(above, "mesos", "zk"))
    return found


def _files(found: Packaged, directory: str) -> None:
    for name in _names(directory):
        path = os.path.join(directory, name)
        if not os.path.isfile(path):
            continue
        if name.startswith(".") or name.endswith(_LEFTOVERS):
            found.warnings.append(f"Ignored '{path}': it looks like a leftover, not like a flag")
        elif name.startswith("?"):
            found.settings.append(Setting(name[1:].lower(), None, path))
        else:
            found.settings.append(Setting(name.lower(), _read(path), path))
    for flag in _PIECES:
        pieces = os.path.join(directory, flag)
        if not os.path.isdir(pieces):
            continue
        pairs = [(name, _read(os.path.join(pieces, name))) for name in _names(pieces)]
        text = ";".join(f"{name}:{value}" for name, value in pairs if value)
        if text:
            found.settings.append(Setting(flag, text, pieces))


def _names(directory: str) -> Iterator[str]:
    try:
        yield from sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise FlagError(f"Failed to read '{directory}': {error.strerror}") from error


def _read(path: str) -> str:
    """Return the content as a shell's ``$(cat file)`` does."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise FlagError(f"{path}: more than {_MAX_BYTES} bytes are no value of a flag")
        return content.decode("utf-8").rstrip("\n")
    except OSError as error:
        raise FlagError(f"Failed to read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FlagError(f"{path}: it is not UTF-8") from error


def _variables(
    found: Packaged, scripts: list[str], environ: Mapping[str, str], known: frozenset[str]
) -> None:
    inherited = {k: v for k, v in environ.items() if k not in _VARIABLES and k != "ULIMIT"}
    origin = " and ".join(scripts)
    given = {setting.name.removeprefix("no-") for setting in found.settings}
    for key, value in _source(scripts, inherited).items():
        if inherited.get(key) == value or key in ("_", "SHLVL", "PWD", "OLDPWD"):
            continue
        name = key[len(ENV_PREFIX) :].lower()
        if key in _VARIABLES:
            if value:
                found.settings.append(Setting(_VARIABLES[key], value, origin))
        elif key == "ULIMIT":
            found.warnings.append(
                f"ULIMIT in {origin} has no effect: limits belong into the service's unit"
            )
        elif key.startswith(ENV_PREFIX) and name.removeprefix("no-") in known:
            # As with the wrapper, which makes arguments of files, these win over variables.
            if name.removeprefix("no-") not in given:
                found.settings.append(Setting(name, value, origin))
        else:
            found.variables[key] = value


def _source(scripts: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    # What the files print must not be taken for variables.
    read = "; ".join(f". {shlex.quote(path)}" for path in scripts)
    command = f"set -ea; exec 3>&1 1>&2; {read}; exec /usr/bin/env -0 >&3"
    names = ", ".join(scripts)
    try:
        done = subprocess.run(
            [shell, "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SHELL_TIMEOUT_S,
            check=False,
            env=dict(environ),
        )
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise FlagError(f"Failed to read {names}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise FlagError(f"Failed to read {names}: {said[-1] if said else 'the shell failed'}")
    pairs = (item.partition("=") for item in done.stdout.decode("utf-8", "replace").split("\0"))
    return {key: value for key, equals, value in pairs if equals}


def _master(found: Packaged, path: str) -> None:
    named = {setting.name for setting in found.settings}
    if named.isdisjoint({"master", "master_detector"}) and os.path.isfile(path):
        master = _read(path).strip()
        if master:
            found.settings.append(Setting("master", master, path))
