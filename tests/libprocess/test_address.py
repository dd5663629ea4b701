# SPDX-License-Identifier: Apache-2.0
"""What is bound, and what peers are told."""

from __future__ import annotations

import socket

import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.libprocess import address
from mesos_compat.libprocess.address import ListenOptions, bind


def test_flags_win_over_variables() -> None:
    environ = {
        "LIBPROCESS_IP": "1.2.3.4",
        "LIBPROCESS_PORT": "1",
        "LIBPROCESS_ADVERTISE_IP": "5.6.7.8",
        "LIBPROCESS_ADVERTISE_PORT": "2",
        "LIBPROCESS_REQUIRE_PEER_ADDRESS_IP_MATCH": "true",
    }
    assert ListenOptions.of(environ) == ListenOptions(
        ip="1.2.3.4",
        port=1,
        advertise_ip="5.6.7.8",
        advertise_port=2,
        require_peer_address_ip_match=True,
    )
    given = ListenOptions.of(
        environ, ip="127.0.0.1", port=5051, advertise_ip="9.9.9.9", advertise_port="7"
    )
    assert (given.ip, given.port, given.advertise_ip, given.advertise_port) == (
        "127.0.0.1",
        5051,
        "9.9.9.9",
        7,
    )
    assert ListenOptions.of({}) == ListenOptions()


@pytest.mark.parametrize(
    "environ",
    [
        {"LIBPROCESS_IP": "::1"},
        {"LIBPROCESS_IP": "host"},
        {"LIBPROCESS_PORT": "65536"},
        {"LIBPROCESS_PORT": "-1"},
        {"LIBPROCESS_PORT": "9" * 5000},
        {"LIBPROCESS_ADVERTISE_PORT": "0"},
        {"LIBPROCESS_ADVERTISE_IP": "x"},
    ],
)
def test_bad_values_are_named(environ: dict[str, str]) -> None:
    with pytest.raises(FlagError, match=next(iter(environ))):
        ListenOptions.of(environ)


def test_the_advertised_address_replaces_the_bound_one() -> None:
    options = ListenOptions(ip="127.0.0.1", advertise_ip="10.1.1.1", advertise_port=99)
    bound = bind(options)
    with bound.socket:
        assert bound.socket.getsockname()[0] == "127.0.0.1"
        assert str(bound.address) == "10.1.1.1:99"


def test_all_interfaces_mean_the_address_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "resolve", lambda host: "10.2.2.2")
    bound = bind(ListenOptions())
    with bound.socket:
        assert bound.address == ("10.2.2.2", bound.socket.getsockname()[1])


def test_a_host_without_address_must_be_told_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: str) -> str:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(address, "resolve", fail)
    with pytest.raises(FlagError, match="Failed to obtain the IP address for '"):
        bind(ListenOptions())


def test_a_taken_port_is_named() -> None:
    with bind(ListenOptions(ip="127.0.0.1")).socket as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FlagError, match=f"Failed to listen on 127.0.0.1:{port}: Address alr"):
            bind(ListenOptions(ip="127.0.0.1", port=port))


def test_resolve() -> None:
    assert address.resolve("10.0.0.1") == "10.0.0.1"
    assert address.resolve("localhost") == "127.0.0.1"
    with pytest.raises(OSError):
        address.resolve("x" * 300)
