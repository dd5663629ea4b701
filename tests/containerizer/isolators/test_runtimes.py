# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from containerizer.isolators.appc_runtime import AppcRuntimeIsolator
from containerizer.isolators.base import Isolator
from containerizer.isolators.docker_runtime import DockerRuntimeIsolator
from containerizer.linux.mount import MS_BIND, MS_RDONLY, MS_REC
from containerizer.provisioner.appc_details import AppcApp, MountPoint
from mesos_compat.base.errors import IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")


def docker_config() -> slave.ContainerConfig:
    config = slave.ContainerConfig(rootfs="/r")
    config.container_info.type = pb.ContainerInfo.MESOS
    runtime = config.docker.manifest.config
    runtime.Env.extend(["A=img", "broken", "X=a=b"])
    runtime.WorkingDir = "/made/here"
    runtime.Cmd.append("/bin/sh")
    return config


def appc_config(app: bool = True) -> slave.ContainerConfig:
    config = slave.ContainerConfig(rootfs="/r")
    config.container_info.type = pb.ContainerInfo.MESOS
    config.appc.manifest.name = "plain"
    if app:
        section = config.appc.manifest.app
        section.workingDirectory = "/wd/x"
        section.environment.add(name="E1", value="v1")
        section.exec.extend(["/bin/cat", "x"])
    return config


async def prepared(isolator: Isolator, config: slave.ContainerConfig) -> slave.ContainerLaunchInfo:
    info = await isolator.prepare(C, config)
    assert info is not None
    return info


async def test_a_command_task_is_told_by_arguments() -> None:
    config = docker_config()
    config.task_info.command.shell = False
    info = await prepared(DockerRuntimeIsolator(), config)
    assert list(info.command.arguments) == [
        "--working_directory=/made/here",
        '--task_command={"arguments":["/bin/sh"],"shell":false,"value":"/bin/sh"}',
    ]
    assert [(v.name, v.value) for v in info.task_environment.variables] == [
        ("A", "img"),
        ("X", "a=b"),
    ]
    assert not info.HasField("environment")
    assert not info.HasField("working_directory")


async def test_an_unchanged_command_task() -> None:
    config = docker_config()
    config.task_info.command.value = "true"
    info = await prepared(DockerRuntimeIsolator(), config)
    assert list(info.command.arguments) == ["--working_directory=/made/here"]


async def test_others_get_it_directly() -> None:
    config = docker_config()
    config.command_info.shell = False
    info = await prepared(DockerRuntimeIsolator(), config)
    assert info.command == pb.CommandInfo(shell=False, value="/bin/sh", arguments=["/bin/sh"])
    assert [v.name for v in info.environment.variables] == ["A", "X"]
    assert info.working_directory == "/made/here"
    assert not info.HasField("task_environment")


async def test_an_image_without_configuration() -> None:
    config = slave.ContainerConfig(rootfs="/r")
    config.container_info.type = pb.ContainerInfo.MESOS
    config.docker.manifest.id = "x"
    config.command_info.value = "true"
    assert await prepared(DockerRuntimeIsolator(), config) == slave.ContainerLaunchInfo()


async def test_the_user_of_an_image_is_only_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    config = docker_config()
    config.command_info.value = "true"
    config.docker.manifest.config.User = "app"
    info = await prepared(DockerRuntimeIsolator(), config)
    assert not info.HasField("user")
    assert "Container user 'app' is not supported yet for container c" in caplog.text


async def test_what_is_left_alone() -> None:
    assert await DockerRuntimeIsolator().prepare(C, slave.ContainerConfig()) is None
    assert await DockerRuntimeIsolator(ignore_runtime=True).prepare(C, docker_config()) is None
    assert await DockerRuntimeIsolator().prepare(C, appc_config()) is None
    assert await AppcRuntimeIsolator().prepare(C, docker_config()) is None
    assert await AppcRuntimeIsolator().prepare(C, appc_config(app=False)) is None


async def test_docker_containers_are_refused() -> None:
    config = slave.ContainerConfig()
    config.container_info.type = pb.ContainerInfo.DOCKER
    with pytest.raises(IsolatorError, match=r"^Can only prepare docker runtime for a MESOS"):
        await DockerRuntimeIsolator().prepare(C, config)
    with pytest.raises(IsolatorError, match=r"^Can only prepare Appc runtime for a MESOS"):
        await AppcRuntimeIsolator().prepare(C, config)


