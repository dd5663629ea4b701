# SPDX-License-Identifier: Apache-2.0
"""What the machine has to know of flags and host.

Source: spec ``agent-master`` 5, 8, 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mesos_compat.agent.machine.tokens import ExecutorTokens
from mesos_compat.pb.mesos import mesos_pb2 as pb


class Decorators(Protocol):
    """What hooks want to be changed: functions of their arguments, which they do not change."""

    def task_labels(
        self,
        task: pb.TaskInfo,
        executor: pb.ExecutorInfo,
        framework: pb.FrameworkInfo,
        agent: pb.SlaveInfo,
    ) -> pb.Labels:
        """Return the labels of a task."""

    def executor_environment(self, executor: pb.ExecutorInfo) -> dict[str, str]:
        """Return variables to be laid over those that the agent sets."""

    def task_status(self, framework_id: str, status: pb.TaskStatus) -> pb.TaskStatus:
        """Return the status with other labels and another container status."""


class Authenticatee(Protocol):
    """The agent's side of one authentication mechanism. Pure: it answers, it never waits."""

    @property
    def mechanism(self) -> str:
        """The name of the mechanism, as masters offer it."""

    def start(self) -> bytes:
        """Return what is sent together with the choice of the mechanism."""

    def respond(self, challenge: bytes) -> bytes:
        """Return the answer to a challenge of the master."""


@dataclass(frozen=True, slots=True)
class AuthenticationConfig:
    """How to authenticate with masters. Times in seconds."""

    authenticatee: Authenticatee
    backoff_factor_s: float
    timeout_min_s: float
    timeout_max_s: float


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What the machine has to know of flags and host; constant for the life of the process."""

    #: ``slave(1)@ip:port`` with the advertised address.
    pid: str
    ip: str
    port: int
    work_dir: str
    #: ``slave.info`` without id, resources in post-refinement format.
    info: pb.SlaveInfo
    #: Version told to masters.
    version: str
    capabilities: tuple[int, ...]
    launcher_dir: str
    #: Real path of ``mesos-executor``, or ``None`` with the reason in ``command_executor_error``.
    command_executor: str | None
    command_executor_error: str
    #: The same for ``mesos-default-executor``.
    default_executor: str | None
    default_executor_error: str
    sandbox_directory: str
    switch_user: bool
    http_command_executor: bool
    isolation: frozenset[str]
    cgroups_enable_cfs: bool
    #: ``LIBPROCESS_IP`` of the agent, if it has one, and ``--executor_environment_variables``.
    executor_environment: tuple[tuple[str, str], ...]
    default_container_info: pb.ContainerInfo | None
    registration_backoff_factor_s: float
    executor_registration_timeout_s: float
    executor_shutdown_grace_period_s: float
    executor_reregistration_timeout_s: float
    #: ``None``: executors of an earlier process are asked to come back once.
    executor_reregistration_retry_interval_s: float | None
    recovery_timeout_s: float
    gc_delay_s: float
    max_completed_executors: int
    #: ``None`` without hooks.
    decorators: Decorators | None = None
    #: ``None``: the agent registers without authentication.
    authentication: AuthenticationConfig | None = None
    #: Path of the Unix socket for executors, if there is one.
    domain_socket: str | None = None
    #: ``None``: executors get no tokens.
    executor_tokens: ExecutorTokens | None = None
    #: Whether executors have to prove with their token who they are.
    authenticate_executors: bool = False
    #: Whether executors reach the agent by TLS.
    tls: bool = False
    #: Whether somebody has to be asked which tasks may be run.
    authorizes_tasks: bool = False
    #: ``--recover=cleanup``: what an earlier process left is ended, and then the agent ends.
    clean_up: bool = False
