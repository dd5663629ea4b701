# SPDX-License-Identifier: Apache-2.0
"""``mesos-tcp-connect``: says by its exit code whether a TCP connection can be made.

Our executors connect themselves; those of upstream run this.

Source: spec ``executors`` 7.4.
"""

from __future__ import annotations

import argparse
import socket
import sys


def main(arguments: list[str]) -> int:
    """Connect and hang up; return 0 if that worked."""
    parser = argparse.ArgumentParser("mesos-tcp-connect", description=__doc__)
    parser.add_argument("--ip", required=True, help="IP address of the server")
    parser.add_argument("--port", type=int, required=True, help="its port")
    given = parser.parse_args(arguments)
    try:
        with socket.create_connection((given.ip, given.port)):
            return 0
    except (OSError, OverflowError) as error:
        print(f"Failed to connect to {given.ip}:{given.port}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
