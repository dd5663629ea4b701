# SPDX-License-Identifier: Apache-2.0
"""Contexts of OpenSSL for TLS among libprocess peers, and what is checked after a handshake.

With the scheme ``legacy`` a certificate has to name what the peer's IP is called by reverse DNS,
which OpenSSL can not check; with ``openssl`` it checks the name or IP that was dialled.

Source: spec ``agent-master`` 2.8.
"""

from __future__ import annotations

import socket
import ssl
import warnings
from typing import Any, Final

from mesos_compat.base.errors import FlagError, WireError
from mesos_compat.base.tls_options import TlsOptions

_VERSIONS: Final = {
    (1, 0): ssl.TLSVersion.TLSv1,
    (1, 1): ssl.TLSVersion.TLSv1_1,
    (1, 2): ssl.TLSVersion.TLSv1_2,
    (1, 3): ssl.TLSVersion.TLSv1_3,
}


class Tls:
    """Both sides of TLS, made once at start. Raises FlagError for unusable files or settings."""

    def __init__(self, options: TlsOptions) -> None:
        self.options = options
        self.server = self._context(ssl.PROTOCOL_TLS_SERVER)
        self.server.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
        self.server.verify_mode = (
            ssl.CERT_REQUIRED if options.require_client_cert else ssl.CERT_NONE
        )
        self.client = self._context(ssl.PROTOCOL_TLS_CLIENT)
        verify = options.verify_server_cert
        named = options.hostname_validation_scheme == "openssl"
        self.client.check_hostname = verify and named
        self.client.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE

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
                context.set_ecdh_curve(options.ecdh_curves.split(":")[0])
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
