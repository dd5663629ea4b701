# SPDX-License-Identifier: Apache-2.0
"""Addresses as users write them."""

from __future__ import annotations

import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.cli.connect import ServerAddress, peer_of
from mesos_compat.libprocess.http_client import HttpPeer

ENABLED = {"LIBPROCESS_SSL_ENABLED": "true"}


@pytest.mark.parametrize(
    ("text", "scheme", "rest", "credentials"),
    [
        (" h:1 ", "", "h:1", None),
        ("zk://u:p@a:1,b:2/mesos", "", "zk://u:p@a:1,b:2/mesos", None),
        ("http://h:1", "http", "h:1", None),
        ("https://h/", "https", "h:443", None),
        ("http://h", "http", "h:80", None),
        ("https://u:p%40q:r@h:1", "https", "h:1", ("u", "p@q:r")),
        ("tls://127.0.0.1:1", "tls", "127.0.0.1:1", None),
    ],
)
def test_addresses(text: str, scheme: str, rest: str, credentials: tuple[str, str] | None) -> None:
    made = ServerAddress.parse(text)
    assert (made.scheme, made.rest, made.credentials) == (scheme, rest, credentials)
    assert "p@q" not in f"{made} {made!r}"


@pytest.mark.parametrize("text", ["http://", "https://u:secret@", "https://u:secret@h:1/path"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(FlagError) as raised:
        ServerAddress.parse(text)
    assert "secret" not in str(raised.value)


def test_peers() -> None:
    assert peer_of("127.0.0.1:5") == HttpPeer("127.0.0.1", 5)
    named = peer_of("localhost:5")
    assert (named.name, str(named)) == ("localhost", "localhost:5")
    with pytest.raises(FlagError):
        peer_of("h")


@pytest.mark.parametrize(
    ("text", "environ", "wanted"),
    [
        ("h:1", {}, None),
        ("http://h:1", ENABLED, None),
        # as within the cluster: whatever the environment says
        ("h:1", ENABLED, (False, "legacy", False, (1, 2))),
        ("tls://h:1", {}, (False, "legacy", False, (1, 2))),
        ("h:1", {**ENABLED, "LIBPROCESS_SSL_VERIFY_CERT": "1"}, (True, "legacy", False, (1, 2))),
        # as everywhere: verified, unless the environment says otherwise
        ("https://h:1", {}, (True, "openssl", False, (1, 3))),
        ("https://h:1", ENABLED, (True, "openssl", False, (1, 3))),
        (
            "https://h:1",
            {"LIBPROCESS_SSL_SUPPORT_DOWNGRADE": "1", "LIBPROCESS_SSL_ENABLE_TLS_V1_3": "0"},
            (True, "openssl", False, (1, 2)),
        ),
        (
            "https://h:1",
            {"SSL_VERIFY_SERVER_CERT": "0", "SSL_HOSTNAME_VALIDATION_SCHEME": "legacy"},
            (False, "legacy", False, (1, 3)),
        ),
        ("https://h:1", {"LIBPROCESS_SSL_VERIFY_CERT": "0"}, (False, "openssl", False, (1, 3))),
        (
            "h:1",
            {**ENABLED, "LIBPROCESS_SSL_SUPPORT_DOWNGRADE": "1"},
            (False, "legacy", True, (1, 2)),
        ),
    ],
)
def test_tls(text: str, environ: dict[str, str], wanted: object) -> None:
    made = ServerAddress.parse(text).tls(environ)
    if made is not None:
        options = made.options
        assert made.warnings == []
        assert wanted == (
            options.verify_server_cert,
            options.hostname_validation_scheme,
            options.support_downgrade,
            options.highest,
        )
    else:
        assert wanted is None


def test_unusable_files() -> None:
    with pytest.raises(FlagError, match="/missing"):
        ServerAddress.parse("https://h:1").tls({"LIBPROCESS_SSL_CA_FILE": "/missing"})
