"""Requests in the protocol's words, over gRPC and over REST."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from component_tests.contract.tensorflow_serving.rest.http_client import Reply, ask
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess
from infra_validator.protos import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"

#: Field of InferTensorContents that holds the values of a datatype.
FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def infer_request(model: str, signature: str = "", version: str = "", **more: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, model_version=version, **more)
    if signature:
        request.parameters["signature_name"].string_param = signature
    return request


def raw(
    request: pb.ModelInferRequest, name: str, datatype: str, shape: Sequence[int], content: bytes
) -> pb.ModelInferRequest:
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(content)
    return request


def typed(
    request: pb.ModelInferRequest, name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]
) -> pb.ModelInferRequest:
    added = request.inputs.add(name=name, datatype=datatype, shape=shape)
    getattr(added.contents, FIELDS[datatype]).extend(values)
    return request


def infer(server: EmbeddedServerProcess, request: pb.ModelInferRequest | bytes) -> pb.ModelInferResponse:
    answer: pb.ModelInferResponse = server.call(SERVICE + "ModelInfer", request, pb.ModelInferResponse)
    return answer


def refused(server: EmbeddedServerProcess, request: pb.ModelInferRequest | bytes) -> tuple[grpc.StatusCode, str]:
    """The code and the text with which a request is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        infer(server, request)
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code, caught.value.details() or ""


def tensor(name: str, datatype: str, shape: Sequence[int], data: Any, **more: Any) -> dict[str, Any]:
    """An input in JSON."""
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data, **more}


def binary(name: str, datatype: str, shape: Sequence[int], size: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": size}}


def post(
    server: EmbeddedServerProcess, model: str, document: Any, contents: Sequence[bytes] = (), length: str | None = None
) -> Reply:
    """Infer over REST; contents follow the JSON, whose length is then told."""
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    told = length if length is not None else str(len(head)) if contents else None
    headers = {} if told is None else {"Inference_Header_Content_Length": told}
    return ask(server, "POST", f"/v2/models/{model}/infer", b"".join([head, *contents]), **headers)


def outputs(reply: Reply) -> dict[str, tuple[str, list[int], Any]]:
    """name -> (datatype, shape, data or bytes) of an answer."""
    assert reply.status == 200, reply.body
    length = reply.headers.get("inference-header-content-length")
    at = int(length) if length else len(reply.body)
    found = {}
    for output in json.loads(reply.body[:at])["outputs"]:
        data = output.get("data")
        if data is None:
            size = output["parameters"]["binary_data_size"]
            data, at = reply.body[at : at + size], at + size
        found[output["name"]] = (output["datatype"], output["shape"], data)
    assert at == len(reply.body)
    return found
