# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from containerizer.provisioner.registry.proxies import proxy_for

P = "http://proxy:3128"


@pytest.mark.parametrize(
    ("environment", "scheme", "host", "proxy"),
    [
        ({}, "https", "a", None),
        ({"https_proxy": P}, "https", "a", P),
        ({"https_proxy": P}, "http", "a", None),
        ({"HTTPS_PROXY": P, "https_proxy": "http://x"}, "https", "a", "http://x"),
        ({"HTTP_PROXY": "proxy:1"}, "http", "a", "http://proxy:1"),
        ({"all_proxy": P}, "http", "a", P),
        ({"all_proxy": P, "no_proxy": "*"}, "http", "a", None),
        ({"all_proxy": P, "NO_PROXY": "x, a.b ,y"}, "http", "a.b", None),
        ({"all_proxy": P, "no_proxy": "a.b"}, "http", "x.a.b", None),
        ({"all_proxy": P, "no_proxy": ".a.b"}, "http", "a.b", None),
        ({"all_proxy": P, "no_proxy": "*.a.b"}, "http", "x.a.b", None),
        ({"all_proxy": P, "no_proxy": "a.b"}, "http", "xa.b", P),
        ({"all_proxy": P, "no_proxy": "10.0.0.0/8"}, "http", "10.1.2.3", None),
        ({"all_proxy": P, "no_proxy": "10.0.0.0/8"}, "http", "11.1.2.3", P),
        ({"all_proxy": P, "no_proxy": "a:80"}, "http", "a", None),
        ({"all_proxy": P, "no_proxy": "a:81"}, "http", "a", P),
    ],
)
def test_proxies(environment: dict[str, str], scheme: str, host: str, proxy: str | None) -> None:
    assert proxy_for(environment, scheme, host, 80) == proxy
