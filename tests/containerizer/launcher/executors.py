# SPDX-License-Identifier: Apache-2.0
"""Command executors as the init of a container, with a fake agent."""

from __future__ import annotations

import os

from containerizer.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.launcher.host import LinuxHost, image_mounts, launch_info
from tests.executor.fake_agent import EXECUTOR, FRAMEWORK, FakeAgent

#: The namespaces of a container with an image.
NAMESPACES = [CLONE_NEWNS, CLONE_NEWPID]


def executor_info(
    linux: LinuxHost,
    agent: FakeAgent,
    *arguments: str,
    environment: dict[str, str] | None = None,
    **fields: object,
) -> slave.ContainerLaunchInfo:
    """Say how to launch an executor, which gets a sandbox, for which the host has a program."""
    sandbox = os.path.join(linux.folder, "sandbox")
    os.mkdir(sandbox)
    basic = {
        "PATH": "/bin",
        "MESOS_SLAVE_PID": agent.upid,
        "MESOS_FRAMEWORK_ID": FRAMEWORK,
        "MESOS_EXECUTOR_ID": EXECUTOR,
        "MESOS_CHECKPOINT": "0",
    }
    return launch_info(
        f"{os.path.realpath(linux.folder)}/executor",
        arguments=["mesos-executor", *arguments],
        environment=basic | (environment or {}),
        clone_namespaces=NAMESPACES,
        working_directory=sandbox,
        **fields,
    )


def image_executor_info(
    linux: LinuxHost, agent: FakeAgent, image: str, **environment: str
) -> slave.ContainerLaunchInfo:
    """Say how to launch an executor whose task has an image."""
    return executor_info(
        linux,
        agent,
        f"--rootfs={image}",
        "--working_directory=/",
        environment=environment,
        mounts=image_mounts(image),
    )
