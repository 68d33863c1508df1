"""What one writes in an hour with what people use; runs where infra_validator is not installed.

python peer_servers.py fastapi|mlserver|kserve MODEL PORT_FILE
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from typing import Any


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in held]


def report(path: str, port: int) -> None:
    with open(f"{path}.new", "w") as file:
        json.dump({"rest": port, "pid": os.getpid()}, file)
    os.replace(f"{path}.new", path)


def signature_of(model: str) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(model)  # a signature does not keep its model

    def answer(values: Any) -> Any:
        return loaded.signatures["serving_default"](x=tf.constant(values, tf.float32))["y"].numpy().tolist()

    return answer


def fastapi(model: str, path: str) -> None:
    import uvicorn
    from fastapi import FastAPI

    answer, application, (port,) = signature_of(model), FastAPI(), free_ports(1)

    @application.post("/v1/models/m:predict")
    def predict(body: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": answer(body["instances"])}

    report(path, port)
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning")


def kserve(model: str, path: str) -> None:
    from kserve import Model, ModelServer

    class Served(Model):  # type: ignore[misc]
        def load(self) -> bool:
            self.answer = signature_of(model)
            self.ready = True
            return True

        def predict(self, payload: dict[str, Any], headers: object = None, *_: object, **__: object) -> dict[str, Any]:
            return {"predictions": self.answer(payload["instances"])}

    served, (port,) = Served("m"), free_ports(1)
    served.load()
    report(path, port)
    ModelServer(http_port=port, enable_grpc=False).start([served])


def mlserver(model: str, path: str) -> None:
    from mlserver import MLServer, ModelSettings, Settings

    ports = free_ports(3)
    settings = Settings(
        host="127.0.0.1", http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2], debug=False, parallel_workers=0
    )
    of_model = ModelSettings(name="m", implementation="mlserver_runtime.Runtime", parameters={"uri": model})

    async def serve() -> None:
        await MLServer(settings).start([of_model])

    report(path, ports[0])
    asyncio.run(serve())


if __name__ == "__main__":
    kind, saved_model, port_file = sys.argv[1:]
    {"fastapi": fastapi, "kserve": kserve, "mlserver": mlserver}[kind](saved_model, port_file)
