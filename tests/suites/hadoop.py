# SPDX-License-Identifier: Apache-2.0
"""A ``hadoop`` program of our own that knows ``fs -copyToLocal`` and writes down its calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """#!/bin/sh
echo "$*" >> '{log}'
[ "$1 $2" = 'fs -copyToLocal' ] || exit 255
case "$3" in
    hdfs://*) path=/${{3#hdfs://*/}} ;;
    *) path=$3 ;;
esac
if [ ! -e '{files}'"$path" ]; then
    echo "copyToLocal: \\`$3': No such file or directory" >&2
    exit 1
fi
[ ! -e "$4" ] || exit 1
exec cp '{files}'"$path" "$4"
"""


@dataclass(frozen=True)
class FakeHadoop:
    """Where it is, and where it writes down its calls."""

    home: str
    client: str
    log: Path

    def calls(self) -> list[str]:
        """Return the arguments of all calls so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def fake_hadoop(folder: Path, files: Path) -> FakeHadoop:
    """Make ``<folder>/hadoop`` serve the directory ``files`` as the root of HDFS."""
    folder.mkdir(parents=True, exist_ok=True)
    files.mkdir(parents=True, exist_ok=True)
    client = folder / "hadoop"
    log = folder.parent / "hadoop.log"
    client.write_text(_SCRIPT.format(log=log, files=files))
    client.chmod(0o755)
    return FakeHadoop(str(folder.parent), str(client), log)
