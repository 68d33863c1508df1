"""Requests over HTTP as the contract's tests make them."""

from __future__ import annotations

import http.client
import json
from typing import Any

from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess

NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


class Reply:
    """An HTTP response, read whole."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.reason = response.reason
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        text: str = self.json["error"]
        return text


def ask(
    server: EmbeddedServerProcess, verb: str, target: str, body: bytes | str | None = None, **headers: str
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports()["rest"], timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(verb, target, body.encode() if isinstance(body, str) else body, named)
        return Reply(connection.getresponse())
    finally:
        connection.close()


def post(server: EmbeddedServerProcess, target: str, body: bytes | str) -> Reply:
    return ask(server, "POST", f"/v1/models/{target}", body)


def predictions(server: EmbeddedServerProcess, target: str, body: Any) -> Any:
    reply = post(server, target, body if isinstance(body, (bytes, str)) else json.dumps(body))
    assert reply.status == 200, reply.body
    return reply.json.get("predictions", reply.json.get("outputs"))
