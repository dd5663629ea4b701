# SPDX-License-Identifier: Apache-2.0
"""The files below the meta directory: one function per path. Pure.

::

    <work_dir>/meta/
    ├─ boot_id
    ├─ resources/{resources.info, resources_and_operations.state}, and .target of both
    ├─ volume_gid_manager/volume_gids               written by the containerizer
    └─ slaves/
       ├─ latest -> <agent>                           absolute link
       └─ <agent>/
          ├─ slave.info, drain.config
          ├─ operations/<operation>/operation.updates
          └─ frameworks/<framework>/
             ├─ framework.info, framework.pid
             └─ executors/<executor>/
                ├─ executor.info, executor_generated_for_command_task
                └─ runs/{latest, <container>/}
                   ├─ executor.sentinel, http.marker
                   ├─ pids/{forked.pid, libprocess.pid}
                   └─ tasks/<task>/{task.info, task.updates}

Directories of agents, frameworks, executors and runs: ``agent.paths``, given the meta directory.

Source: spec ``state-and-recovery`` 4.1, 4.3.
"""

from __future__ import annotations

import uuid

from mesos_compat.model.ids import TaskId


def boot_id(meta: str) -> str:
    """Boot id of the host when the agent last recovered: text."""
    return f"{meta}/boot_id"


def resources_info(meta: str) -> str:
    """Reservations and volumes as agents before 1.8 keep them: a sequence of Resource."""
    return f"{meta}/resources/resources.info"


def resources_target(meta: str) -> str:
    """What ``resources_info`` is about to become."""
    return f"{meta}/resources/resources.target"


def resources_state(meta: str) -> str:
    """Reservations, volumes and operations: a record of ResourceState."""
    return f"{meta}/resources/resources_and_operations.state"


def resources_state_target(meta: str) -> str:
    """What ``resources_state`` is about to become."""
    return f"{meta}/resources/resources_and_operations.target"


def volume_gids(meta: str) -> str:
    """The directory of what is known of the groups of volumes."""
    return f"{meta}/volume_gid_manager"


def latest_agent(meta: str) -> str:
    """The link to the directory of the agent's present id."""
    return f"{meta}/slaves/latest"


def agent_info(agent_dir: str) -> str:
    """A record of SlaveInfo, as it was first registered."""
    return f"{agent_dir}/slave.info"


def drain_config(agent_dir: str) -> str:
    """A record of DrainConfig, while the agent is drained."""
    return f"{agent_dir}/drain.config"


def operations(agent_dir: str) -> str:
    """The parent of the directories of operations."""
    return f"{agent_dir}/operations"


def operation_updates(agent_dir: str, operation: uuid.UUID) -> str:
    """A sequence of UpdateOperationStatusRecord."""
    return f"{operations(agent_dir)}/{operation}/operation.updates"


def framework_info(framework_dir: str) -> str:
    """A record of FrameworkInfo."""
    return f"{framework_dir}/framework.info"


def framework_pid(framework_dir: str) -> str:
    """The UPID of a scheduler: text."""
    return f"{framework_dir}/framework.pid"


def executor_info(executor_dir: str) -> str:
    """A record of ExecutorInfo."""
    return f"{executor_dir}/executor.info"


def generated(executor_dir: str) -> str:
    """``1`` if the agent generated the executor for a command task, else ``0``: text."""
    return f"{executor_dir}/executor_generated_for_command_task"


def sentinel(run_dir: str) -> str:
    """Exists if the run is over and all its updates were acknowledged."""
    return f"{run_dir}/executor.sentinel"


def http_marker(run_dir: str) -> str:
    """Exists if the executor speaks the v1 API."""
    return f"{run_dir}/http.marker"


def forked_pid(run_dir: str) -> str:
    """The pid of the container's init: text."""
    return f"{run_dir}/pids/forked.pid"


def libprocess_pid(run_dir: str) -> str:
    """The UPID of a v0 executor: text."""
    return f"{run_dir}/pids/libprocess.pid"


def tasks(run_dir: str) -> str:
    """The parent of the directories of tasks."""
    return f"{run_dir}/tasks"


def task(run_dir: str, task_id: TaskId) -> str:
    """The directory of a task."""
    return f"{tasks(run_dir)}/{task_id}"


def task_info(task_dir: str) -> str:
    """A record of Task, as it was when it was queued."""
    return f"{task_dir}/task.info"


def task_updates(task_dir: str) -> str:
    """A sequence of StatusUpdateRecord."""
    return f"{task_dir}/task.updates"
