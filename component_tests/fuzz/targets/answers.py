"""What servers answer, to the clients and to the probe."""

from __future__ import annotations

import time
from typing import Any

from component_tests.fuzz.target import Target
from infra_validator.core.answer import STRING, Answer, Tensor, UnreadableAnswer
from infra_validator.model_server_clients.open_inference.infer_answer import read_infer_response, read_rest_response
from infra_validator.model_server_clients.open_inference.rest_messages import (
    envelope,
    extensions_in,
    index_in,
    metadata_in,
    ready_in,
    words_in,
)
from infra_validator.model_server_clients.tensorflow_serving_answers import read_answers
from infra_validator.model_server_clients.tensorflow_serving_rest import read_rest_answer
from infra_validator.probe.sample_file import SampleError, predict_request
from infra_validator.probe.transport import hpack
from infra_validator.probe.transport.grpc_answer import GrpcAnswer, message_of
from infra_validator.probe.transport.http2 import Connection
from infra_validator.probe.transport.rpc_status import RpcError

_METHODS = ("Predict", "Classify", "Regress", "MultiInference")


def _read(answers: tuple[Answer, ...] | None) -> None:
    for answer in answers or ():
        for tensor in answer.outputs.values():
            _elements(tensor)


def _elements(tensor: Tensor) -> None:
    """That a tensor brings what its shape says."""
    if not tensor.element.size:
        assert sum(1 for _ in tensor.strings()) == tensor.size
    else:
        assert len(tensor.content) == tensor.size * tensor.element.size
    assert tensor.size == 0 or tensor.index(0) is not None


def _grpc(data: bytes) -> None:
    method = _METHODS[data[0] % len(_METHODS)] if data else "Predict"
    _read(read_answers(f"/tensorflow.serving.PredictionService/{method}", data[1:]))


def _infer_rest(data: bytes) -> None:
    """The first byte says whether there is a header with the JSON's length, which the second has."""
    length = str(data[1] * 4) if data[:1] > b"\x7f" and len(data) > 1 else None
    _read((read_rest_response(envelope(length, data[2:])),))


def _rest_words(data: bytes) -> None:
    words_in(data)
    for read in (ready_in, metadata_in, index_in, extensions_in):
        try:
            read(data)
        except ValueError:
            pass


_LIKE = (
    Answer({"x": Tensor(1, (2,), memoryview(bytes(8))), "text": Tensor(STRING, (2,), strings=lambda: (b"a", b"b"))}),
    Answer({"y": Tensor(9, (2, 1), memoryview(bytes(16)))}),
    Answer({"outputs": Tensor(1, (2,), memoryview(bytes(8)))}, "regress"),
    Answer(
        {"classes": Tensor(STRING, (1, 1), strings=lambda: (b"a",)), "scores": Tensor(1, (1, 1), memoryview(bytes(4)))},
        "classify",
    ),
)


def _rest(data: bytes) -> None:
    for like in _LIKE:
        try:
            for tensor in read_rest_answer(data, like).values():
                _elements(tensor)
        except UnreadableAnswer:
            pass


class _Peer:
    """A socket whose other end says what it is told, in small pieces, whatever it is sent; a look at it in between sees nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._waits = True

    def settimeout(self, seconds: float) -> None:
        self._waits = seconds > 0.01

    def recv(self, _size: int) -> bytes:
        if not self._waits:
            raise TimeoutError
        piece, self._data = self._data[:50], self._data[50:]
        return piece

    def sendall(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def _http2(data: bytes) -> None:
    peer: Any = _Peer(data)
    connection = Connection(peer, "a", "b")
    until = time.monotonic() + 60
    connection.handshake(until)
    for _ in range(2):
        connection.call("/m", b"request", until)


def _hpack(data: bytes) -> None:
    decoder = hpack.Decoder()
    half = len(data) // 2
    for block in (data[:half], data[half:]):
        for name, value in decoder.decode(block):
            assert isinstance(name, bytes)
            assert isinstance(value, bytes)


def _trailers(data: bytes) -> None:
    answer = GrpcAnswer()
    pairs = [line.partition(b"=") for line in data.split(b"\n")]
    answer.headers = answer.trailers = {name: value for name, _, value in pairs}
    answer.body += data
    answer.ended = True
    message_of(answer)


TARGETS = (
    Target("grpc_answer", _grpc, (UnreadableAnswer,)),
    Target("infer_answer", lambda data: _read((read_infer_response(data),)), (UnreadableAnswer,)),
    Target("infer_answer_rest", _infer_rest, (UnreadableAnswer,)),
    Target("rest_answer", _rest),
    Target("open_inference_words", _rest_words),
    Target("probe_http2", _http2, (RpcError,)),
    Target("probe_hpack", _hpack, (hpack.HpackError,)),
    Target("probe_trailers", _trailers, (RpcError,)),
    Target("probe_sample", predict_request, (SampleError,)),
)
