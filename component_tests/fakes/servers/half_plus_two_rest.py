"""The REST port of the fake model servers: half_plus_two (y = x / 2 + 2), honestly or with one of the lies of ``REST_LIES``."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable
from typing import Any

#: Every way to lie in the JSON, with what is wrong. Whoever lies so is honest over gRPC.
REST_LIES = {
    "empty": "a body of no octets",
    "garbage": "octets that are no JSON",
    "half": "the first half of the JSON",
    "endless_lists": "a list in a list, 100,000 deep",
    "another_form": "JSON, but a number where an object should be",
    "missing_output": "an object without outputs",
    "extra_output": "y, and an output that the signature does not have",
    "wrong_shape": "y with a dimension too many",
    "wrong_batch": "y with one row too many",
    "ragged": "a row of y is a list, the others are numbers",
    "texts": "y's numbers in strings",
    "booleans": "true in place of every number",
    "nan": "NaN in 1 of 100 rows",
    "infinite": "infinity in the last row",
    "constant": "always 2.5",
    "wrong_order": "the rows of a batch in reverse",
    "one_off": "one row is another number than over gRPC",
    "refused": "HTTP 400",
    "broken": "HTTP 500 without a body",
    "hangs_up": "the connection is closed without an answer",
}

_STATUS = {"refused": 400, "broken": 500}


def serve_rest(address: str, port: int, lie: str = "") -> None:
    """Answer predicts from now on, in threads that end with the process."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if lie == "hangs_up":
                return
            answer = _answer(body, lie)
            self.send_response(_STATUS.get(lie, 200))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _answer(body: bytes, lie: str) -> bytes:
    request = json.loads(body)
    by_row = "instances" in request
    given = request["instances"] if by_row else request["inputs"]
    y: Any = [(row["x"] if isinstance(row, dict) else row) / 2 + 2 for row in (given if by_row else _column(given))]
    spoil: Callable[[Any], Any] | None = _VALUES.get(lie)
    whole = json.dumps({"predictions" if by_row else "outputs": spoil(y) if spoil else y}).encode()
    return _BODIES[lie](whole) if lie in _BODIES else whole


def _column(inputs: Any) -> Any:
    return inputs["x"] if isinstance(inputs, dict) else inputs


_VALUES: dict[str, Callable[[list[float]], Any]] = {
    "extra_output": lambda y: [{"y": value, "z": value} for value in y],
    "wrong_shape": lambda y: [[value] for value in y],
    "wrong_batch": lambda y: [*y, 0.0],
    "ragged": lambda y: [*y[:-1], [y[-1]]],
    "texts": lambda y: [str(value) for value in y],
    "booleans": lambda y: [True] * len(y),
    "nan": lambda y: [*y[:57], float("nan"), *y[58:]],
    "infinite": lambda y: [*y[:-1], float("inf")],
    "constant": lambda y: [2.5] * len(y),
    "wrong_order": lambda y: y[::-1],
    "one_off": lambda y: [*y[:57], y[57] + 0.1, *y[58:]],
}

_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "garbage": lambda whole: b"\xff\xfe no JSON at all",
    "half": lambda whole: whole[: len(whole) // 2],
    "endless_lists": lambda whole: b"[" * 100_000,
    "another_form": lambda whole: b"42",
    "missing_output": lambda whole: b"{}",
    "refused": lambda whole: b'{"error": "no such thing"}',
    "broken": lambda whole: b"",
}
