"""The file that tells which ports a server has chosen."""

from __future__ import annotations

import contextlib
import json
import os


def write_port_file(path: str, grpc_port: int, rest_port: int) -> None:
    """Write ``{"grpc": N, "rest": M, "pid": P}``; the file appears whole or not at all.

    Raises:
      OSError: it cannot be written.
    """
    unfinished = f"{path}.{os.getpid()}.unfinished"
    try:
        with open(unfinished, "w") as file:
            json.dump({"grpc": grpc_port, "rest": rest_port, "pid": os.getpid()}, file)
        os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
