"""A server that is not told yet what to serve: ``python -m infra_validator.embedded_server.spare FIFO``.

It does all that takes time and depends on no model (imports, the C library), then waits for one line in the FIFO, a JSON list of flags, and
is the embedded model server with these flags from then on.
"""

from __future__ import annotations

import contextlib
import json
import sys

from infra_validator.embedded_server import (
    server,  # noqa: F401 - imported ahead
)
from infra_validator.embedded_server.engine import c_api
from infra_validator.embedded_server.main import main

if __name__ == "__main__":
    with contextlib.suppress(c_api.TensorFlowMissingError):  # main tells it
        c_api.load_library()
    with open(sys.argv[1], encoding="utf-8") as fifo:
        flags = json.loads(fifo.readline())
    sys.exit(main(flags))
