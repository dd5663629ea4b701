# SPDX-License-Identifier: Apache-2.0
"""Realms: what is asked of whom, and the answers to those whom nobody knows."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.agent.flags import parse_agent_flags
from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.plugins import Parameters
from mesos_compat.http import authentication
from mesos_compat.http.authentication import (
    EXECUTOR,
    READ_ONLY,
    READ_WRITE,
    AuthenticationRefusal,
    AuthenticatorContext,
    HttpAuthenticator,
    Realms,
)
from mesos_compat.http.authenticators import BasicAuthenticator, JwtAuthenticator
from mesos_compat.http.principal import Principal, principal_of
from mesos_compat.http.realms import realms
from mesos_compat.model import jwt
from tests.http.fakes import FakePort, small_state
from tests.http.serving import Client, serving
from tests.model.test_jwt import CLAIMS, HEADER, KEY, signed

CREDENTIALS = {"ops": "s3cret", "colon": "a:b", "\N{SNOWMAN}": "\N{SNOWMAN}\N{SNOWMAN}"}
TEXT = "text/plain; charset=utf-8"
BASIC = 'Basic realm="mesos-agent-readonly"'
BEARER = 'Bearer realm="mesos-agent-readonly"'
NOW = 1_000_000_000.0


def basic(text: str | bytes) -> str:
    return "Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def context(realm: str = READ_ONLY) -> AuthenticatorContext:
    return AuthenticatorContext(realm, CREDENTIALS, KEY, time=lambda: NOW)


class Scripted:
    """Gives one answer to everybody."""

    def __init__(
        self, scheme: str, answer: Principal | AuthenticationRefusal | Exception | None
    ) -> None:
        self.scheme = scheme
        self._answer = answer

    async def authenticate(self, request: web.BaseRequest) -> Principal | AuthenticationRefusal:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer  # type: ignore[return-value]


async def asked(
    *authenticators: HttpAuthenticator, authorization: str | None = None
) -> tuple[int, str | None, str]:
    """Ask /flags; return status, challenge and text."""
    known = Realms({READ_ONLY: authenticators})
    headers = {} if authorization is None else {"Authorization": authorization}
    async with (
        serving(FakePort(small_state()), realms=known) as client,
        client.session.get(client.make_url("/flags"), headers=headers) as response,
    ):
        text = await response.text()
        if response.status != 200:
            assert response.headers["Content-Type"] == TEXT
        return response.status, response.headers.get("WWW-Authenticate"), text


@pytest.mark.parametrize("sent", ["ops:s3cret", "colon:a:b", "\N{SNOWMAN}:\N{SNOWMAN}\N{SNOWMAN}"])
async def test_basic_knows(sent: str) -> None:
    assert (await asked(BasicAuthenticator(context()), authorization=basic(sent)))[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "Basic",
        "Basic ",
        basic("ops:s3cret").replace("Basic", "basic"),
        basic("ops:s3cret").replace(" ", "  "),
        basic("ops:s3cret") + " ",
        basic("ops:s3cret") + " x",
        basic("ops:s3cret")[:-1],
        "Basic ops:s3cret",
        "Basic \N{LATIN SMALL LETTER SHARP S}",
        basic("ops"),
        basic("ops:"),
        basic(":"),
        basic(":s3cret"),
        basic("ops:wrong"),
        basic("ops:s3cre"),
        basic("nobody:s3cret"),
        basic("Ops:s3cret"),
        basic(b"\xff:\xff"),
        "Bearer x",
    ],
)
async def test_basic_does_not_know(sent: str | None) -> None:
    answer = await asked(BasicAuthenticator(context()), authorization=sent)
    if sent is not None and sent.endswith(" ") and len(sent) > 6:
        # Blanks at the end of a header are not part of it.
        assert answer[0] == 200
    else:
        assert answer == (401, BASIC, "401 Unauthorized.")


async def test_jwt_knows() -> None:
    token = jwt.encode(CLAIMS, KEY)
    assert (await asked(JwtAuthenticator(context()), authorization=f"Bearer {token}"))[0] == 200


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("Bearer", "Malformed 'Authorization' header"),
        ("Bearer  x", "Malformed 'Authorization' header"),
        ("Bearer a.b.c d", "Malformed 'Authorization' header"),
        ("bearer x", "Scheme 'bearer' unsupported"),
        ('"\\ x', "Scheme '??' unsupported"),
        (basic("ops:s3cret"), "Scheme 'Basic' unsupported"),
        ("Bearer a.b", "Invalid JWT: Expected 3 components in token, got 2"),
        (
            f"Bearer {signed({'alg': 'none'}, CLAIMS)}",
            'Invalid JWT: Token \'alg\' value "none" does not match, expected "HS256"',
        ),
        (
            f"Bearer {signed(HEADER, {'exp': 1})}",
            "Invalid JWT: Token has expired: exp(1) < now(1000000000)",
        ),
        (f"Bearer {signed(HEADER, CLAIMS, b'x')}", "Invalid JWT: Token signature does not match"),
        (f"Bearer {signed(HEADER, {})}", "JWT claims missing"),
    ],
)
async def test_jwt_does_not_know(sent: str, why: str) -> None:
    challenge = f'{BEARER}, error="invalid_token", error_description="{why}"'
    answer = await asked(JwtAuthenticator(context()), authorization=sent)
    assert answer == (401, challenge, "401 Unauthorized.")


async def test_no_token_at_all() -> None:
    assert await asked(JwtAuthenticator(context())) == (401, BEARER, "401 Unauthorized.")


async def test_several_are_asked_in_order() -> None:
    both = BasicAuthenticator(context()), JwtAuthenticator(context())
    for good in (basic("ops:s3cret"), f"Bearer {jwt.encode(CLAIMS, KEY)}"):
        assert (await asked(*both, authorization=good))[0] == 200
    body = (
        '"Basic" authenticator returned:\n401 Unauthorized.\n\n'
        '"Bearer" authenticator returned:\n401 Unauthorized.'
    )
    assert await asked(*both) == (401, f"{BASIC},{BEARER}", body)
    why = ', error="invalid_token", error_description="Scheme \'Basic\' unsupported"'
    wrong = await asked(*both, authorization=basic("ops:wrong"))
    assert wrong == (401, f"{BASIC},{BEARER}{why}", body)


async def test_what_several_answer() -> None:
    unknown = Scripted("A", AuthenticationRefusal(401, "who?", "A x"))
    forbidden = Scripted("B", AuthenticationRefusal(403, "no."))
    broken = Scripted("C", ValueError("s3cret"))
    late = Scripted("D", WireError("the directory does not answer"))
    assert await asked(forbidden) == (403, None, "no.")
    assert await asked(forbidden, unknown, broken) == (
        401,
        "A x",
        '"A" authenticator returned:\nwho?',
    )
    assert await asked(broken, forbidden) == (403, None, '"B" authenticator returned:\nno.')
    assert await asked(broken, late) == (
        500,
        None,
        "The authenticator of C failed\n\nthe directory does not answer",
    )
    assert (await asked(unknown, forbidden, broken, Scripted("E", Principal("p"))))[0] == 200


@pytest.mark.parametrize("nonsense", [None, Principal(None), Principal(None, {})])
async def test_nobody_is_no_principal(nonsense: Principal | None) -> None:
    assert await asked(Scripted("X", nonsense)) == (500, None, "The authenticator of X failed")


async def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Scripted):
        async def authenticate(self, request: web.BaseRequest) -> Principal | AuthenticationRefusal:
            await request.loop.create_future()
            raise AssertionError

    monkeypatch.setattr(authentication, "LIMIT_S", 0.01)
    answer = await asked(Hanging("X", None))
    assert answer == (500, None, "The authenticator of X failed")


async def test_what_broke_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    broken = Scripted("X", ValueError("s3cret"))
    assert await asked(broken) == (500, None, "The authenticator of X failed")
    assert "The authenticator of X broke: ValueError" in caplog.text
    assert "raise self._answer" in caplog.text
    assert "s3cret" not in caplog.text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")) | st.binary().map(basic))
async def test_any_header_is_nobodys(header: str) -> None:
    request = make_mocked_request("GET", "/", {"Authorization": header})
    for authenticator in (BasicAuthenticator(context()), JwtAuthenticator(context())):
        found = await authenticator.authenticate(request)
        assert isinstance(found, AuthenticationRefusal)
        assert found.challenge.isascii()
        assert found.challenge.isprintable()


async def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = signed(HEADER, CLAIMS, b"x")
    sent = basic("ops:s3cret-that-is-wrong")
    for header in (sent, f"Bearer {token}"):
        both = BasicAuthenticator(context()), JwtAuthenticator(context())
        assert (await asked(*both, authorization=header))[0] == 401
    assert "Refused GET '/flags' of 127.0.0.1: 401 by realm mesos-agent-readonly" in caplog.text
    for secret in ("s3cret", sent.split()[1], token, token.split(".")[2]):
        assert secret not in caplog.text
    assert "s3cret" not in repr(context())
    assert "key of an agent" not in repr(context())


#: Every route, and its realm.
ROUTES = {
    "/slave(1)/api/v1": READ_WRITE,
    "/slave(1)/api/v1/executor": EXECUTOR,
    "/slave(1)/state": READ_ONLY,
    "/slave(1)/state.json": READ_ONLY,
    "/slave(1)/flags": READ_ONLY,
    "/slave(1)/health": None,
    "/slave(1)/monitor/statistics": READ_ONLY,
    "/slave(1)/monitor/statistics.json": READ_ONLY,
    "/slave(1)/containers": READ_ONLY,
    "/slave(1)/containerizer/debug": READ_ONLY,
    "/files/browse": READ_ONLY,
    "/files/browse.json": READ_ONLY,
    "/files/read": READ_ONLY,
    "/files/read.json": READ_ONLY,
    "/files/download": READ_ONLY,
    "/files/download.json": READ_ONLY,
    "/files/debug": READ_ONLY,
    "/files/debug.json": READ_ONLY,
    "/metrics/snapshot": READ_ONLY,
    "/logging/toggle": READ_WRITE,
    "/profiler/start": READ_WRITE,
    "/profiler/stop": READ_WRITE,
    "/system/stats.json": None,
    "/version": None,
    "/help": None,
    "/__processes__": None,
}
#: Other names of some of them.
NAMES = {
    "/api/v1/": READ_WRITE,
    "/api/v1/resource_provider": READ_WRITE,
    "/slave%281%29/api/v1/x": READ_WRITE,
    "/api/v1/executor": EXECUTOR,
    "/api//v1/executor/x": EXECUTOR,
    "/state": READ_ONLY,
    "//state/x": READ_ONLY,
    "/files//read/": READ_ONLY,
    "/help/files/read": None,
}


async def status_of(client: Client, method: str, path: str, **headers: str) -> tuple[int, str]:
    url = client.make_url("/").origin()
    async with client.session.request(method, f"{url}{path}", headers=headers) as response:
        await response.read()
        return response.status, response.headers.get("WWW-Authenticate", "")


@pytest.mark.parametrize(("path", "realm"), [*ROUTES.items(), *NAMES.items()])
async def test_every_route_has_its_realm(path: str, realm: str | None) -> None:
    known = Realms(
        {each: (BasicAuthenticator(context(each)),) for each in (READ_ONLY, READ_WRITE, EXECUTOR)}
    )
    async with serving(FakePort(small_state()), realms=known) as client:
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            status, challenge = await status_of(client, method, path)
            if realm is None:
                assert (status, challenge) == (200, "")
            else:
                assert (status, challenge) == (401, f'Basic realm="{realm}"')
                known_status, _ = await status_of(
                    client, method, path, Authorization=basic("ops:s3cret")
                )
                assert known_status not in (401, 403)


async def test_no_route_is_left_out() -> None:
    """A route that is added needs a line above."""
    async with (
        serving(FakePort(small_state())) as client,
        client.session.get(client.make_url("/help?format=json")) as response,
    ):
        shown = await response.json()
    routes = {
        f"/{process['id']}{endpoint['name']}".rstrip("/")
        for process in shown["processes"]
        for endpoint in process["endpoints"]
    }
    assert routes == ROUTES.keys()


async def test_unknown_paths_are_unknown_to_everybody() -> None:
    known = Realms({READ_ONLY: (BasicAuthenticator(context()),)})
    async with serving(FakePort(small_state()), realms=known) as client:
        assert await status_of(client, "GET", "/nothing") == (404, "")
        # A realm that nobody protects takes whatever is sent.
        assert (await status_of(client, "GET", "/logging/toggle", Authorization="x"))[0] == 200


async def test_a_body_is_not_read_for_nobody() -> None:
    port = FakePort(small_state())
    known = Realms({READ_WRITE: (BasicAuthenticator(context(READ_WRITE)),)})
    async with serving(port, realms=known) as client:
        for _ in range(2):
            async with client.session.post(
                client.make_url("/api/v1"),
                data=b"{" * 100_000,
                headers={"Content-Type": "application/json"},
            ) as response:
                assert response.status == 401


async def test_who_it_is_is_told_to_the_request() -> None:
    found: list[Principal | None] = []

    class Spy(Scripted):
        async def authenticate(self, request: web.BaseRequest) -> Principal | AuthenticationRefusal:
            found.append(principal_of(request))
            return Principal("ops", {"a": "b"})

    class Request(dict[object, object]):
        method, path, remote = "GET", "/", "127.0.0.1"

    request = Request()
    known = Realms({READ_ONLY: (Spy("X", None),)})
    assert await known.refusal(READ_ONLY, request) is None  # type: ignore[arg-type]
    assert found == [None]
    assert principal_of(request) == Principal("ops", {"a": "b"})  # type: ignore[arg-type]
    assert await known.refusal(READ_WRITE, request) is None  # type: ignore[arg-type]
    assert principal_of(request) is None  # type: ignore[arg-type]


# Flags.


def made(
    *flags: str, key: bytes | None = None, parameters: Mapping[str, Parameters] | None = None
) -> dict[str, list[str]]:
    """Return the schemes of each realm."""
    given = parse_agent_flags(["--master=127.0.0.1:5050", "--work_dir=/w", *flags], {})
    known = realms(given, key, parameters or {}, lambda: NOW)
    return {
        realm: [each.scheme for each in authenticators]
        for realm, authenticators in known._authenticators.items()
    }


@pytest.fixture
def credentials(tmp_path: Path) -> str:
    file = tmp_path / "credentials"
    file.write_text("ops s3cret\n")
    file.chmod(0o600)
    return f"--http_credentials={file}"


def test_which_realms_have_what(credentials: str) -> None:
    assert made() == {}
    assert made(credentials) == {}
    assert made("--http_authenticators=nonsense") == {}
    assert made("--authenticate_http_readonly", credentials) == {READ_ONLY: ["Basic"]}
    assert made("--authenticate_http_readwrite", credentials) == {READ_WRITE: ["Basic"]}
    everything = (
        "--authenticate_http_readonly",
        "--authenticate_http_readwrite",
        "--authenticate_http_executors",
        "--jwt_secret_key=/k",
        credentials,
    )
    both = ["Basic", "Bearer"]
    assert made(*everything, key=KEY) == {READ_ONLY: both, READ_WRITE: both, EXECUTOR: both}
    tokens = {realm: ["Bearer"] for realm in (READ_ONLY, READ_WRITE, EXECUTOR)}
    assert made(*everything, "--http_authenticators=jwt", key=KEY) == tokens


@pytest.mark.parametrize(
    ("flags", "key", "warned"),
    [
        ([], None, True),
        ([], KEY, True),
        (["--http_authenticators=basic,jwt"], KEY, False),
        (["--authenticate_http_executors", "--jwt_secret_key=/k"], KEY, False),
    ],
)
def test_executors_that_cannot_have_nested_containers(
    credentials: str,
    flags: list[str],
    key: bytes | None,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made("--authenticate_http_readonly", credentials, *flags, key=key)
    assert "Executors of task groups" not in caplog.text
    made("--authenticate_http_readwrite", credentials, *flags, key=key)
    assert ("Executors of task groups will be refused" in caplog.text) == warned


@pytest.mark.parametrize(
    ("flags", "key", "error"),
    [
        (
            ["--authenticate_http_executors"],
            None,
            "--jwt_secret_key must be specified when --authenticate_http_executors is set to true",
        ),
        (
            ["--authenticate_http_readonly"],
            None,
            "Failed to create HTTP authenticator module 'basic': .*No credentials provided for the"
            " default 'basic' HTTP authenticator for realm 'mesos-agent-readonly'",
        ),
        (
            ["--authenticate_http_readwrite", "--http_authenticators=jwt"],
            None,
            "Failed to create HTTP authenticator module 'jwt': .*No secret key provided for the"
            " default 'jwt' HTTP authenticator for realm 'mesos-agent-readwrite'",
        ),
        (
            ["--authenticate_http_readonly", "--http_authenticators=ldap"],
            None,
            r"HTTP authenticator 'ldap' not found\. .*known: basic, jwt",
        ),
        (
            ["--authenticate_http_readonly", "--http_authenticators=basic, jwt"],
            KEY,
            "No credentials provided|HTTP authenticator ' jwt' not found",
        ),
        (["--authenticate_http_readonly", "--http_authenticators=,"], None, "No HTTP auth"),
    ],
)
def test_unusable_flags(flags: list[str], key: bytes | None, error: str) -> None:
    with pytest.raises(FlagError, match=error):
        made(*flags, key=key)


def test_old_names_of_flags(tmp_path: Path) -> None:
    given = parse_agent_flags(
        ["--master=127.0.0.1:5050", "--work_dir=/w", "--executor_secret_key=/k"], {}
    )
    assert given.jwt_secret_key == "/k"
