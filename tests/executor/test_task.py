# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import signal

import pytest

from containerizer.init.spec import LaunchSpec
from mesos_compat.executor.flags import parse_flags
from mesos_compat.executor.task import end_message, grace_s, launch_info
from mesos_compat.model.jsonpb import JsonObject
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from tests.executor.fake_agent import shell_task


def _said(info: JsonObject) -> JsonObject:
    LaunchSpec.of(info)
    return {name: value for name, value in info.items() if value not in (None, [])}


def test_without_an_image_only_the_command_is_said() -> None:
    task = shell_task("sleep 10")
    task.command.uris.add(value="http://x/y")
    task.command.environment.variables.add(name="A", value="b")
    task.command.user = "nobody"
    info = launch_info(parse_flags(["--launcher_dir=/x"]).options, task)
    assert _said(info) == {"command": {"shell": True, "arguments": [], "value": "sleep 10"}}


def test_with_an_image_all_arguments_are_used() -> None:
    flags = parse_flags(
        [
            "--launcher_dir=/x",
            "--sandbox_directory=/mnt/mesos/sandbox",
            "--user=daemon",
            '--task_launch_info={"mounts":[{"source":"/a","target":"/b","flags":4096}],'
            '"clone_namespaces":[131072],"rootfs":"/not/this"}',
            '--effective_capabilities={"capabilities":["CHOWN"]}',
            '--bounding_capabilities={"capabilities":["CHOWN","KILL"]}',
            "--task_supplementary_groups=5,6",
            "--rootfs=/r",
        ]
    )
    assert _said(launch_info(flags.options, shell_task("x"))) == {
        "rootfs": "/r",
        "user": "daemon",
        "clone_namespaces": [131072],
        "command": {"shell": True, "arguments": [], "value": "x"},
        "working_directory": "/mnt/mesos/sandbox",
        "effective_capabilities": {"capabilities": ["CHOWN"]},
        "bounding_capabilities": {"capabilities": ["CHOWN", "KILL"]},
        "mounts": [{"source": "/a", "target": "/b", "flags": 4096}],
        "supplementary_groups": [5, 6],
    }
    image = parse_flags(["--sandbox_directory=/s", "--working_directory=/w", "--rootfs=/r"])
    assert launch_info(image.options, shell_task("x"))["working_directory"] == "/w"


@pytest.mark.parametrize(
    ("wait_status", "text"),
    [
        (0, "Command exited with status 0"),
        (3 << 8, "Command exited with status 3"),
        (int(signal.SIGKILL), "Command terminated with signal Killed"),
        (int(signal.SIGABRT) | 0x80, "Command terminated with signal Aborted (core dumped)"),
    ],
)
def test_ends_in_words(wait_status: int, text: str) -> None:
    assert end_message(wait_status) == text


def test_the_first_grace_period_counts() -> None:
    unset, two = v1.KillPolicy(), v1.KillPolicy()
    two.grace_period.nanoseconds = 2_000_000_000
    assert grace_s([unset, two]) == 2.0
    assert grace_s([two, unset]) == 2.0
    assert grace_s([unset, unset]) == 3.0
