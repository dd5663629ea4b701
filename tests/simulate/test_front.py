# SPDX-License-Identifier: Apache-2.0
import asyncio
from functools import partial

import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.simulate.front import Front


async def test_each_agent_gets_the_connections_to_its_address() -> None:
    front = Front.bind(3)
    taken: list[int] = []

    def taker(number: int, transport: asyncio.Transport) -> None:
        taken.append(number)
        transport.write(str(number).encode())
        transport.close()

    servers = await front.serve([partial(taker, number) for number in range(3)])
    try:
        port = front.bounds[0].address.port
        assert [bound.address.ip for bound in front.bounds] == [
            f"127.64.0.{number}" for number in (1, 2, 3)
        ]
        for ip, answer in (("127.64.0.3", b"2"), ("127.64.0.1", b"0"), ("127.64.0.4", b"")):
            reader, writer = await asyncio.open_connection(ip, port)
            try:
                assert await reader.read() == answer
            except ConnectionError:
                assert not answer, "only strangers are refused"
            writer.close()
        assert taken == [2, 0]
    finally:
        for server in servers:
            server.close()
        front.close()


def test_more_addresses_than_there_are() -> None:
    for count, ip in ((300, "127.255.255.0"), (1, "::1"), (1, "nowhere")):
        with pytest.raises(FlagError):
            Front.bind(count, ip)
