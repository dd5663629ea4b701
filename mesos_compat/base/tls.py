# SPDX-License-Identifier: Apache-2.0
"""Contexts of OpenSSL for TLS among libprocess peers, and what is checked after a handshake.

With the scheme ``legacy`` a certificate has to name what the peer's IP is called by reverse DNS,
which OpenSSL can not check; with ``openssl`` it checks the name or IP that was dialled.

Deviation: of several ``LIBPROCESS_SSL_ECDH_CURVES`` only the first is used, with a warning, before
Python 3.15, whose ``ssl`` is the first to take a list.

Source: spec ``agent-master`` 2.8.
"""

from __future__ import annotations

import logging
import socket
import ssl
import warnings
from collections.abc import Mapping
from typing import Any, Final

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.tls_options import TlsOptions

log = logging.getLogger(__name__)

_VERSIONS: Final = {
    (1, 0): ssl.TLSVersion.TLSv1,
    (1, 1): ssl.TLSVersion.TLSv1_1,
    (1, 2): ssl.TLSVersion.TLSv1_2,
    (1, 3): ssl.TLSVersion.TLSv1_3,
}
#: NIST's names of curves, which lists of them may use → those that OpenSSL knows a single one by.
_CURVES: Final = {
    "P-192": "prime192v1",
    "P-224": "secp224r1",
    "P-256": "prime256v1",
    "P-384": "secp384r1",
    "P-521": "secp521r1",
}
#: Ends a handshake as a wrong certificate does.
_CERTIFICATE_ERROR: Final = 1


