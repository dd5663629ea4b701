# SPDX-License-Identifier: Apache-2.0
"""The layout of the work directory: one function per path. Pure.

What lies below ``slaves`` has its counterpart below ``meta/slaves``: give these functions the meta
directory for it.

::

    <work_dir>/
    ├─ meta/                                          checkpoints: agent.meta.layout
    ├─ containers/<container>/                        sandbox of a standalone container
    └─ slaves/<agent>/frameworks/<framework>/
       └─ executors/<executor>/runs/
          ├─ latest -> <container>                    absolute link to the newest run
          └─ <container>/                             sandbox

Ids were checked (``model.ids``) before they get here.

Source: spec ``state-and-recovery`` 4.1, ``executors`` 3.6.
"""

from __future__ import annotations

from mesos_compat.model.ids import AgentId, ContainerId, ExecutorId, FrameworkId


def meta(work_dir: str) -> str:
    """The directory of all checkpoints."""
    return f"{work_dir}/meta"


def agents(work_dir: str) -> str:
    """The parent of what was made under each agent id."""
    return f"{work_dir}/slaves"


def agent(work_dir: str, agent_id: AgentId) -> str:
    """All sandboxes made under one agent id."""
    return f"{agents(work_dir)}/{agent_id}"


def frameworks(work_dir: str, agent_id: AgentId) -> str:
    """The parent of what was made for each framework."""
    return f"{agent(work_dir, agent_id)}/frameworks"


def framework(work_dir: str, agent_id: AgentId, framework_id: FrameworkId) -> str:
    """All sandboxes of a framework."""
    return f"{frameworks(work_dir, agent_id)}/{framework_id}"


def executors(framework_dir: str) -> str:
    """The parent of what was made for each executor of a framework."""
    return f"{framework_dir}/executors"


def executor(
    work_dir: str, agent_id: AgentId, framework_id: FrameworkId, executor_id: ExecutorId
) -> str:
    """All runs of an executor."""
    return f"{executors(framework(work_dir, agent_id, framework_id))}/{executor_id}"


def runs(executor_dir: str) -> str:
    """The parent of the runs of an executor."""
    return f"{executor_dir}/runs"


def latest_run(executor_dir: str) -> str:
    """The link to the newest run of an executor."""
    return f"{runs(executor_dir)}/latest"


def sandbox(executor_dir: str, container_id: ContainerId) -> str:
    """The sandbox of one run."""
    return f"{runs(executor_dir)}/{container_id.value}"


def virtual_latest(framework_id: FrameworkId, executor_id: ExecutorId) -> str:
    """The path under which ``/files`` shows an executor's newest sandbox, free of agent ids."""
    return f"/frameworks/{framework_id}/executors/{executor_id}/runs/latest"


def sandbox_owner(
    work_dir: str, path: str
) -> tuple[FrameworkId, ExecutorId, ContainerId | None] | None:
    """Say of whose run a path below a sandbox is, real or as ``/files`` shows it; no container
    means the newest run. ``None`` for other paths.
    """
    below = path.removeprefix(agents(work_dir)).split("/")
    if path.startswith(agents(work_dir) + "/"):
        del below[1]
    match below[:7]:
        case ["", "frameworks", framework_id, "executors", executor_id, "runs", run]:
            container_id = None if run == "latest" else ContainerId(run)
            return FrameworkId(framework_id), ExecutorId(executor_id), container_id
    return None


def standalone(work_dir: str, container_id: ContainerId) -> str:
    """The sandbox of a top-level container without executor."""
    return f"{work_dir}/containers/{container_id.value}"
