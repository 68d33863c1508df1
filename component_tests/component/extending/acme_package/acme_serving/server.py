"""Acme's model server: y = factor * x + offset, over HTTP.

    python -m acme_serving.server --model DIRECTORY --port_file FILE [--address 127.0.0.1]

``GET /`` tells the model's state, ``POST /`` asks it: ``{"x": [1.0]}`` is answered with ``{"y": [3.0]}``.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import sys
from typing import Any


class _Handler(http.server.BaseHTTPRequestHandler):
    factor = offset = 0.0

    def do_GET(self) -> None:
        self._answer(200, {"state": "ready"})

    def do_POST(self) -> None:
        try:
            x = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["x"]
            self._answer(200, {"y": [self.factor * value + self.offset for value in x]})
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port_file", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    arguments = parser.parse_args()
    try:
        with open(os.path.join(arguments.model, "formula.json")) as file:
            formula = json.load(file)
        _Handler.factor, _Handler.offset = float(formula["factor"]), float(formula["offset"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"acme: no formula in {arguments.model}: {error}")
    server = http.server.ThreadingHTTPServer((arguments.address, 0), _Handler)
    with open(f"{arguments.port_file}.new", "w") as file:
        json.dump({"grpc": server.server_port}, file)
    os.replace(f"{arguments.port_file}.new", arguments.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
