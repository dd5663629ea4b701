# SPDX-License-Identifier: Apache-2.0
"""Copy a file out of HDFS with the ``hadoop`` client.

Source: spec ``images`` 8.4, ``fetcher`` 3.3; upstream ``hdfs/hdfs.cpp``.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping

from mesos_compat.base import procs
from mesos_compat.base.errors import FetchError

#: Most characters of the client's own words in a message.
_SHOWN = 500


def client_of(hadoop_home: str | None, environment: Mapping[str, str]) -> str:
    """Return the program: below ``hadoop_home``, else ``HADOOP_HOME``, else what PATH has."""
    home = hadoop_home or environment.get("HADOOP_HOME")
    return os.path.join(home, "bin", "hadoop") if home else "hadoop"


async def copy_to_local(
    client: str, uri: str, target: str, *, timeout_s: float, most_bytes: int
) -> None:
    """Copy what ``uri`` (``hdfs://…``) names to the new file ``target``. Raises FetchError.

    A host that is left out is the one that the client is configured for. The client is killed
    after ``timeout_s`` seconds, with more than ``most_bytes``, and when the caller is cancelled.
    """
    _, _, place = uri.partition("://")
    source = place if place.startswith("/") else uri
    try:
        ended = await procs.run(
            [client, "fs", "-copyToLocal", source, target],
            timeout_s=timeout_s,
            limits={resource.RLIMIT_FSIZE: most_bytes},
        )
    except procs.ProgramError as error:
        raise FetchError(f"HDFS copyToLocal failed: {error}") from error
    if ended.exit_code != 0:
        stdout, stderr = (
            text.decode("utf-8", "replace")[-_SHOWN:] for text in (ended.stdout, ended.stderr)
        )
        raise FetchError(
            "HDFS copyToLocal failed: Unexpected result from the subprocess:"
            f" status='{ended.exit_code}', stdout='{stdout}', stderr='{stderr}'"
        )
    if not os.path.isfile(target):
        raise FetchError(f"HDFS copyToLocal failed: the client made no file of '{uri}'")
    # a small one may be there before the limit is
    if os.path.getsize(target) > most_bytes:
        raise FetchError(f"'{uri}' has more than {most_bytes} bytes")
