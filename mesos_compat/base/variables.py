# SPDX-License-Identifier: Apache-2.0
"""Names of variables on which agent, containerizer and executors agree.

Source: spec ``executors`` 3.1.
"""

from __future__ import annotations

from typing import Final

#: Proves to the agent who an executor is. Neither its tasks nor sessions in its container see it.
EXECUTOR_TOKEN: Final = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
#: Path of the agent's Unix socket.
DOMAIN_SOCKET: Final = "MESOS_DOMAIN_SOCKET"
