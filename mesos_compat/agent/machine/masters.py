# SPDX-License-Identifier: Apache-2.0
"""Whether a message comes from the master that the agent follows. Pure.

Who sends messages can say whatever it likes of itself, unless the server compares addresses
(``LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH``).

Deviation: also changes of frameworks, orders to drain, and pings that make the agent register again
are the master's alone; upstream takes them from anybody.

Source: spec ``agent-master`` 2.5, 5.
"""

from __future__ import annotations

from mesos_compat.agent.machine.turn import Turn


def from_master(turn: Turn, sender: str, what: str) -> bool:
    """Say whether ``sender`` may ask for ``what``; write a line if not."""
    if turn.state.master and sender == turn.state.master:
        return True
    turn.warn(
        f"Ignoring {what} message from {sender} because it is not the expected master:"
        f" {turn.state.master or 'none'}"
    )
    return False


def from_its_program(turn: Turn, sender: str) -> bool:
    """Say whether ``sender`` is any process of the master's program."""
    return address(sender) == address(turn.state.master)


def address(upid: str) -> str:
    """Return IP and port of the text of a UPID."""
    return upid.rpartition("@")[2]
