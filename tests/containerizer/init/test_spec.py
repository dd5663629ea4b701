# SPDX-License-Identifier: Apache-2.0
"""The JSON form of a launch."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.init.spec import (
    DirectoryStep,
    LaunchCommand,
    LaunchSpec,
    MountStep,
    RenameStep,
    ResourceLimit,
    SpecError,
    SymlinkStep,
)
from containerizer.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

_TRUE = {"value": "true"}


def _message() -> slave.ContainerLaunchInfo:
    """A launch info with every field that means something to a launch."""
    info = slave.ContainerLaunchInfo(
        rootfs="/r",
        user="u",
        supplementary_groups=[1, 2],
        working_directory="/w",
        clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID],
        enter_namespaces=[CLONE_NEWPID],
        masked_paths=["/m"],
        no_new_privileges=True,
        tty_slave_path="/dev/pts/1",
    )
    info.command.value = "x"
    info.command.shell = False
    info.command.arguments.extend(["a", ""])
    info.environment.variables.add(name="N", value="")
    info.mounts.add(source="s", target="t", type="ty", flags=2**32 - 1, options="o")
    info.mounts.add(target="t")
    info.pre_exec_commands.add(value="p")
    add = info.file_operations.add
    operation = slave.ContainerFileOperation
    step = add(operation=operation.SYMLINK)
    step.symlink.source, step.symlink.target = "a", "b"
    step = add(operation=operation.RENAME)
    step.rename.source, step.rename.target = "c", "d"
    step = add(operation=operation.MKDIR)
    step.mkdir.target, step.mkdir.recursive = "e", True
    step = add(operation=operation.MOUNT)
    step.mount.target = "f"
    info.effective_capabilities.capabilities.append(pb.CapabilityInfo.CHOWN)
    info.bounding_capabilities.SetInParent()
    info.rlimits.rlimits.add(type=1, soft=2**64 - 1, hard=2**64 - 1)
    info.rlimits.rlimits.add(type=2)
    info.task_environment.SetInParent()
    info.task_supplementary_groups.append(3)
    return info


def test_every_field() -> None:
    assert LaunchSpec.from_json(jsonpb.print_message(_message())) == LaunchSpec(
        command=LaunchCommand("x", shell=False, arguments=("a", "")),
        environment=(("N", ""),),
        rootfs="/r",
        working_directory="/w",
        user="u",
        supplementary_groups=(1, 2),
        enter_namespaces=CLONE_NEWPID,
        clone_namespaces=CLONE_NEWNS | CLONE_NEWPID,
        mounts=(MountStep("t", "s", "ty", 2**32 - 1, "o"), MountStep("t")),
        masked_paths=("/m",),
        file_operations=(
            SymlinkStep("a", "b"),
            RenameStep("c", "d"),
            DirectoryStep("e", True),
            MountStep("f"),
        ),
        pre_exec_commands=(LaunchCommand("p"),),
        effective_capabilities=1,
        bounding_capabilities=0,
        rlimits=(
            ResourceLimit("RLMT_AS", 2**64 - 1, 2**64 - 1),
            ResourceLimit("RLMT_CORE", None, None),
        ),
        no_new_privileges=True,
        tty=True,
    )


def test_every_field_of_the_message_is_known() -> None:
    for field in slave.ContainerLaunchInfo.DESCRIPTOR.fields:
        text = ""
        try:
            LaunchSpec.of({"command": _TRUE, field.name: "no such value"})
        except SpecError as error:
            text = str(error)
        assert "unknown fields" not in text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "'launch_info' is not a JSON object"),
        ({}, "Launch command is not specified"),
        ({"command": {}}, "Shell command is not specified"),
        ({"command": {"shell": False, "value": ""}}, "Executable path is not specified"),
        ({"command": _TRUE, "new_restriction": {}}, "unknown fields: new_restriction"),
        ({"command": {"value": 1}}, "'launch_info.command.value' is not a string"),
        ({"command": {"value": "a\0b"}}, "has a null character"),
        ({"command": {"value": "\ud800"}}, "is not a valid string"),
        ({"command": _TRUE, "clone_namespaces": [3]}, "unknown namespace 0x3"),
        ({"command": _TRUE, "clone_namespaces": 3}, "is not a list"),
        ({"command": _TRUE, "supplementary_groups": ["x"]}, "is not a whole number"),
        ({"command": _TRUE, "supplementary_groups": [True]}, "is not a whole number"),
        ({"command": _TRUE, "no_new_privileges": 1}, "is not a boolean"),
        ({"command": _TRUE, "mounts": [{}]}, "'launch_info.mounts[0]' has no 'target'"),
        ({"command": _TRUE, "file_operations": [{}]}, "has no 'operation'"),
        ({"command": _TRUE, "file_operations": [{"operation": "X"}]}, "file operation 'X'"),
        ({"command": _TRUE, "file_operations": [{"operation": "MKDIR"}]}, "has no parameters"),
        (
            {"command": _TRUE, "effective_capabilities": {"capabilities": ["X"]}},
            "Unknown capability 'X'",
        ),
        (
            {
                "command": _TRUE,
                "environment": {"variables": [{"name": "S", "type": "SECRET"}]},
            },
            "'S' is an unresolved secret",
        ),
        (
            {"command": _TRUE, "environment": {"variables": [{"name": "A=B"}]}},
            "'A=B' has an unusable name",
        ),
    ],
)
def test_unusable_documents(document: object, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        LaunchSpec.of(document)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff"])
def test_no_json(text: str | bytes) -> None:
    with pytest.raises(SpecError, match="Failed to parse launch info"):
        LaunchSpec.from_json(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_NAMES = [field.name for field in slave.ContainerLaunchInfo.DESCRIPTOR.fields]


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_any_document_is_read_or_refused(document: object) -> None:
    try:
        LaunchSpec.of(document)
    except SpecError:
        return


def test_mount_quotes_itself_as_upstream_does() -> None:
    step = MountStep("/t", "/s", None, 20480)
    assert step.json() == '{"flags":20480,"source":"/s","target":"/t"}'
    assert json.loads(MountStep('/"', type="x", options="o").json()) == {
        "target": '/"',
        "type": "x",
        "options": "o",
    }
