# SPDX-License-Identifier: Apache-2.0
"""The whole decision table, against what a real agent executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from containerizer.isolators.runtime_command import image_command
from mesos_compat.base.errors import IsolatorError
from mesos_compat.pb.mesos import mesos_pb2 as pb

TABLE = Path(__file__).parents[2] / "golden" / "containers" / "docker-runtime-table.txt"
CAT = ["/bin/cat", "/proc/self/cmdline"]
IMAGES = {"e0c0": ([], []), "e0c1": ([], CAT), "e1c0": (CAT, []), "e1c1": (CAT, ["/cmd1"])}


def rows() -> list[tuple[str, str, str, str, str]]:
    found = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("SA "):
            _, shell, value, arguments, image, rest = line.split(" ", 5)
            found.append((shell, value, arguments, image, rest))
    assert len(found) == 32
    return found


@pytest.mark.parametrize(("shell", "value", "arguments", "image", "seen"), rows())
def test_row(shell: str, value: str, arguments: str, image: str, seen: str) -> None:
    command = pb.CommandInfo(shell=shell == "1")
    if value == "1":
        command.value = "cat"
    if arguments == "1":
        command.arguments.extend(
            ["cat", "/proc/self/cmdline"] if value == "1" else ["/proc/self/cmdline", "q"]
        )
    entrypoint, cmd = IMAGES[image]
    status, _, rest = seen.partition(" ")
    if status == "400":
        with pytest.raises(IsolatorError) as caught:
            image_command(command, entrypoint, cmd)
        assert rest.startswith(str(caught.value) + "  ''")
        return
    changed = image_command(command, entrypoint, cmd)
    if value == "1":
        assert changed is None
        return
    assert changed is not None
    assert not changed.shell
    assert changed.value == changed.arguments[0] == "/bin/cat"
    executed = "".join(f"{argument}|" for argument in changed.arguments)
    assert f"'{executed}" in rest


def test_the_rest_of_the_command_stays() -> None:
    command = pb.CommandInfo(shell=False, user="u")
    changed = image_command(command, [], ["/x"])
    assert changed == pb.CommandInfo(shell=False, user="u", value="/x", arguments=["/x"])
    assert not command.HasField("value")
