# SPDX-License-Identifier: Apache-2.0
"""Endpoints that are switched off, under all of their names."""

from __future__ import annotations

import pytest

from mesos_compat.http.authentication import READ_ONLY, AuthenticatorContext, Realms
from mesos_compat.http.authenticators import BasicAuthenticator
from tests.http.fakes import FakePort, small_state
from tests.http.serving import Client, serving


async def answer(client: Client, path: str) -> tuple[int, str]:
    url = client.make_url("/").origin()
    async with client.session.get(f"{url}{path}") as response:
        return response.status, await response.text()


@pytest.mark.parametrize(
    "rule", ["/state", "/slave(1)/state", "/slave%281%29//state/", "state", "/state.json"]
)
async def test_all_names_of_an_endpoint(rule: str) -> None:
    async with serving(FakePort(small_state()), disabled=[rule]) as client:
        for path, full in (
            ("/state", "state"),
            ("//state/", "state"),
            ("/slave(1)/state", "state"),
            ("/slave%281%29/state", "state"),
            ("/state/x", "state/x"),
            ("/state.json", "state.json"),
        ):
            text = f"Endpoint '/slave(1)/{full}' is disabled"
            assert await answer(client, path) == (403, text)
        for path in ("/flags", "/health", "/metrics/snapshot", "/system/stats.json"):
            assert (await answer(client, path))[0] == 200
        assert (await answer(client, "/statefull"))[0] == 404


async def test_endpoints_of_other_actors() -> None:
    disabled = ["/files/browse", "/system/stats.json", "/metrics/snapshot", "/help", "/api/v1"]
    async with serving(FakePort(small_state()), disabled=disabled) as client:
        for path in ("/files/browse", "/files/browse.json", "/files//browse/x?path=/"):
            assert (await answer(client, path))[0] == 403
        assert await answer(client, "/help/files") == (403, "Endpoint '/help/files' is disabled")
        for path in ("/system/stats.json/", "/metrics/snapshot/", "/slave(1)/api/v1"):
            assert (await answer(client, path))[0] == 403
        # What is below has a route of its own.
        assert (await answer(client, "/api/v1/executor"))[0] == 405
        assert (await answer(client, "/files/read"))[0] == 400


async def test_before_all_else() -> None:
    """Nobody is asked who they are; what is not there can be switched off, too."""
    context = AuthenticatorContext(READ_ONLY, {"a": "b"})
    known = Realms({READ_ONLY: (BasicAuthenticator(context),)})
    port = FakePort(small_state())
    async with serving(port, realms=known, disabled=["/state", "/nothing"]) as client:
        assert (await answer(client, "/state"))[0] == 403
        assert (await answer(client, "/flags"))[0] == 401
        text = "Endpoint '/slave(1)/nothing' is disabled"
        assert await answer(client, "/nothing") == (403, text)


async def test_a_rule_for_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FakePort(small_state()), disabled=["/stat", "/files/read"]) as client:
        assert (await answer(client, "/state"))[0] == 200
    assert caplog.messages[0] == (
        "There is no endpoint '/stat' that --firewall_rules could disable"
    )
    assert "files/read" not in caplog.text
