# SPDX-License-Identifier: Apache-2.0
"""From flags and host to what the machine has to know.

Source: spec ``agent-master`` 6.4, 6.5, 12; ``executors`` 3.1, 5.1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from mesos_compat.agent import discovery
from mesos_compat.agent.features import capabilities
from mesos_compat.agent.flags import AgentFlags
from mesos_compat.agent.machine.config import AgentConfig
from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.libprocess.upid import UPID, Address
from mesos_compat.model import jsonpb
from mesos_compat.model.attributes import parse_attributes
from mesos_compat.pb.mesos import mesos_pb2 as pb

M = TypeVar("M", bound=Message)

#: The Mesos release whose agent this one stands in for; also told to masters.
MESOS_VERSION = "1.12.0"
#: The actor that every agent is to masters and executors.
ACTOR_ID = "slave(1)"
#: Where upstream's packages put the library that executors in Java and Python are linked with.
LIBRARY_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_COMMAND_EXECUTOR = "mesos-executor"
_DEFAULT_EXECUTOR = "mesos-default-executor"


def agent_config(
    flags: AgentFlags, address: Address, work_dir: str, environ: Mapping[str, str]
) -> AgentConfig:
    """Return the configuration of the machine. ``work_dir`` is the real path of the flag's, which
    exists. Blocks while the host name is looked up. Raises FlagError.
    """
    command_executor, command_executor_error = _program(flags, _COMMAND_EXECUTOR)
    default_executor, default_executor_error = _program(flags, _DEFAULT_EXECUTOR)
    return AgentConfig(
        pid=str(UPID(ACTOR_ID, address.ip, address.port)),
        ip=address.ip,
        port=address.port,
        work_dir=work_dir,
        info=_agent_info(flags, address, work_dir),
        version=MESOS_VERSION,
        capabilities=capabilities(flags.agent_features),
        launcher_dir=flags.launcher_dir,
        command_executor=command_executor,
        command_executor_error=command_executor_error,
        default_executor=default_executor,
        default_executor_error=default_executor_error,
        sandbox_directory=flags.sandbox_directory,
        switch_user=flags.switch_user,
        http_command_executor=flags.http_command_executor,
        isolation=frozenset(name.strip() for name in flags.isolation.split(",")),
        cgroups_enable_cfs=flags.cgroups_enable_cfs,
        executor_environment=_executor_environment(flags, address, environ),
        default_container_info=from_json(
            "default_container_info", flags.default_container_info, pb.ContainerInfo
        ),
        registration_backoff_factor_s=flags.registration_backoff_factor,
        executor_registration_timeout_s=flags.executor_registration_timeout,
        executor_shutdown_grace_period_s=flags.executor_shutdown_grace_period,
        authenticate_executors=bool(flags.authenticate_http_executors),
        executor_reregistration_timeout_s=flags.executor_reregistration_timeout,
        executor_reregistration_retry_interval_s=flags.executor_reregistration_retry_interval,
        recovery_timeout_s=flags.recovery_timeout,
        gc_delay_s=flags.gc_delay,
        clean_up=flags.recover == "cleanup",
        max_completed_executors=flags.max_completed_executors_per_framework,
    )


def from_json(flag: str, value: Mapping[str, Any] | None, kind: type[M]) -> M | None:
    """Read the JSON value of a flag as a message. Raises FlagError."""
    if value is None:
        return None
    try:
        return jsonpb.from_value(kind, dict(value))
    except WireError as error:
        raise FlagError(f"Failed to load flag '{flag}': {error}") from error


def _program(flags: AgentFlags, name: str) -> tuple[str | None, str]:
    """Return the real path of a helper program, or why there is none."""
    path = os.path.realpath(os.path.join(flags.launcher_dir, name))
    return (path, "") if os.path.isfile(path) else (None, f"No such file or directory: {path}")


def _agent_info(flags: AgentFlags, address: Address, work_dir: str) -> pb.SlaveInfo:
    made = pb.SlaveInfo(checkpoint=True, port=address.port)
    made.resources.extend(discovery.resources(flags.resources or "", flags.default_role, work_dir))
    try:
        made.attributes.extend(parse_attributes(flags.attributes or ""))
    except WireError as error:
        raise FlagError(f"Failed to parse --attributes: {error}") from error
    made.hostname = discovery.hostname(flags.hostname, flags.hostname_lookup, address.ip)
    return made


def _executor_environment(
    flags: AgentFlags, address: Address, environ: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Executors inherit nothing but this."""
    made: dict[str, str] = {}
    if flags.ip or flags.ip_discovery_command:
        made["LIBPROCESS_IP"] = flags.ip or address.ip
    elif "LIBPROCESS_IP" in environ:
        made["LIBPROCESS_IP"] = environ["LIBPROCESS_IP"]
    made.update(flags.executor_environment_variables or {})
    library = _native_library(LIBRARY_FOLDERS)
    if library is not None:
        for name in ("MESOS_NATIVE_JAVA_LIBRARY", "MESOS_NATIVE_LIBRARY"):
            made.setdefault(name, library)
    return tuple(made.items())


def _native_library(folders: Iterable[str]) -> str | None:
    """Return where upstream's library is installed, with which many executors are linked."""
    for folder in folders:
        path = os.path.join(folder, "libmesos.so")
        if os.path.exists(path):
            return os.path.realpath(path)
    return None
