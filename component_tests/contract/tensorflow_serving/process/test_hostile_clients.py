"""What a hostile client can send: never a crash, never a leak, and the next good request is answered."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
import random
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from component_tests.contract.tensorflow_serving.requests import MODEL, PREDICTION, predict_request, spec, tensor
from component_tests.contract.tensorflow_serving.rest.http_client import post, predictions
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

pytestmark = pytest.mark.slow

X = tensor([1.0, 2.0, 5.0])
METHODS = [
    *(PREDICTION + name for name in ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")),
    *(MODEL + name for name in ("GetModelStatus", "HandleReloadConfigRequest")),
]


@pytest.fixture
def alive(server: EmbeddedServerProcess) -> Iterator[EmbeddedServerProcess]:
    """The server; afterwards it must answer a good request on both doors, in the same process."""
    yield server
    assert server.process.poll() is None
    assert server.predict(predict_request(spec("half_plus_two"), x=X)).outputs["y"] == tensor([2.5, 3.0, 4.5])
    assert predictions(server, "half_plus_two:predict", {"instances": [1.0]}) == [2.5]
    assert "Traceback" not in server.stderr


@pytest.mark.parametrize("method", METHODS)
def test_random_and_truncated_messages(alive: EmbeddedServerProcess, method: str) -> None:
    source = random.Random(method)
    request = serving_pb2.MultiInferenceRequest(tasks=[{"model_spec": {"name": "half_plus_two"}}] * 3)  # type: ignore[list-item]
    whole = predict_request(spec("half_plus_two"), x=X).SerializeToString()
    messages = [b"", b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, request.SerializeToString()]
    messages += [whole[:cut] for cut in range(0, len(whole), 3)]
    messages += [source.randbytes(source.randrange(1, 80)) for _ in range(60)]
    for message in messages:
        with contextlib.suppress(grpc.RpcError):
            alive.call(method, message)


def test_malformed_messages_are_internal_errors(alive: EmbeddedServerProcess) -> None:
    for method in METHODS:
        with pytest.raises(grpc.RpcError) as caught:
            alive.call(method, b"\x0a\x05\x0a")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INTERNAL, "")


def test_a_string_that_is_no_utf8_is_malformed(alive: EmbeddedServerProcess) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        alive.call(PREDICTION + "Predict", b"\x0a\x03\x0a\x01\xff")
    assert caught.value.code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    "shape",
    [[-1], [-(2**63)], [2**63 - 1], [2**31, 2**31, 4], [2**32, 2**32], [65536] * 4, [2**31], [2**28]],
)
@pytest.mark.parametrize("signature", ["float", "string", "bool", "complex128"])
def test_shapes_with_impossible_products(alive: EmbeddedServerProcess, shape: list[int], signature: str) -> None:
    dtype = {"float": 1, "string": 7, "bool": 10, "complex128": 18}[signature]
    message = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DataType.ValueType(dtype), tensor_content=b"ab")
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    request = predict_request(spec("identity", signature), x=message)
    with pytest.raises(grpc.RpcError) as caught:
        alive.predict(request)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "tensor parsing error: x",
    )


DEEP = 200_000


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": ' + "[" * DEEP + "]" * DEEP + "}",
        '{"instances": ' + '{"x": ' * DEEP + "1" + "}" * DEEP + "}",
        "[" * DEEP,
        '{"inputs": ' + "[" * 255 + "1.0" + "]" * 255 + "}",
        '{"instances": [' + "[" * DEEP + "]" * DEEP + ", 1.0]}",
        '{"instances": ["' + "x" * 10_000_000 + '"]}',
        '{"instances": [' + "9" * 100_000 + "]}",
        '{"instances": [1' + "0" * 5000 + ".0]}",
        '{"a":1,' * 5 + '"instances": [1e400]}',
        '{"instances": [1.0], "x": "\\udc00"}',
        '{"instances": [1.0], "\\ud800": 1}',
    ],
    ids=["lists", "objects", "unclosed", "rank 255", "ragged", "10 MB", "digits", "zeros", "1e400", "low", "high"],
)
def test_json_that_is_meant_to_hurt(alive: EmbeddedServerProcess, body: str) -> None:
    for method in ("predict", "classify", "regress"):
        reply = post(alive, f"half_plus_two:{method}", body)
        assert reply.status in (200, 400), (reply.status, reply.body[:200])
        assert len(reply.body) < 2000 or reply.status == 200


def test_examples_that_are_meant_to_hurt(alive: EmbeddedServerProcess) -> None:
    for example in (b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" * 1000):
        request = serving_pb2.PredictRequest(model_spec=spec("examples"))
        request.inputs["examples"].CopyFrom(
            tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_STRING, string_val=[example])
        )
        with pytest.raises(grpc.RpcError) as caught:
            alive.predict(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


HALF_SENT = (
    b"POST /v1/models/default:predict HTT",
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\n",
    b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    b"POST /v1/models/default:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
)


def threads_of(server: EmbeddedServerProcess) -> int:
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(r"Threads:\s+(\d+)", text)
    assert match is not None
    return int(match[1])


def test_10000_idle_connections_and_1000_half_sent_requests(saved_models: SavedModels) -> None:
    soft_before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = soft_before[1]
    idle = min(10_000, hard - 1200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
            address = ("127.0.0.1", server.ports()["rest"])
            assert predictions(server, "default:predict", {"instances": [1.0]}) == [2.5]
            threads = threads_of(server)
            with contextlib.ExitStack() as stack:
                for index in range(idle + 1000):
                    client = stack.enter_context(socket.create_connection(address, timeout=60))
                    if index >= idle:
                        client.sendall(HALF_SENT[index % len(HALF_SENT)])
                for _ in range(20):
                    assert predictions(server, "default:predict", {"instances": [1.0]}) == [2.5]
                assert threads_of(server) < threads + 30
            assert predictions(server, "default:predict", {"instances": [1.0]}) == [2.5]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, soft_before)


def test_where_no_more_connections_can_be_had_the_silent_ones_make_room(saved_models: SavedModels) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
        open_files = len(list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir()))
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (open_files + 50, open_files + 50))
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.ports()["rest"]), timeout=60))
                for _ in range(200)
            ]
            clients[-1].sendall(HALF_SENT[0])
            for _ in range(20):
                assert predictions(server, "default:predict", {"instances": [1.0]}) == [2.5]
            assert clients[0].recv(1) == b""


def test_many_at_once_get_their_own_answers(alive: EmbeddedServerProcess) -> None:
    def ask(index: int) -> None:
        if index % 2:
            answer = alive.predict(predict_request(spec("half_plus_two"), x=tensor([float(index)])))
            assert list(answer.outputs["y"].float_val) == [index / 2 + 2]
        else:
            assert predictions(alive, "half_plus_two:predict", json.dumps({"instances": [index]})) == [index / 2 + 2]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(ask, index) for index in range(400)]:
            done.result()


def test_a_slow_model_does_not_hold_up_a_fast_one(alive: EmbeddedServerProcess) -> None:
    ended = threading.Event()

    def ask_slow() -> None:
        alive.predict(predict_request(spec("slow"), seconds=tensor([2.0], [])))
        ended.set()

    alive.predict(predict_request(spec("slow"), seconds=tensor([0.0], [])))
    asking = [threading.Thread(target=ask_slow) for _ in range(3)]  # TensorFlow lets them sleep one after the other
    for thread in asking:
        thread.start()
    for _ in range(20):
        alive.predict(predict_request(spec("half_plus_two"), x=X))
    assert not ended.is_set()  # twenty answers before the first slow one
    for thread in asking:
        thread.join()


def test_memory_is_given_back(alive: EmbeddedServerProcess) -> None:
    content = bytes(16 * 2**20)
    message = tensorflow_pb2.TensorProto(dtype=tensorflow_pb2.DT_FLOAT, tensor_content=content)
    message.tensor_shape.dim.add(size=len(content) // 4)
    request = predict_request(spec("identity"), x=message)

    def resident() -> int:
        text = pathlib.Path(f"/proc/{alive.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", text)
        assert match is not None
        return int(match[1]) // 1024

    for _ in range(4):
        alive.predict(request)
    before = resident()
    for _ in range(12):  # 192 MiB in and as much out
        alive.predict(request)
    end = time.monotonic() + 20
    while resident() > before + 100 and time.monotonic() < end:
        alive.predict(predict_request(spec("half_plus_two"), x=X))
    assert resident() <= before + 100
