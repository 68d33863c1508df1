"""What people serve models with in Python, each in a virtual environment of its own."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import venv
from collections.abc import Callable

from benchmarks.embedded_server import rest_asker

_ROOT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Peer:
    """One way in which people serve.

    Attributes:
      name: what peer_servers.py calls it.
      title: what the table calls it.
      packages: what to install beside TensorFlow.
      path, body: the request.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    path: str
    body: bytes

    def asker(self, port: int) -> Callable[[], Callable[[], object]]:
        return rest_asker(port, self.body, self.path)


_V1 = "/v1/models/m:predict", b'{"instances": [1.0, 2.0, 5.0]}'
_TENSOR = {"name": "x", "shape": [3], "datatype": "FP32", "data": [1.0, 2.0, 5.0]}
_V2 = "/v2/models/m/infer", json.dumps({"inputs": [_TENSOR]}).encode()

# MLServer 1.7 wants a newer protobuf than the TensorFlow of the lock.
PEERS = (
    Peer("fastapi", "FastAPI, over REST", ("fastapi", "uvicorn"), *_V1),
    Peer("mlserver", "MLServer, over REST", ("mlserver==1.6.1",), *_V2),
    Peer("kserve", "KServe's server, over REST", ("kserve",), *_V1),
)


def installed(peer: Peer, directory: pathlib.Path) -> str:
    """The Python of an environment that has the peer; made unless it is there."""
    python = directory / peer.name / "bin" / "python"
    done = directory / peer.name / "installed"
    if not done.exists():
        locked = re.search(r"^tensorflow==\S+", (_ROOT / "requirements" / "main.lock").read_text(), re.M)
        if locked is None:
            sys.exit("requirements/main.lock names no TensorFlow")
        venv.create(directory / peer.name, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", locked[0], *peer.packages], check=True)
        done.touch()
    return str(python)
