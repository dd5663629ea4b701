# SPDX-License-Identifier: Apache-2.0
"""Registries of tests are reached directly, and without the credentials of whoever runs them."""

import os

import pytest


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_CONFIG", "/nonexistent")
