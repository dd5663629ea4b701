# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import ApiError
from mesos_compat.http import reply, routes
from mesos_compat.http.routes import Router, parse_query, parse_target

ROUTER = Router(
    ["/slave(1)/state", "/slave(1)/api/v1", "/slave(1)/api/v1/executor", "/files/read", "/version"]
)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/state", "/slave(1)/state"),
        ("/slave%281%29/state", "/slave(1)/state"),
        ("/api/v1/executor/x", "/slave(1)/api/v1/executor"),
        ("/api/v1/x", "/slave(1)/api/v1"),
        ("/api", None),
        ("/files/read/x", "/files/read"),
        ("/files/state", None),
        ("/version", "/version"),
        ("/version/", "/version"),
        ("/version/x", None),
        ("/", None),
        ("/%zz", None),
        ("/%ff%fe", None),
    ],
)
def test_routes(path: str, route: str | None) -> None:
    assert ROUTER.find(ROUTER.full_path(path)) == route


@pytest.mark.parametrize(("path", "route"), [("/state", "/slave(1)/state"), ("/files", None)])
def test_a_path_of_many_components(path: str, route: str | None) -> None:
    """In time that grows like its length: else this would take an hour."""
    assert ROUTER.find(ROUTER.full_path(path + "/a" * 500_000)) == route


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {}),
        ("a=1&b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1&a=2", {"a": "2"}),
        ("a", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("p=a+b%2Bc%3B", {"p": "a b+c;"}),
        ("p=%25%2e", {"p": "%."}),
        ("p=%ff", {"p": "\udcff"}),
    ],
)
def test_queries(text: str, query: dict[str, str]) -> None:
    assert parse_query(text) == query


@pytest.mark.parametrize("text", ["a=%", "a=%2", "a=%zz", "%"])
def test_bad_escapes(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_query(text)
    assert caught.value.status == 400


@given(st.text(max_size=40))
def test_any_target_is_routed_or_refused(text: str) -> None:
    try:
        target = parse_target("/" + text)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017
        return
    full = ROUTER.full_path(target.path)
    assert full.startswith("/")
    ROUTER.find(full)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3))
def test_queries_read_back(query: dict[str, str]) -> None:
    def quote(text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        return "".join(f"%{byte:02x}" for byte in data)

    shown = parse_query("&".join(f"{quote(k)}={quote(v)}" for k, v in query.items()))
    expected = {k: v for k, v in query.items() if not _lone(k + v)}
    assert {k: shown.get(k) for k in expected if k} == {k: v for k, v in expected.items() if k}


def _lone(text: str) -> bool:
    return any(0xD800 <= ord(char) < 0xE000 for char in text)


def test_errors_have_upstreams_texts() -> None:
    assert reply.error(503).body == b"503 Service Unavailable."
    assert reply.error(415).body == b"415 Unsupported Media Type."
    assert reply.failure(ApiError(404)).body == b""
    assert reply.method_not_allowed("GET", ["POST"]).headers == (("Allow", "POST"),)


def test_the_delegate_is_the_agent() -> None:
    assert ROUTER.full_path("/x/y") == f"/{routes.DELEGATE}/x/y"
