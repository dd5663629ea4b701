# SPDX-License-Identifier: Apache-2.0
"""``LIBPROCESS_SSL_*``: what the environment says about TLS. Pure, and without OpenSSL.

Deviation: without ``LIBPROCESS_SSL_CIPHERS`` ephemeral keys and AEAD ciphers come before upstream's
list, of which all that OpenSSL still knows remains. SSL 3 can not be switched on.

Source: spec ``agent-master`` 2.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mesos_compat.base.errors import FlagError

#: Tells an executor of the agent's own that its agent is reached by TLS; tasks do not see it.
AGENT_TLS: Final = "MESOS_AGENT_TLS"

_PREFIXES: Final = ("LIBPROCESS_SSL_", "SSL_")
_TRUE: Final = ("1", "true")
_FALSE: Final = ("0", "false")
_SCHEMES: Final = ("legacy", "openssl")
#: Protocols in their order, with whether they are on without being mentioned.
_PROTOCOLS: Final = (
    ("TLS_V1_0", False),
    ("TLS_V1_1", False),
    ("TLS_V1_2", True),
    ("TLS_V1_3", False),
)

#: All of upstream's, so that its agents and masters find one that they know.
_UPSTREAM_CIPHERS: Final = (
    "AES128-SHA:AES256-SHA:RC4-SHA:DHE-RSA-AES128-SHA:DHE-DSS-AES128-SHA:DHE-RSA-AES256-SHA"
    ":DHE-DSS-AES256-SHA"
)
_CIPHERS: Final = f"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:{_UPSTREAM_CIPHERS}"
#: What the environment need not say for servers that are given as URL.
_URL_DEFAULTS: Final = {
    "VERIFY_CERT": "true",
    "VERIFY_IPADD": "true",
    "HOSTNAME_VALIDATION_SCHEME": "openssl",
    "ENABLE_TLS_V1_3": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """TLS as the operator wants it. Paths as given; empty where there is none."""

    cert_file: str = ""
    key_file: str = ""
    #: Plain peers are served, too, and plain connections made where TLS fails.
    support_downgrade: bool = False
    verify_server_cert: bool = False
    require_client_cert: bool = False
    verify_ip: bool = False
    verification_depth: int = 4
    ca_dir: str = ""
    ca_file: str = ""
    ciphers: str = _CIPHERS
    ecdh_curves: str = "auto"
    #: ``legacy`` or ``openssl``.
    hostname_validation_scheme: str = "legacy"
    #: Lowest and highest protocol, as (1, 2).
    lowest: tuple[int, int] = (1, 2)
    highest: tuple[int, int] = (1, 2)
    #: What to log at WARNING.
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], *, need_key: bool = True) -> TlsOptions | None:
        """Read the environment; ``None`` if TLS is not switched on.

        Without ``need_key`` (who only connects) certificate and key may be missing. Raises
        FlagError.
        """
        variables = _Variables(environ)
        if not variables.flag("ENABLED", False):
            return None
        return cls._of(variables, need_key)

    @classmethod
    def of_url(cls, environ: Mapping[str, str]) -> TlsOptions:
        """Read the environment for a server that was given as ``https://…``.

        Whatever it does not say is as everywhere: the server is verified by the name or IP of its
        URL, by TLS 1.3, too, and never spoken to in plain. Raises FlagError.
        """
        made = cls._of(_Variables(environ, _URL_DEFAULTS), need_key=False)
        return replace(made, support_downgrade=False)

    @classmethod
    def _of(cls, variables: _Variables, need_key: bool) -> TlsOptions:
        cert, key = variables.text("CERT_FILE"), variables.text("KEY_FILE")
        if not need_key and not (cert and key):
            # SSL_CERT_FILE alone may be OpenSSL's own variable.
            cert = key = ""
        if need_key and not key:
            raise FlagError("SSL requires key! NOTE: Set path with LIBPROCESS_SSL_KEY_FILE")
        if need_key and not cert:
            raise FlagError(
                "SSL requires certificate! NOTE: Set path with LIBPROCESS_SSL_CERT_FILE"
            )
        require = variables.flag("REQUIRE_CLIENT_CERT", variables.flag("REQUIRE_CERT", False))
        verify = variables.flag("VERIFY_SERVER_CERT", variables.flag("VERIFY_CERT", False))
        scheme = variables.text("HOSTNAME_VALIDATION_SCHEME") or "legacy"
        if scheme not in _SCHEMES:
            raise FlagError(
                f"LIBPROCESS_SSL_HOSTNAME_VALIDATION_SCHEME={scheme}: expecting one of"
                f" {', '.join(_SCHEMES)}"
            )
        lowest, highest = _protocols(variables)
        return cls(
            cert_file=cert,
            key_file=key,
            support_downgrade=variables.flag("SUPPORT_DOWNGRADE", False),
            verify_server_cert=verify or require,
            require_client_cert=require,
            verify_ip=variables.flag("VERIFY_IPADD", False),
            verification_depth=variables.number("VERIFICATION_DEPTH", 4),
            ca_dir=variables.text("CA_DIR"),
            ca_file=variables.text("CA_FILE"),
            ciphers=variables.text("CIPHERS") or _CIPHERS,
            ecdh_curves=variables.text("ECDH_CURVES") or "auto",
            hostname_validation_scheme=scheme,
            lowest=lowest,
            highest=highest,
            warnings=tuple(variables.warnings),
        )


def _protocols(variables: _Variables) -> tuple[tuple[int, int], tuple[int, int]]:
    if variables.flag("ENABLE_SSL_V3", False):
        raise FlagError("LIBPROCESS_SSL_ENABLE_SSL_V3: this OpenSSL has no SSL 3")
    enabled = [
        (1, minor)
        for minor, (name, default) in enumerate(_PROTOCOLS)
        if variables.flag(f"ENABLE_{name}", default)
    ]
    if not enabled:
        raise FlagError("All versions of TLS are switched off (LIBPROCESS_SSL_ENABLE_TLS_*)")
    if len(enabled) != enabled[-1][1] - enabled[0][1] + 1:
        variables.warnings.append("TLS versions between two that are enabled are enabled, too")
    return enabled[0], enabled[-1]


class _Variables:
    """One variable at a time, under either prefix."""

    def __init__(
        self, environ: Mapping[str, str], defaults: Mapping[str, str] | None = None
    ) -> None:
        self._values: dict[str, str] = {}
        self._defaults = defaults or {}
        self.warnings: list[str] = []
        for prefix in reversed(_PREFIXES):
            for name, value in environ.items():
                if not name.startswith(prefix):
                    continue
                suffix = name.removeprefix(prefix)
                if self._values.get(suffix, value) != value:
                    self.warnings.append(
                        f"LIBPROCESS_SSL_{suffix} and SSL_{suffix} differ; using the first"
                    )
                self._values[suffix] = value

    def text(self, suffix: str) -> str:
        return self._values.get(suffix, "") or self._defaults.get(suffix, "")

    def flag(self, suffix: str, default: bool) -> bool:
        value = self.text(suffix)
        if not value:
            return default
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise FlagError(f"LIBPROCESS_SSL_{suffix}={value}: expecting true or false")

    def number(self, suffix: str, default: int) -> int:
        value = self.text(suffix)
        if not value:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise FlagError(f"LIBPROCESS_SSL_{suffix}={value}: expecting a number")
        return int(value)
