"""What the Open Inference Protocol costs beside Predict, on one embedded server with one small model.

    python -m benchmarks.embedded_open_inference [--seconds 2]

Half-plus-two with three numbers over gRPC and REST, in both protocols, asked in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
from collections.abc import Callable

import grpc

from benchmarks.embedded_server import CONCURRENCIES, HEAD, UNLIMITED, Load, grpc_asker, measure, rest_asker, server
from benchmarks.embedded_server import small_request as predict
from component_tests.fakes.saved_models import made_once
from infra_validator.protos import open_inference_pb2 as pb

_TURNS = 4
_NUMBERS = [1.0, 2.0, 5.0]


def infer(*, typed: bool) -> bytes:
    request = pb.ModelInferRequest(model_name="m")
    added = request.inputs.add(name="x", datatype="FP32", shape=[3])
    if typed:
        added.contents.fp32_contents.extend(_NUMBERS)
    else:
        request.raw_input_contents.append(struct.pack("<3f", *_NUMBERS))
    return request.SerializeToString()


def infer_asker(port: int, request: bytes) -> Callable[[], Callable[[], object]]:
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=UNLIMITED)
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", bytes, bytes)
    return lambda: lambda: call(request, timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    seconds: float = parser.parse_args().seconds
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": _NUMBERS}]}
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {seconds} s each in {_TURNS} turns\n{HEAD}")
    with server("embedded", made_once().path("half_plus_two_tf2"), "--enable_open_inference") as (ports, _):
        ways = {
            "gRPC, Predict": grpc_asker(ports["grpc"], predict()),
            "gRPC, ModelInfer, raw contents": infer_asker(ports["grpc"], infer(typed=False)),
            "gRPC, ModelInfer, typed contents": infer_asker(ports["grpc"], infer(typed=True)),
            "REST, v1 predict": rest_asker(ports["rest"], json.dumps({"inputs": _NUMBERS}).encode()),
            "REST, v2 infer": rest_asker(ports["rest"], json.dumps(document).encode(), "/v2/models/m/infer"),
        }
        for concurrency in CONCURRENCIES:
            loads = {name: Load() for name in ways}
            for name in list(ways) * _TURNS:
                measure(loads[name], ports["pid"], ways[name], concurrency, seconds / _TURNS)
            for name, load in loads.items():
                print(load.row(name, concurrency), flush=True)


if __name__ == "__main__":
    main()