class Tls:
    """Both sides of TLS, made once at start. Raises FlagError for unusable files or settings."""

    def __init__(self, options: TlsOptions) -> None:
        self.options = options
        #: What to log at WARNING.
        self.warnings = list(options.warnings)
        if not _takes_lists() and ":" in options.ecdh_curves:
            self.warnings.append(
                "LIBPROCESS_SSL_ECDH_CURVES: this Python can use one curve only, the first"
            )
        self.server = self._context(ssl.PROTOCOL_TLS_SERVER)
        self.server.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
        self.server.verify_mode = (
            ssl.CERT_REQUIRED if options.require_client_cert else ssl.CERT_NONE
        )
        self.client = self._client()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Tls | None:
        """Read ``LIBPROCESS_SSL_*`` for a program that also listens; ``None``: it speaks no TLS.

        Raises FlagError.
        """
        options = TlsOptions.of(environ)
        if options is None:
            return None
        made = cls(options)
        for warning in made.warnings:
            log.warning("%s", warning)
        return made

    def server_name(self, ip: str, name: str) -> str:
        """Return the name of a server for the handshake; ``name`` was dialled or is empty.

        Raises WireError if its certificate could not be checked.
        """
        if name or not self.client.check_hostname:
            return name or ip
        if self.options.verify_ip:
            return ip
        raise WireError(
            f"{ip} was given without a name, so its certificate cannot be checked"
            " (LIBPROCESS_SSL_VERIFY_IPADD)"
        )

    def client_of(self, ip: str, name: str | None) -> ssl.SSLContext:
        """Return a context for one server that ends the handshake if ``check`` refuses it.

        ``name`` is what reverse DNS calls ``ip``. For connections that others make.
        """
        if not self.options.verify_server_cert:
            return self.client
        context, looks_up = self._client(), self.looks_up_servers
        tls = self

        class _Checked(ssl.SSLObject):
            def do_handshake(self) -> None:
                super().do_handshake()
                try:
                    if looks_up:
                        tls.check(self, ip, name)
                    else:
                        tls.check_depth(self)
                except WireError as error:
                    raise ssl.SSLCertVerificationError(_CERTIFICATE_ERROR, str(error)) from error

        context.sslobject_class = _Checked
        return context

    @property
    def looks_up_servers(self) -> bool:
        """Whether ``check`` needs the name of a server's address."""
        return self.client.verify_mode == ssl.CERT_REQUIRED and not self.client.check_hostname

    @property
    def looks_up_clients(self) -> bool:
        """Whether ``check`` needs the name of a client's address."""
        legacy = self.options.hostname_validation_scheme == "legacy"
        return self.options.require_client_cert and legacy

    def check(self, connection: Any, ip: str, name: str | None) -> None:
        """Check the certificate of a peer that was verified, by the scheme ``legacy``.

        ``connection`` is the ``ssl_object`` of a transport or an SSLSocket, ``name`` what reverse
        DNS calls ``ip``. Raises WireError.
        """
        self.check_depth(connection)
        certificate = connection.getpeercert()
        names = certificate.get("subjectAltName", ())
        if self.options.verify_ip and ("IP Address", ip) in names:
            return
        if name is None:
            if self.options.require_client_cert:
                raise WireError(f"the address {ip} has no name to check the certificate with")
            return
        known = [value for kind, value in names if kind == "DNS"]
        if not known:
            known = [
                value
                for part in certificate.get("subject", ())
                for kind, value in part
                if kind == "commonName"
            ]
        if name not in known:
            shown = ", ".join(known) or "nobody"
            raise WireError(f"the certificate of {ip} is of {shown}, not of {name}")

    def check_server(self, connection: Any, ip: str) -> None:
        """Check the certificate of a server as far as it was verified; may block for a name.

        Raises WireError.
        """
        if self.looks_up_servers:
            try:
                name, _ = socket.getnameinfo((ip, 0), socket.NI_NAMEREQD)
            except OSError:
                self.check(connection, ip, None)
            else:
                self.check(connection, ip, name)
        elif self.options.verify_server_cert:
            self.check_depth(connection)

    def check_depth(self, connection: Any) -> None:
        """Refuse a chain with more than so many certificates between the first and the last."""
        # public since Python 3.13
        inner = getattr(connection, "_sslobj", None)
        chain = getattr(
            connection, "get_verified_chain", getattr(inner, "get_verified_chain", None)
        )
        if chain is None:
            return
        between = len(chain() or ()) - 2
        if between > self.options.verification_depth:
            raise WireError(f"{between} certificates between that of the peer and the last")

    def _client(self) -> ssl.SSLContext:
        made = self._context(ssl.PROTOCOL_TLS_CLIENT)
        verify = self.options.verify_server_cert
        made.check_hostname = verify and self.options.hostname_validation_scheme == "openssl"
        made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        return made

    def _context(self, protocol: Any) -> ssl.SSLContext:
        options = self.options
        context = ssl.SSLContext(protocol)
        context.check_hostname = False
        with warnings.catch_warnings():
            # Who enables old versions was told so by upstream's documentation.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = _VERSIONS[options.lowest]
            context.maximum_version = _VERSIONS[options.highest]
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        try:
            context.set_ciphers(options.ciphers)
            if options.ecdh_curves != "auto":
                _set_curves(context, options.ecdh_curves)
        except (ssl.SSLError, ValueError) as error:
            raise FlagError(f"Unusable ciphers or curves (LIBPROCESS_SSL_*): {error}") from error
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        options = self.options
        if options.cert_file:
            try:
                # No prompt: a key with a password is an error.
                context.load_cert_chain(
                    options.cert_file, options.key_file or None, password=lambda: b""
                )
            except OSError as error:
                raise FlagError(
                    f"Could not load the certificate {options.cert_file} and the key"
                    f" {options.key_file}: {error}"
                ) from error
        try:
            if options.ca_file or options.ca_dir:
                context.load_verify_locations(options.ca_file or None, options.ca_dir or None)
            else:
                context.set_default_verify_paths()
        except OSError as error:
            raise FlagError(
                f"Could not load the certificates of {options.ca_file or options.ca_dir}: {error}"
            ) from error


def _takes_lists() -> bool:
    return hasattr(ssl.SSLContext, "set_groups")


def _set_curves(context: Any, curves: str) -> None:
    if _takes_lists():
        context.set_groups(curves)
    else:
        first = curves.split(":")[0]
        context.set_ecdh_curve(_CURVES.get(first, first))
