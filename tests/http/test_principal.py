# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from aiohttp.test_utils import make_mocked_request

from mesos_compat.http.principal import Principal, principal_of, set_principal


def test_a_request_has_no_principal_before_it_gets_one() -> None:
    request = make_mocked_request("GET", "/state")
    assert principal_of(request) is None
    set_principal(request, Principal("ops"))
    assert principal_of(request) == Principal("ops")
    set_principal(request, None)
    assert principal_of(request) is None
