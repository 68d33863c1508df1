"""Servers that say the model is ready and answer something else: none is blessed, over REST and over gRPC, and the honest twin is."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import grpc
import pytest

from component_tests.fakes.servers.open_inference_rest import serving_rest
from component_tests.fakes.servers.open_inference_server import SERVICE, Model
from component_tests.fakes.servers.scripted_server import serving
from infra_validator import run_validation
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.report.verdict import ValidationReport

SCHEMA = {"inputs": {"x": "FP32[-1]"}, "outputs": {"x": "FP32[-1]"}}
ASKED: dict[str, Any] = {"generate": {}}


def output(name: str = "x", datatype: str = "FP32", shape: Any = (1,), data: Any = (1.0,)) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(data)}


def answer(*outputs: dict[str, Any], model: str = "m") -> bytes:
    return json.dumps({"model_name": model, "model_version": "1", "outputs": outputs}).encode()


def validated(spec: Mapping[str, Any], address: Mapping[str, str]) -> ValidationReport:
    whole = {"open_inference": {**SCHEMA, **spec}, "address": address, "model_name": "m"}
    return run_validation("", whole, {"num_tries": 1}, ASKED)


@pytest.mark.parametrize(
    ("status", "body", "headers", "reason"),
    [
        (200, answer(output()), {}, R.BLESSED),
        (404, b'{"error": "no such model"}', {}, R.REQUEST_FAILED),  # the one that was said to be ready
        (500, b'{"error": "the worker died"}', {}, R.REQUEST_FAILED),
        (413, b'{"error": "the body is too large"}', {}, R.GENERATED_REQUEST_REFUSED),
        (200, answer(output(), model="other"), {}, R.ANSWER_FROM_ANOTHER_MODEL),
        (200, answer(output("y")), {}, R.ANSWER_OUTPUTS_DIFFER),
        (200, answer(), {}, R.ANSWER_OUTPUTS_DIFFER),
        (200, answer(output(datatype="FP64")), {}, R.ANSWER_TYPE_DIFFERS),
        (200, answer(output(shape=(1, 1))), {}, R.ANSWER_TYPE_DIFFERS),
        (200, answer(output(shape=(2,))), {}, R.ANSWER_UNREADABLE),
        (200, answer(output(), output()), {}, R.ANSWER_UNREADABLE),
        (200, answer(output()).replace(b"1.0", b"1e999"), {}, R.ANSWER_NOT_FINITE),
        (200, answer(output()).replace(b"[1.0]", b"null"), {}, R.ANSWER_UNREADABLE),
        (200, b'{"outputs": ' + b"[" * 100_000, {}, R.ANSWER_UNREADABLE),
        (200, b"<html>", {}, R.ANSWER_UNREADABLE),
        (200, b"", {}, R.ANSWER_UNREADABLE),
        (200, b"\xff" * 5_000_000, {}, R.ANSWER_UNREADABLE),
        (200, answer(output()), {"Inference-Header-Content-Length": "9" * 25}, R.ANSWER_UNREADABLE),
        (200, answer(output()), {"Inference-Header-Content-Length": "-5"}, R.ANSWER_UNREADABLE),
    ],
)
def test_over_rest(status: int, body: bytes, headers: dict[str, str], reason: R) -> None:
    def change(path: str, was: int, told: dict[str, str], honest: bytes) -> tuple[int, dict[str, str], bytes]:
        lie = (status, {"Content-Length": str(len(body)), **headers}, body)
        return lie if path.endswith("/infer") else (was, told, honest)

    with serving_rest(Model("m"), change=change) as (endpoint, _):
        report = validated({"protocol": "rest"}, {"rest": endpoint})
    assert report.finding.reason is reason, report.finding
    assert report.blessed == (reason is R.BLESSED)
    assert len(report.finding.detail) < 3000


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({}, R.BLESSED),
        ({"model_name": "other"}, R.ANSWER_FROM_ANOTHER_MODEL),
        ({"name": "y"}, R.ANSWER_OUTPUTS_DIFFER),
        ({"datatype": "INT32"}, R.ANSWER_TYPE_DIFFERS),
        ({"shape": [1, 1]}, R.ANSWER_TYPE_DIFFERS),
        ({"shape": [2]}, R.ANSWER_UNREADABLE),
        ({"shape": [2**62, 4]}, R.ANSWER_UNREADABLE),
        ({"raw": b"123"}, R.ANSWER_UNREADABLE),
        ({"raw": struct.pack("<f", float("nan"))}, R.ANSWER_NOT_FINITE),
        ({"octets": b"\xff\xff"}, R.ANSWER_UNREADABLE),
        ({"code": grpc.StatusCode.NOT_FOUND}, R.REQUEST_FAILED),
    ],
    ids=str,
)
def test_over_grpc(lie: dict[str, Any], reason: R) -> None:
    def infer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if "code" in lie:
            context.abort(lie["code"], "no such model")
        told = pb.ModelInferResponse(model_name=lie.get("model_name", "m"), model_version="1")
        told.outputs.add(name=lie.get("name", "x"), datatype=lie.get("datatype", "FP32"), shape=lie.get("shape", [1]))
        told.raw_output_contents.append(lie.get("raw", struct.pack("<f", 1.0)))
        return bytes(lie.get("octets", told.SerializeToString()))

    with serving({**Model("m").handlers(), f"{SERVICE}ModelInfer": infer}) as (endpoint, _):
        report = validated({}, {"grpc": endpoint})
    assert report.finding.reason is reason, report.finding
    assert report.blessed == (reason is R.BLESSED)
