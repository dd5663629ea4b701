# SPDX-License-Identifier: Apache-2.0
"""The programs that have to be in ``--launcher_dir`` under upstream's names.

Our own agent starts most inside a preloaded process; these are for agents and launchers that
execute a file.

Source: spec ``containerizer`` 8 and 19, ``executors`` 5, 6.
"""

from __future__ import annotations

import os
import sys

from containerizer.init import launch
from containerizer.loggers import logrotate_program
from containerizer.switchboard import server
from mesos_compat.executor import command, default
from mesos_compat.executor.tcp_connect import main as connect


def executor() -> int:
    """Run ``mesos-executor``."""
    return command.main(sys.argv, dict(os.environ))


def default_executor() -> int:
    """Run ``mesos-default-executor``."""
    return default.main(sys.argv, dict(os.environ))


def tcp_connect() -> int:
    """Run ``mesos-tcp-connect``."""
    return connect(sys.argv[1:])


def containerizer() -> int:
    """Run ``mesos-containerizer <subcommand>``."""
    return launch.main(sys.argv[1:])


def io_switchboard() -> int:
    """Run ``mesos-io-switchboard``."""
    return server.run()


def logrotate_logger() -> int:
    """Run ``mesos-logrotate-logger``."""
    return logrotate_program.run()
