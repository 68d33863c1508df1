"""Prototypes: the embedded server's own Predict behind other transports, without flags, REST, versions or an orderly end.

    python -m benchmarks.embedded_ways.servers WAY MODEL PORT_FILE

PORT_FILE is written once it serves. One way is not here: an executor that answers on the thread that polls grpcio's completion queue.
grpcio's unary handler waits for the request's message, which comes through that same queue: the first call never returns.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.embedded_server_peers import OPTIONS, SERVICE, THREADS, report

Predict = Callable[[bytes], bytes]


class LeanPool(concurrent.futures.ThreadPoolExecutor):
    """Threads at one queue, without futures, which grpcio does not look at."""

    def __init__(self, threads: int) -> None:
        super().__init__(1)
        self._calls: queue.SimpleQueue[tuple[Callable[..., Any], Any, Any]] = queue.SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            call, args, named = self._calls.get()
            call(*args, **named)

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        self._calls.put((call, args, named))


class GrowingPool(LeanPool):
    """Two threads, and one more for each time that something waits 5 ms for one."""

    def __init__(self, most: int) -> None:
        super().__init__(2)
        self._most = most
        self._began = time.monotonic()  # the last call's start
        threading.Thread(target=self._watch, daemon=True).start()

    def _work(self) -> None:
        while True:
            call, args, named = self._calls.get()
            self._began = time.monotonic()
            call(*args, **named)

    def _watch(self) -> None:
        threads = 2
        while threads < self._most:
            time.sleep(0.005)
            if not self._calls.empty() and time.monotonic() - self._began > 0.005:
                threads += 1
                threading.Thread(target=self._work, daemon=True).start()


def loaded(model: str) -> Any:
    """The embedded server's methods for one model."""
    from infra_validator.embedded_server.inference.prediction_service import PredictionService
    from infra_validator.embedded_server.metrics import Metrics
    from infra_validator.embedded_server.models.servable import Servable

    servable = Servable.load("m", 1, model)

    class Models:
        def find(self, spec: object) -> Servable:
            servable.try_hold()
            return servable

    return PredictionService(Models(), metrics=Metrics()).methods()


def over_grpcio(model: str, executor: concurrent.futures.ThreadPoolExecutor, address: str, *, shared: bool) -> Any:
    """A started server of grpcio's on a thread pool of any kind; returns it and its port."""
    import grpc

    from infra_validator.embedded_server.grpc.grpc_server import add_service

    options = [*OPTIONS[1:], ("grpc.so_reuseport", int(shared))]
    server = grpc.server(executor, options=options)
    add_service(server, SERVICE, loaded(model))
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def two_processes(model: str, path: str) -> None:
    """Two processes on one port, the model loaded in both; the kernel deals the connections out."""
    child = os.fork()
    if child == 0:
        while not os.path.exists(f"{path}.first"):
            pass
        server, _ = over_grpcio(
            model,
            concurrent.futures.ThreadPoolExecutor(THREADS),
            pathlib.Path(f"{path}.first").read_text(),
            shared=True,
        )
        pathlib.Path(f"{path}.second").touch()
        server.wait_for_termination()
    server, port = over_grpcio(model, concurrent.futures.ThreadPoolExecutor(THREADS), "127.0.0.1:0", shared=True)
    pathlib.Path(f"{path}.new").write_text(f"127.0.0.1:{port}")
    os.replace(f"{path}.new", f"{path}.first")
    while not os.path.exists(f"{path}.second"):
        pass
    report(path, port)
    server.wait_for_termination()


def main(way: str, model: str, path: str) -> None:
    if way == "nghttp2":
        from benchmarks.embedded_ways.http2_loop import serve
        from infra_validator.embedded_server.inference.inference import RunSettings

        predict = loaded(model)["Predict"]
        serve(lambda request: predict(request, RunSettings()), lambda port: report(path, port))
    elif way == "two processes":
        two_processes(model, path)
    else:
        pools: dict[str, Callable[[], concurrent.futures.ThreadPoolExecutor]] = {
            "lean pool": lambda: LeanPool(THREADS),
            "growing pool": lambda: GrowingPool(THREADS),
            "two threads": lambda: concurrent.futures.ThreadPoolExecutor(2),
        }
        server, port = over_grpcio(model, pools[way](), "127.0.0.1:0", shared=False)
        report(path, port)
        server.wait_for_termination()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
