# SPDX-License-Identifier: Apache-2.0
"""What becomes of the agent's events in all executors.

Source: spec ``executors`` 5, 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from mesos_compat.executor.log import SandboxLog
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api

E = TypeVar("E")


def dispatch(
    executor: E,
    event: api.Event,
    handlers: Mapping[api.Event.Type, Callable[[E, api.Event], None]],
    log: SandboxLog,
) -> None:
    """Tell the log of an event and hand it to its handler, if it has one."""
    log.info(f"Received {api.Event.Type.Name(event.type)} event")
    if event.type == api.Event.SUBSCRIBED:
        log.info(f"Subscribed executor on {event.subscribed.agent_info.hostname}")
    elif event.type == api.Event.ERROR:
        log.error(f"Error: {event.error.message}")
    handler = handlers.get(event.type)
    if handler is not None:
        handler(executor, event)
