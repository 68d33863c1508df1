"""How long a good client of the embedded server's REST waits beside many that are silent or send half a request.

    python -m benchmarks.embedded_server_connections [--idle 10000] [--half-sent 1000] [--asked 200]

Everybody is on this machine; the good client makes a new connection for each of its requests.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import resource
import socket
import statistics
import time

from benchmarks.embedded_server import server
from component_tests.fakes.saved_models import made_once

HALF_SENT = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


def asked(port: int, count: int) -> list[float]:
    """The seconds that each of ``count`` small requests took, connecting included."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/v1/models/m:predict", b'{"instances": [1.0]}')
        assert connection.getresponse().read()
        connection.close()
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--half-sent", type=int, default=1000)
    parser.add_argument("--asked", type=int, default=200)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with server("embedded", made_once().path("half_plus_two")) as (ports, _):
        print(f"{'idle':>6} {'half-sent':>9}   {'median':>9} {'longest':>9}")
        for idle, half_sent in ((0, 0), (options.idle, 0), (0, options.half_sent), (options.idle, options.half_sent)):
            with contextlib.ExitStack() as stack:
                for index in range(idle + half_sent):
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", ports["rest"]), timeout=60))
                    if index >= idle:
                        client.sendall(HALF_SENT)
                seconds = asked(ports["rest"], options.asked)
            median, longest = statistics.median(seconds) * 1e3, max(seconds) * 1e3
            print(f"{idle:6} {half_sent:9}   {median:6.2f} ms {longest:6.2f} ms")


if __name__ == "__main__":
    main()
