"""The embedded server under mixed load: both protocols over gRPC and REST, large batches, and a model that is loaded anew all the time."""

from __future__ import annotations

import collections
import concurrent.futures
import http.client
import json
import pathlib
import shutil
import struct
import threading
import time
from collections.abc import Callable

import grpc

from benchmarks.embedded_open_inference import infer
from benchmarks.embedded_server import UNLIMITED, predict_request, server
from benchmarks.soak.measuring import Held, held
from component_tests.fakes.saved_models import made_once
from infra_validator.protos import open_inference_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

NUMBERS = [1.0, 2.0, 5.0]
ANSWERS = [2.5, 3.0, 4.5]  # half plus two
BATCH = 300  # times as many rows; the server takes batches of 1,000
RELOADED_EVERY = 2.0  # seconds
SAMPLES = 40
PREDICT, INFER = "/tensorflow.serving.PredictionService/Predict", "/inference.GRPCInferenceService/ModelInfer"
FLAGS = ("--enable_open_inference", "--enable_batching", "--file_system_poll_wait_seconds=1")


class Serving:
    """A server and who asks it; ``answered`` counts the right answers by way, ``wrong`` has every other one.

    Args:
      directory: gets the model.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.seen: list[Held] = []
        self.wrong: list[str] = []
        self.answered: collections.Counter[str] = collections.Counter()
        self._made = made_once().path("half_plus_two_tf2")
        self._base = directory / "model"
        shutil.copytree(self._made, self._base / "1")
        self._over = threading.Event()
        self._versions: set[int] = set()

    def run(self, seconds: float) -> None:
        """Ask for so long."""
        with server("embedded", self._base / "1", *FLAGS) as (ports, _):
            ways: dict[str, Callable[[], Callable[[], list[float]]]] = {
                "gRPC, Predict": lambda: self._predict(ports["grpc"], 1),
                "gRPC, Predict, large": lambda: self._predict(ports["grpc"], BATCH),
                "gRPC, ModelInfer": lambda: _infer(ports["grpc"]),
                "REST, v1 predict": lambda: _rest(ports["rest"], "/v1/models/m:predict", {"inputs": NUMBERS}),
                "REST, v2 infer": lambda: _rest(
                    ports["rest"],
                    "/v2/models/m/infer",
                    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": NUMBERS}]},
                ),
            }
            with concurrent.futures.ThreadPoolExecutor(len(ways) + 1) as pool:
                begun = [pool.submit(self._ask, name, way) for name, way in ways.items()]
                begun.append(pool.submit(self._reload))
                try:
                    self._watch(ports["pid"], seconds)
                finally:
                    self._over.set()
                for one in begun:
                    one.result()

    def _watch(self, process: int, seconds: float) -> None:
        began = time.monotonic()
        for number in range(SAMPLES + 1):
            due = began + seconds * number / SAMPLES
            while (left := due - time.monotonic()) > 0:
                self._over.wait(left)
            self.seen.append(held(time.monotonic() - began, process=process))
            print(self.seen[-1].row(), flush=True)

    def _ask(self, name: str, way: Callable[[], Callable[[], list[float]]]) -> None:
        once = way()
        while not self._over.is_set():
            try:
                answer = once()
            except Exception as error:
                self.wrong.append(f"{name}: {type(error).__name__}: {error}")
                once = way()
                continue
            if answer == ANSWERS:
                self.answered[name] += 1
            else:
                self.wrong.append(f"{name}: {answer}")

    def _reload(self) -> None:
        """A newer version is put there, the one before the last is taken away."""
        version = 1
        while not self._over.wait(RELOADED_EVERY):
            version += 1
            unfinished = self._base.with_name("unfinished")
            shutil.copytree(self._made, unfinished)
            unfinished.rename(self._base / str(version))
            if version > 2:
                shutil.rmtree(self._base / str(version - 2))
            self.answered["versions that answered"] = len(self._versions)

    def _predict(self, port: int, times: int) -> Callable[[], list[float]]:
        request = predict_request(struct.pack("<3f", *NUMBERS) * times, [3 * times])
        call = _channel(port).unary_unary(PREDICT, bytes, bytes)

        def once() -> list[float]:
            response = serving_pb2.PredictResponse.FromString(call(request, timeout=60))
            self._versions.add(response.model_spec.version.value)
            y = response.outputs["y"]
            values = list(y.float_val) or [one for (one,) in struct.iter_unpack("<f", y.tensor_content)]
            return ANSWERS if values == ANSWERS * times else values[:10]

        return once


def _infer(port: int) -> Callable[[], list[float]]:
    call, request = _channel(port).unary_unary(INFER, bytes, bytes), infer(typed=False)

    def once() -> list[float]:
        answer = open_inference_pb2.ModelInferResponse.FromString(call(request, timeout=60))
        return [one for (one,) in struct.iter_unpack("<f", answer.raw_output_contents[0])]

    return once


def _rest(port: int, path: str, document: dict[str, object]) -> Callable[[], list[float]]:
    connection, body = http.client.HTTPConnection("127.0.0.1", port, timeout=60), json.dumps(document)

    def once() -> list[float]:
        connection.request("POST", path, body)
        told = json.loads(connection.getresponse().read())
        found: list[float] = told["outputs"][0]["data"] if "/v2/" in path else told["outputs"]
        return found

    return once


def _channel(port: int) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED)
