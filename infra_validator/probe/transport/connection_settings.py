"""What a connection has to know: the part of the probe's settings that transports read."""

from __future__ import annotations


class ConnectionSettings:
    """How to connect. Times are in seconds.

    Attributes are those of the flags of the same names; ``user_agent`` is what the server is told about its client.
    """

    def __init__(self, user_agent: str) -> None:
        self.user_agent = user_agent
        self.connect_timeout = 3.0
        self.tls = False
        self.tls_no_verify = False
        self.tls_ca_cert = ""
        self.tls_client_cert = ""
        self.tls_client_key = ""
        self.tls_server_name = ""
