# SPDX-License-Identifier: Apache-2.0
"""Output in files of an agent that rotates them."""

from __future__ import annotations

from mesos_compat.base.errors import ContainerError
from mesos_compat.cli.containers.agent import AgentLogs
from mesos_compat.cli.containers.client import OperatorClient
from mesos_compat.pb.mesos.v1.agent import agent_pb2


class Files(OperatorClient):
    """The files of an agent by name."""

    def __init__(self) -> None:
        super().__init__("nowhere:1")
        self.content: dict[str, bytes] = {}

    async def call(self, call: agent_pb2.Call, *, endless: bool = False) -> agent_pb2.Response:
        wanted = call.read_file
        content = self.content.get(wanted.path)
        if content is None:
            raise ContainerError("not found")
        made = agent_pb2.Response(type=agent_pb2.Response.READ_FILE)
        made.read_file.size = len(content)
        made.read_file.data = content[wanted.offset : wanted.offset + wanted.length]
        return made


async def everything(logs: AgentLogs, offset: int) -> bytes:
    found = b""
    while piece := await logs.read("stdout", offset + len(found), 3):
        found += piece
    return found


async def test_a_rotation_is_followed() -> None:
    files = Files()
    logs = AgentLogs(files, "/s", lambda: False)
    files.content["/s/stdout"] = b"one two"
    read = await everything(logs, 0)
    files.content = {"/s/stdout.1": b"one two three", "/s/stdout": b" four"}
    read += await everything(logs, len(read))
    assert read == b"one two three four"
    assert await logs.size("stdout") == len(read)
    files.content["/s/stdout"] += b" five"
    assert await everything(logs, len(read)) == b" five"


async def test_what_was_removed_is_missing() -> None:
    files = Files()
    logs = AgentLogs(files, "/s", lambda: False)
    files.content["/s/stdout"] = b"one two"
    read = await everything(logs, 0)
    files.content["/s/stdout"] = b"9"
    assert await everything(logs, len(read)) == b"9"
