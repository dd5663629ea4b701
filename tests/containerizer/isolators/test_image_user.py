# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from containerizer.isolators.appc_runtime import AppcRuntimeIsolator
from containerizer.isolators.docker_runtime import DockerRuntimeIsolator
from containerizer.isolators.image_user import appc_user, image_user
from containerizer.linux import users
from containerizer.linux.users import Identity
from containerizer.merge import complete, merged
from containerizer.provisioner.appc_details import AppcApp
from mesos_compat.base.errors import ContainerError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")
PASSWD = """root:x:0:0:root:/root:/bin/sh
app:x:1000:1001::/home/app:/bin/sh
7:x:77:78::/:/bin/sh
broken
odd:x:-5:1::/:/bin/sh
big:x:99999999999:1::/:/bin/sh
"""
GROUP = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nlog:x:11:app\n"


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    made = tmp_path / "rootfs"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text(PASSWD)
    (made / "etc/group").write_text(GROUP)
    return made


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("app", Identity(1000, 1001, (1001, 10, 11))),
        ("1000", Identity(1000, 1001, (1001, 10, 11))),
        ("4711", Identity(4711, 0, ())),
        ("7", Identity(77, 78, (78,))),
        ("app:log", Identity(1000, 11, ())),
        ("app:500", Identity(1000, 500, ())),
        ("5:6", Identity(5, 6, ())),
        ("root", Identity(0, 0, (0, 10))),
    ],
)
def test_users(rootfs: Path, text: str, identity: Identity) -> None:
    assert image_user(str(rootfs), text) == identity


@pytest.mark.parametrize(
    "text", ["none", "odd", "big", "-1", "4294967295", "٣", "app:", "app:none", "", ":5", "#0:0"]
)
def test_unknown(rootfs: Path, text: str) -> None:
    with pytest.raises(IsolatorError, match="The image has no"):
        image_user(str(rootfs), text)


def test_files_that_lead_out_or_are_none(rootfs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("spy:x:1:1::/:/bin/sh\n")
    passwd = rootfs / "etc/passwd"
    passwd.unlink()
    passwd.symlink_to(outside)
    with pytest.raises(IsolatorError):
        image_user(str(rootfs), "spy")
    passwd.unlink()
    os.mkfifo(passwd)
    assert image_user(str(rootfs), "5:6") == Identity(5, 6, ())
    passwd.unlink()
    (rootfs / "real").write_bytes(b"\xff\xfe:x:9\nlinked:x:1:2::/:\n")
    passwd.symlink_to("/real")
    assert image_user(str(rootfs), "linked") == Identity(1, 2, (2,))


def config_of(rootfs: Path, image: str, user: str = "root", own: str = "") -> slave.ContainerConfig:
    config = slave.ContainerConfig(rootfs=str(rootfs), directory=str(rootfs.parent), user=user)
    config.container_info.type = pb.ContainerInfo.MESOS
    config.docker.manifest.config.User = image
    config.command_info.value = "true"
    if own:
        config.command_info.user = own
    return config


async def launched(config: slave.ContainerConfig) -> slave.ContainerLaunchInfo:
    info = await DockerRuntimeIsolator(image_user=True).prepare(C, config)
    assert info is not None
    return complete(merged([info]), config, {}, "/mnt/mesos/sandbox")


@pytest.mark.root
async def test_a_container_gets_the_user_and_the_sandbox(rootfs: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = await launched(config_of(rootfs, "app"))
    assert made.user == "#1000:1001,1001,10,11"
    assert users.of_numbers(made.user) == Identity(1000, 1001, (1001, 10, 11))
    found = rootfs.parent.stat()
    assert (found.st_uid, found.st_gid) == (1000, 1001)


async def test_a_command_task_is_told(rootfs: Path) -> None:
    config = config_of(rootfs, "app")
    config.task_info.command.value = "true"
    config.command_info.arguments.extend(["mesos-executor", "--user=root"])
    made = await launched(config)
    assert made.user == "root"
    assert "--user=root" not in made.command.arguments
    assert "--user=#1000:1001,1001,10,11" in made.command.arguments


async def test_who_the_task_names_counts(rootfs: Path) -> None:
    assert (await launched(config_of(rootfs, "app", "daemon", "daemon"))).user == "daemon"


@pytest.mark.parametrize("image", ["root", "0:5", "5:0", "4711", "0"])
async def test_an_image_makes_nobody_root(
    rootfs: Path, image: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await launched(config_of(rootfs, image, "daemon"))).user == "daemon"
    assert "has the group of root: ignored" in caplog.text


async def test_an_unknown_user_fails_the_launch(rootfs: Path) -> None:
    with pytest.raises(IsolatorError, match="The image has no user 'none'"):
        await launched(config_of(rootfs, "none"))


async def test_nobody_sends_numbers(rootfs: Path) -> None:
    with pytest.raises(ContainerError, match="Failed to get the uid of user '#0:0'"):
        await launched(config_of(rootfs, "", "#0:0"))
    with pytest.raises(ContainerError, match="Isolator should not specify user"):
        merged([slave.ContainerLaunchInfo(user="app")])


@pytest.mark.parametrize("text", ["", "#", "#1", "#1:2:3", "#-1:0", "#1:2,", "1:2", "#1:2\n"])
def test_what_are_no_numbers(text: str) -> None:
    assert users.of_numbers(text) is None


def test_users_of_appc(rootfs: Path) -> None:
    def found(user: str, group: str) -> Identity:
        return appc_user(str(rootfs), user, group, (5, 6, 5))

    assert found("app", "log") == Identity(1000, 11, (5, 6))
    assert found("7", "4") == Identity(77, 4, (5, 6))
    owner = (rootfs / "etc/passwd").stat()
    expected = Identity(owner.st_uid, owner.st_gid, (5, 6))
    assert found("/etc/passwd", "/etc/passwd") == expected
    (rootfs / "link").symlink_to("/../../etc/passwd")
    assert found("/link", "/link") == expected
    os.mkfifo(rootfs / "fifo")
    assert found("/fifo", "/fifo") == expected


@pytest.mark.parametrize(
    ("user", "group"),
    [("none", "0"), ("0", "none"), ("0", ""), ("-1", "0"), ("/none", "0"), ("0", "/a/none")],
)
def test_unknown_users_of_appc(rootfs: Path, user: str, group: str) -> None:
    with pytest.raises(IsolatorError, match="The image has no"):
        appc_user(str(rootfs), user, group, ())


@pytest.mark.parametrize(
    ("user", "group", "expected"), [("app", "log", True), ("root", "log", False)]
)
async def test_the_user_of_an_appc_image(
    rootfs: Path, tmp_path: Path, user: str, group: str, expected: bool
) -> None:
    config = slave.ContainerConfig(rootfs=str(rootfs), directory=str(tmp_path), user="nobody")
    config.container_info.type = pb.ContainerInfo.MESOS
    config.appc.manifest.app.exec.append("/a")
    config.task_info.command.shell = False
    app = AppcApp(image="i", user=user, group=group)

    async def prepared(*extensions: str) -> slave.ContainerLaunchInfo:
        isolator = AppcRuntimeIsolator(frozenset(extensions), {C: app}.get)
        info = await isolator.prepare(C, config)
        assert info is not None
        return info

    assert not (await prepared()).HasField("user")
    info = await prepared("user")
    assert info.HasField("user") == expected
    if expected:
        assert info.user == users.numbered(Identity(1000, 11, ()))
    config.task_info.command.user = "nobody"
    assert not (await prepared("user")).HasField("user")
