"""The probe's own HTTP/2, HPACK and protobuf readers, fed with anything; and held against other implementations."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import hpack as another_hpack
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int64Value
from hypothesis import given, settings
from hypothesis import strategies as st

from component_tests.fakes.servers import raw_http2_server as raw
from infra_validator.core.wire import WireError, field_numbers
from infra_validator.probe.model_status import (
    STATUS_METHOD,
    metadata_request,
    metadata_version,
    parse_status_response,
    status_request,
)
from infra_validator.probe.sample_file import SampleError, predict_request
from infra_validator.probe.transport import hpack
from infra_validator.probe.transport.http2 import Connection
from infra_validator.probe.transport.rpc_status import RpcError, code_name
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving

frames = st.builds(
    raw.frame,
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x25, 0x2D, 0xFF]),
    st.sampled_from([0, 1, 1, 1, 2, 3, 2**31 - 1]),
    st.one_of(
        st.binary(max_size=40),
        st.just(raw.literal(*raw.OPENING)),
        st.just(raw.literal(("grpc-status", "0"))),
        st.just(raw.message(raw.AVAILABLE)),
        st.just(bytes(8)),
    ),
)


def call_against(octets: bytes) -> bytes:
    """One call against a peer that sends these octets and closes, whatever it receives."""
    ours, theirs = socket.socketpair()

    def drain() -> None:
        with contextlib.suppress(OSError):
            while theirs.recv(65536):
                pass

    theirs.sendall(octets)
    theirs.shutdown(socket.SHUT_WR)
    reader = threading.Thread(target=drain)
    reader.start()
    connection = Connection(ours, "host:1", "test")
    try:
        until = time.monotonic() + 5
        connection.handshake(until)
        return connection.call(STATUS_METHOD, status_request("m"), until)
    finally:
        connection.close()
        reader.join()
        theirs.close()


@settings(deadline=None, max_examples=300)
@given(st.lists(frames, max_size=12))
def test_any_frames_end_in_an_answer_or_an_rpc_error(sent: list[bytes]) -> None:
    with contextlib.suppress(RpcError):
        assert isinstance(call_against(raw.frame(raw.SETTINGS, 0, 0) + b"".join(sent)), bytes)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_octets_end_in_an_answer_or_an_rpc_error(octets: bytes, greeted: bool) -> None:
    with contextlib.suppress(RpcError):
        call_against((raw.frame(raw.SETTINGS, 0, 0) if greeted else b"") + octets)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_good_answer_with_octets_changed_ends_too(data: st.DataObject) -> None:
    octets = bytearray(raw.frame(raw.SETTINGS, 0, 0) + raw.answer())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RpcError):
        call_against(bytes(octets))


@given(st.binary(max_size=300))
def test_any_header_block_is_read_or_refused(block: bytes) -> None:
    with contextlib.suppress(hpack.HpackError):
        decoder = hpack.Decoder()
        for _ in range(3):
            assert sum(len(name) + len(value) for name, value in decoder.decode(block)) <= 65536


headers = st.lists(st.tuples(st.binary(min_size=1, max_size=30), st.binary(max_size=300)), max_size=20)


@given(headers)
def test_headers_written_by_us_read_back(written: list[tuple[bytes, bytes]]) -> None:
    assert hpack.Decoder().decode(hpack.encode(written)) == written


@given(st.lists(st.tuples(headers, st.booleans()), max_size=5), st.sampled_from([0, 100, 4096]))
def test_headers_written_by_another_implementation_are_read(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool]], table_size: int
) -> None:
    encoder_of = another_hpack.Encoder()
    encoder_of.header_table_size = table_size
    decoder = hpack.Decoder()
    for written, huffman in blocks:
        assert decoder.decode(encoder_of.encode(written, huffman=huffman)) == written


@given(st.binary(max_size=100))
def test_any_message_is_read_or_refused(message: bytes) -> None:
    for read in (field_numbers, parse_status_response, metadata_version):
        with contextlib.suppress(WireError):
            read(message)


statuses = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(0, 16), st.text(max_size=9)
    ),
    max_size=4,
)


@given(statuses, st.data())
def test_what_protobuf_reads_we_read_alike(rows: list[tuple[int, int, int, str]], data: st.DataObject) -> None:
    response = serving.GetModelStatusResponse()
    for version, state, code, text in rows:
        status = response.model_version_status.add(version=version, status={"error_message": text})
        status.state, status.status.error_code = state, code  # type: ignore[assignment]
    message = bytearray(response.SerializeToString())
    whole = bytes(message)
    for _ in range(data.draw(st.integers(0, 2)) if message else 0):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        theirs = serving.GetModelStatusResponse.FromString(bytes(message))
    except (DecodeError, SystemError):
        return  # it refuses more than we do, as strings that are not UTF-8; 3.20 warns besides, which is an error in tests
    try:
        ours = parse_status_response(bytes(message))
    except WireError:
        assert message != whole  # implementations differ in tags beyond 32 bits: some cut them, upb and we refuse them
        return
    assert [(v.version, v.state, v.error_code, v.error_message) for v in ours] == [
        (v.version, v.state, v.status.error_code, v.status.error_message) for v in theirs.model_version_status
    ]


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_requests_are_what_protobuf_writes(version: int, name: str, label: str) -> None:
    assert serving.GetModelStatusRequest.FromString(status_request(name)) == serving.GetModelStatusRequest(
        model_spec=serving.ModelSpec(name=name)
    )
    assert serving.GetModelMetadataRequest.FromString(metadata_request(name, label)) == serving.GetModelMetadataRequest(
        model_spec=serving.ModelSpec(name=name, version_label=label), metadata_field=["signature_def"]
    )
    response = serving.GetModelMetadataResponse(
        model_spec=serving.ModelSpec(name=name, version=Int64Value(value=version))
    )
    assert metadata_version(response.SerializeToString()) == version


def test_names_of_codes() -> None:
    assert code_name(5) == "NOT_FOUND"
    assert str(RpcError(5, "x")) == "rpc error: code = NotFound desc = x"
    assert str(RpcError(77, "x")) == "rpc error: code = Code(77) desc = x"


JSON = b"""{"signature_name": "s", "inputs": {
  "f": {"dtype": "DT_FLOAT", "shape": [1, 2], "values": [1, 2.5]},
  "i": {"dtype": "DT_INT64", "shape": [2], "values": [-1, 9223372036854775807]},
  "b": {"dtype": "DT_BOOL", "shape": [2], "values": [true, false]},
  "t": {"dtype": "DT_STRING", "shape": [], "values": ["caf\xc3\xa9"]}}}"""


def test_a_sample_request_as_json() -> None:
    request = serving.PredictRequest.FromString(predict_request(JSON))
    assert request.model_spec.signature_name == "s"
    assert list(request.inputs["f"].float_val) == [1.0, 2.5]
    assert [dim.size for dim in request.inputs["f"].tensor_shape.dim] == [1, 2]
    assert list(request.inputs["i"].int64_val) == [-1, 2**63 - 1]
    assert list(request.inputs["b"].bool_val) == [True, False]
    assert list(request.inputs["t"].string_val) == ["café".encode()]
    assert request.inputs["t"].dtype == tensorflow_pb2.DT_STRING


def test_a_serialized_sample_request_is_taken_as_it_is() -> None:
    request = serving.PredictRequest(model_spec=serving.ModelSpec(name="any"), output_filter=["y"]).SerializeToString()
    assert predict_request(request) == request


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xff", "neither JSON nor a serialized PredictRequest"),
        (b"\x08\x01", "not a serialized PredictRequest"),
        (b"{", "not JSON"),
        (b'{"instances": []}', "unknown field 'instances'"),
        (b"{}", "'inputs' must be an object"),
        (b'{"inputs": {"x": [1]}}', "input 'x' must have 'dtype', 'shape' and 'values'"),
        (b'{"inputs": {"x": {"dtype": "float", "shape": [], "values": [1]}}}', "dtype 'float' is not one of DT_FLOAT"),
        (b'{"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [2], "values": [1]}}}', "a flat list of 2 values"),
        (b'{"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1], "values": [1]}}}', "'shape' must be a list of sizes"),
        (b'{"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [1], "values": ["1"]}}}', "a value is no DT_FLOAT"),
        (b'{"inputs": {"x": {"dtype": "DT_STRING", "shape": [1], "values": [1]}}}', "a value is no DT_STRING"),
        (b'{"inputs": {"x": {"dtype": "DT_INT32", "shape": [1], "values": [1.5]}}}', "a value is no DT_INT32"),
    ],
)
def test_wrong_sample_requests(content: bytes, words: str) -> None:
    with pytest.raises(SampleError, match=words.replace("(", r"\(")):
        predict_request(content)
