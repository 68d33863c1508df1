"""The sidecar's HTTP side: ``/healthz`` (the sidecar), ``/readyz`` (the models), ``/metrics`` (Prometheus)."""

from __future__ import annotations

import http.server
import socket
import threading
import time
import urllib.parse

from infra_validator.core.network.prometheus_text import family
from infra_validator.probe import exit_codes
from infra_validator.probe.sidecar.models import Models

_LONGEST_REQUEST = 5.0  # seconds a client has to say what it wants
_OLDEST_POLL = 60.0  # seconds; a poller that has not come round for so long hangs
_STATES = ("UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END")


def respond(models: Models, path: str) -> tuple[int, str]:
    """(HTTP status, body) for a path."""
    try:
        url = urllib.parse.urlsplit(path)
    except ValueError as error:  # http://[
        return 400, f"not a path: {error}\n"
    route = urllib.parse.unquote(url.path)
    if route == "/healthz":
        age = time.monotonic() - models.last_poll
        return (200, "ok\n") if age < _OLDEST_POLL else (503, f"the last question was asked {age:.0f} s ago\n")
    if route == "/metrics":
        return 200, metrics(models)
    if route == "/readyz":
        asked = urllib.parse.parse_qs(url.query).get("model", [""])[0]
    elif route.startswith("/readyz/"):
        asked = route[len("/readyz/") :]
    else:
        return 404, "known paths: /healthz /readyz /readyz/MODEL /metrics\n"
    ready = models.ready(asked)
    if ready is None:
        return 404, f"the sidecar was not asked to watch {asked!r}\n"
    lines = [f"{name}: {state.line}\n" for name, state in models.states(asked).items()]
    return (200 if ready else 503), "stopping\n" if models.stopping else "".join(lines)


def metrics(models: Models) -> str:
    """The metrics in Prometheus' text format."""
    states = models.states()
    connected = any(state.code != exit_codes.NOT_CONNECTED for state in states.values())
    lines = [
        *family(
            "tfs_model_ready",
            "gauge",
            "Whether the model is ready, by the policy asked for.",
            [({"model": name}, int(state.ready)) for name, state in states.items()],
        ),
        *family(
            "tfs_model_probe_exit_code",
            "gauge",
            "What tfs_model_status_probe would exit with.",
            [({"model": name}, state.code) for name, state in states.items()],
        ),
        *family(
            "tfs_model_state_changes_total",
            "counter",
            "How often the model's state has changed.",
            [({"model": name}, state.changes) for name, state in states.items()],
        ),
        *family(
            "tfs_model_versions",
            "gauge",
            "How many versions the server lists in each state.",
            [
                ({"model": name, "state": which}, sum(version_state == which for _, version_state in state.versions))
                for name, state in states.items()
                for which in _STATES
            ],
        ),
        *family("tfs_connected", "gauge", "Whether the last question reached a server.", [({}, int(connected))]),
        *family("tfs_polls_total", "counter", "How many rounds of questions there have been.", [({}, models.polls)]),
        *family("tfs_poll_seconds_total", "counter", "How long they took.", [({}, f"{models.poll_seconds:.6f}")]),
    ]
    return "\n".join(lines) + "\n"


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request; GET and HEAD."""

    timeout = _LONGEST_REQUEST
    server_version = "probe-sidecar"
    sys_version = ""
    server: HttpServer

    def do_GET(self) -> None:
        status, body = respond(self.server.models, self.path)
        content = body.encode("utf-8", "backslashreplace")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815  http.server's name

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            pass  # the client went away; nobody is there to be told

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: kubelets ask every few seconds."""


class HttpServer(http.server.ThreadingHTTPServer):
    """Serves the models' states.

    Args:
      host: IPv4, IPv6 or a name; empty for every address of both families.
      port: 0 for any that is free.

    Raises:
      OSError: it cannot listen there.
    """

    daemon_threads = True

    def __init__(self, models: Models, host: str, port: int) -> None:
        self.models = models
        self._both_families = not host and socket.has_dualstack_ipv6()
        if host:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        elif self._both_families:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="http", daemon=True)

    def server_bind(self) -> None:
        if self._both_families:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
