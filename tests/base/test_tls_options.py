# SPDX-License-Identifier: Apache-2.0
"""What the environment says about TLS."""

from __future__ import annotations

import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.base.tls_options import TlsOptions

BASE = {
    "LIBPROCESS_SSL_ENABLED": "true",
    "LIBPROCESS_SSL_KEY_FILE": "/key",
    "LIBPROCESS_SSL_CERT_FILE": "/cert",
}


def options(**more: str) -> TlsOptions:
    made = TlsOptions.of(BASE | {f"LIBPROCESS_SSL_{name}": value for name, value in more.items()})
    assert made is not None
    return made


@pytest.mark.parametrize("environ", [{}, {"LIBPROCESS_SSL_ENABLED": "0"}, {"SSL_CERT_FILE": "/x"}])
def test_off(environ: dict[str, str]) -> None:
    assert TlsOptions.of(environ) is None


def test_defaults() -> None:
    made = options()
    assert (made.key_file, made.cert_file) == ("/key", "/cert")
    assert [made.support_downgrade, made.verify_server_cert, made.require_client_cert] == [
        False
    ] * 3
    assert (made.verification_depth, made.hostname_validation_scheme) == (4, "legacy")
    assert (made.lowest, made.highest) == ((1, 2), (1, 2))
    assert made.warnings == ()


def test_names_of_before() -> None:
    old = TlsOptions.of({name.removeprefix("LIBPROCESS_"): v for name, v in BASE.items()})
    assert old == options()
    assert options(VERIFY_CERT="1").verify_server_cert
    required = options(REQUIRE_CERT="true")
    assert required.require_client_cert
    assert required.verify_server_cert
    assert not options(VERIFY_CERT="1", VERIFY_SERVER_CERT="0").verify_server_cert


def test_the_longer_name_wins_with_a_warning() -> None:
    made = TlsOptions.of(BASE | {"SSL_KEY_FILE": "/other"})
    assert made is not None
    assert made.key_file == "/key"
    assert made.warnings == ("LIBPROCESS_SSL_KEY_FILE and SSL_KEY_FILE differ; using the first",)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"ENABLE_TLS_V1_3": "true"}, ((1, 2), (1, 3))),
        ({"ENABLE_TLS_V1_3": "true", "ENABLE_TLS_V1_2": "false"}, ((1, 3), (1, 3))),
        ({"ENABLE_TLS_V1_0": "1"}, ((1, 0), (1, 2))),
    ],
)
def test_versions(given: dict[str, str], wanted: object) -> None:
    made = options(**given)
    assert (made.lowest, made.highest) == wanted


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"KEY_FILE": ""}, "SSL requires key!"),
        ({"CERT_FILE": ""}, "SSL requires certificate!"),
        ({"SUPPORT_DOWNGRADE": "maybe"}, "LIBPROCESS_SSL_SUPPORT_DOWNGRADE=maybe"),
        ({"VERIFICATION_DEPTH": "-1"}, "VERIFICATION_DEPTH"),
        ({"HOSTNAME_VALIDATION_SCHEME": "none"}, "HOSTNAME_VALIDATION_SCHEME=none"),
        ({"ENABLE_SSL_V3": "true"}, "SSL 3"),
        ({"ENABLE_TLS_V1_2": "0"}, "All versions of TLS are switched off"),
    ],
)
def test_refusals(given: dict[str, str], error: str) -> None:
    with pytest.raises(FlagError, match=error):
        options(**given)


def test_who_only_connects_needs_no_key() -> None:
    made = TlsOptions.of({"SSL_ENABLED": "1", "SSL_CERT_FILE": "/bundle"}, need_key=False)
    assert made is not None
    assert made.cert_file == ""
    assert TlsOptions.of(BASE, need_key=False) == options()
