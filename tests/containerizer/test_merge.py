# SPDX-License-Identifier: Apache-2.0
"""From what isolators ask for to what init does, compared with a real agent's checkpoints."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from containerizer.merge import Parent, complete, merged
from mesos_compat.base.errors import ContainerError
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

GOLDEN = Path(__file__).parents[1] / "golden" / "runtime"
SANDBOX = "/mnt/mesos/sandbox"


def golden(name: str) -> tuple[slave.ContainerConfig, slave.ContainerLaunchInfo]:
    config = slave.ContainerConfig()
    info = slave.ContainerLaunchInfo()
    for message, kind in ((config, "config"), (info, "launch_info")):
        data = (GOLDEN / f"{name}.{kind}").read_bytes()
        (length,) = struct.unpack_from("<I", data)
        assert length == len(data) - 4
        message.ParseFromString(data[4:])
    return config, info


def environment(*names: str) -> pb.Environment:
    return pb.Environment(variables=[pb.Environment.Variable(name=n, value=n) for n in names])


def isolators_part(expected: slave.ContainerLaunchInfo) -> slave.ContainerLaunchInfo:
    """Take from a recorded launch info what the containerizer itself adds."""
    part = slave.ContainerLaunchInfo()
    part.CopyFrom(expected)
    for name in ("environment", "working_directory", "user", "command"):
        part.ClearField(name)
    return part


def test_the_command_task_of_a_real_agent() -> None:
    config, expected = golden("command-task-image")
    part = isolators_part(expected)
    part.command.arguments.append(expected.command.arguments[4])
    variables = {v.name: v.value for v in expected.environment.variables[:-1]}
    assert complete(merged([part]), config, variables, SANDBOX) == expected


def test_the_default_executor_of_a_real_agent() -> None:
    config, expected = golden("default-executor")
    variables = {v.name: v.value for v in expected.environment.variables[:-1]}
    assert complete(merged([isolators_part(expected)]), config, variables, SANDBOX) == expected


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ({"rootfs": "/"}, {}, "Isolator should not specify rootfs"),
        ({"user": "u"}, {}, "Isolator should not specify user"),
        (
            {"working_directory": "/"},
            {"working_directory": "/"},
            "Multiple isolators specify working directory",
        ),
        (
            {"effective_capabilities": pb.CapabilityInfo()},
            {"effective_capabilities": pb.CapabilityInfo()},
            "Multiple isolators specify effective capabilities",
        ),
        ({"rlimits": {}}, {"rlimits": {}}, "Multiple isolators specify rlimits"),
        ({"tty_slave_path": "/"}, {"tty_slave_path": "/"}, "Multiple isolators specify tty"),
    ],
)
def test_contradictions(first: dict[str, object], second: dict[str, object], text: str) -> None:
    infos = [slave.ContainerLaunchInfo(**f) for f in (first, second)]  # type: ignore[arg-type]  # a table of any field
    with pytest.raises(ContainerError) as caught:
        merged(infos)
    assert str(caught.value) == text


def test_lists_are_joined_and_sets_sorted() -> None:
    made = merged(
        [
            slave.ContainerLaunchInfo(
                clone_namespaces=[5, 3],
                enter_namespaces=[9],
                supplementary_groups=[2, 1],
                masked_paths=["b", "a"],
                no_new_privileges=True,
                environment=environment("x"),
            ),
            slave.ContainerLaunchInfo(
                clone_namespaces=[3, 1],
                enter_namespaces=[9, 4],
                supplementary_groups=[2],
                task_supplementary_groups=[8, 7, 8],
                masked_paths=["a"],
                no_new_privileges=False,
                environment=environment("x", "y"),
            ),
        ]
    )
    assert list(made.clone_namespaces) == [1, 3, 5]
    assert list(made.enter_namespaces) == [4, 9]
    assert list(made.supplementary_groups) == [1, 2]
    assert list(made.task_supplementary_groups) == [7, 8]
    assert list(made.masked_paths) == ["b", "a", "a"]
    assert not made.no_new_privileges
    assert [v.name for v in made.environment.variables] == ["x", "x", "y"]


def test_the_order_of_an_executors_arguments() -> None:
    config = slave.ContainerConfig(directory="/s", rootfs="/r", user="u")
    config.command_info.arguments.extend(["mesos-executor", "--launcher_dir=/l"])
    config.task_info.name = "t"
    info = slave.ContainerLaunchInfo(task_supplementary_groups=[5, 6])
    info.command.arguments.extend(["--task_launch_info={}", "--working_directory=/w"])
    for name, value in (("A", "1"), ("B", "2"), ("A", "3")):
        info.task_environment.variables.add(name=name, value=value)
    made = complete(info, config, {}, SANDBOX)
    assert list(made.command.arguments) == [
        "mesos-executor",
        "--launcher_dir=/l",
        "--task_launch_info={}",
        "--working_directory=/w",
        '--task_environment={"variables":[{"name":"A","type":"VALUE","value":"3"},'
        '{"name":"B","type":"VALUE","value":"2"}]}',
        "--task_supplementary_groups=5,6",
        "--rootfs=/r",
    ]
    assert not made.HasField("rootfs")
    assert made.user == "root"
    assert made.working_directory == "/s"


def test_isolators_may_not_replace_an_executors_command() -> None:
    config = slave.ContainerConfig(directory="/s")
    config.task_info.name = "t"
    info = slave.ContainerLaunchInfo()
    info.command.value = "x"
    with pytest.raises(ContainerError):
        complete(info, config, {}, SANDBOX)


def test_any_other_command_is_the_isolators() -> None:
    config = slave.ContainerConfig(directory="/s", rootfs="/r")
    config.command_info.value = "v"
    config.command_info.user = "u"
    config.command_info.uris.add(value="file:///x")
    config.command_info.environment.CopyFrom(environment("E"))
    secret = config.command_info.environment.variables.add(name="S")
    secret.type = pb.Environment.Variable.SECRET
    info = slave.ContainerLaunchInfo(working_directory="/w", environment=environment("I"))
    unchanged = complete(info, config, {"A": "1"}, SANDBOX)
    assert unchanged.command == pb.CommandInfo(value="v")
    assert unchanged.working_directory == "/w"
    assert unchanged.rootfs == "/r"
    assert not unchanged.HasField("user")
    assert [v.name for v in unchanged.environment.variables] == ["A", "MESOS_SANDBOX", "I", "E"]
    assert unchanged.environment.variables[1].value == SANDBOX
    info.command.value = "/bin/x"
    assert complete(info, config, {}, SANDBOX).command == pb.CommandInfo(value="/bin/x")


def test_without_an_image_everything_is_in_the_hosts_sandbox() -> None:
    config = slave.ContainerConfig(directory="/s", user="u")
    made = complete(slave.ContainerLaunchInfo(working_directory="/w"), config, {}, SANDBOX)
    assert made.working_directory == "/s"
    assert made.environment.variables[0].value == "/s"
    assert made.user == "u"


def debug_config() -> slave.ContainerConfig:
    return slave.ContainerConfig(directory="/s", container_class=slave.ContainerClass.DEBUG)


def test_a_session_inherits_from_its_parent() -> None:
    token = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"
    parent = Parent(
        slave.ContainerConfig(),
        slave.ContainerLaunchInfo(working_directory="/w", environment=environment(token, "P")),
    )
    made = complete(slave.ContainerLaunchInfo(), debug_config(), {}, SANDBOX, parent)
    assert [v.name for v in made.environment.variables] == ["P"]
    assert made.working_directory == "/w"
    alone = complete(slave.ContainerLaunchInfo(), debug_config(), {}, SANDBOX)
    assert alone.HasField("environment")
    assert not alone.HasField("working_directory")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--working_directory=/x"], "/x"), ([], SANDBOX)],
)
def test_a_session_in_a_command_task_with_image(arguments: list[str], expected: str) -> None:
    config = slave.ContainerConfig(rootfs="/r")
    config.task_info.name = "t"
    info = slave.ContainerLaunchInfo(working_directory="/host")
    info.command.arguments.extend(arguments)
    made = complete(slave.ContainerLaunchInfo(), debug_config(), {}, SANDBOX, Parent(config, info))
    assert made.working_directory == expected