@pytest.mark.parametrize(
    ("arguments", "executed"), [([], ["/bin/cat", "x"]), (["q"], ["/bin/cat", "q"])]
)
async def test_appc(arguments: list[str], executed: list[str]) -> None:
    config = appc_config()
    config.command_info.shell = False
    config.command_info.arguments.extend(arguments)
    info = await prepared(AppcRuntimeIsolator(), config)
    assert list(info.command.arguments) == executed
    assert info.working_directory == "/wd/x"
    assert [(v.name, v.value) for v in info.environment.variables] == [("E1", "v1")]
    config.appc.manifest.app.ClearField("exec")
    with pytest.raises(IsolatorError, match=r"No executable is found$"):
        await AppcRuntimeIsolator().prepare(C, config)


def appc_isolator(app: AppcApp, *extensions: str, capabilities: bool = False) -> Isolator:
    return AppcRuntimeIsolator(
        frozenset(extensions), {C: app}.get, "/sandbox", capabilities=capabilities
    )


APP = AppcApp(
    image="example.com/img",
    user="app",
    mount_points=(
        MountPoint("data", "/data"),
        MountPoint("again", "/data/"),
        MountPoint("taken", "/taken"),
        MountPoint("conf", "/etc/conf", read_only=True),
    ),
    isolators={
        "os/linux/no-new-privileges": True,
        "os/linux/capabilities-retain-set": {"set": []},
        "resource/cpu": {"limit": "1"},
    },
    event_handlers={"pre-start": ("/x",)},
)


async def test_an_appc_image_as_upstream_sees_it(caplog: pytest.LogCaptureFixture) -> None:
    config = appc_config()
    config.command_info.shell = False
    info = await prepared(appc_isolator(APP), config)
    assert info == await prepared(AppcRuntimeIsolator(), config)
    assert "os/linux/no-new-privileges, os/linux/capabilities-retain-set" in caplog.text
    assert "resource/cpu, user 'app', event handler 'pre-start'" in caplog.text


async def test_variables_that_appc_demands() -> None:
    config = appc_config()
    config.appc.manifest.name = "example.com/img"
    config.appc.manifest.app.environment.add(name="container", value="mine")
    config.command_info.shell = False
    info = await prepared(appc_isolator(APP, "environment"), config)
    found = {each.name: each.value for each in info.environment.variables}
    assert found == {"AC_APP_NAME": "img", "container": "mine", "E1": "v1"}


async def test_rights_that_an_appc_image_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    config = appc_config()
    config.command_info.shell = False
    info = await prepared(appc_isolator(APP, "isolators"), config)
    assert info.no_new_privileges
    assert "not honoured of its image: os/linux/capabilities-retain-set, res" in caplog.text
    caplog.clear()
    await prepared(appc_isolator(APP, "isolators", capabilities=True), config)
    assert "not honoured of its image: resource/cpu" in caplog.text


async def test_mount_points_of_an_appc_image(tmp_path: Path) -> None:
    config = appc_config()
    config.command_info.shell = False
    for name in ("rootfs", "sandbox"):
        (tmp_path / name).mkdir()
    config.rootfs, config.directory = str(tmp_path / "rootfs"), str(tmp_path / "sandbox")
    config.container_info.volumes.add(
        host_path="/", container_path="/taken/below", mode=pb.Volume.RW
    )
    info = await prepared(appc_isolator(APP, "mount_points"), config)
    assert [(mount.source, mount.target, mount.flags) for mount in info.mounts] == [
        (f"{tmp_path}/sandbox/.appc-mounts/0", f"{tmp_path}/rootfs/data", MS_BIND | MS_REC),
        (
            f"{tmp_path}/sandbox/.appc-mounts/3",
            f"{tmp_path}/rootfs/etc/conf",
            MS_BIND | MS_REC | MS_RDONLY,
        ),
    ]
    for mount in info.mounts:
        assert Path(mount.source).is_dir()
        assert Path(mount.target).is_dir()
