"""TLS for the probe's own client, from the standard library; imported only with ``-tls``."""

from __future__ import annotations

import socket
import ssl
import time

from infra_validator.probe.transport.address import Address
from infra_validator.probe.transport.connection_settings import ConnectionSettings


def wrap(sock: socket.socket, address: Address, settings: ConnectionSettings, until: float) -> socket.socket:
    """The socket with TLS on it. The files are read anew for every connection, so that rotated ones count at once.

    Raises:
      OSError: the handshake or the verification failed, or took until ``until``; or a file cannot be read.
    """
    context = ssl.create_default_context(cafile=settings.tls_ca_cert or None)
    # Python 3.13 refuses CAs without a key usage, which Go and grpcio accept, and which many a cluster's own CA is.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.tls_no_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.tls_client_cert:
        # An encrypted key must not ask the terminal for a password.
        context.load_cert_chain(settings.tls_client_cert, settings.tls_client_key, password=lambda: "")
    context.set_alpn_protocols(["h2"])
    sock.settimeout(max(0.001, until - time.monotonic()))
    return context.wrap_socket(sock, server_hostname=settings.tls_server_name or address.host or "localhost")
