"""Sample requests from a file of JSON.

Three forms are read, and gzip of each:

- one JSON object, or several, one a line, each the body of a request as TensorFlow Serving's REST API takes it:
  ``{"signature_name": ..., "instances": [...]}`` (rows), ``{"inputs": ...}`` (columns), or
  ``{"examples": [...], "context": {...}}`` (classify and regress);
- instances, one a line: an object of named inputs, or the value of the only input. Each is a request with a batch of one;
- one JSON list of such instances.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests import methods
from infra_validator.sample_requests.examples.example_files import Signatures
from infra_validator.sample_requests.files.json_example import example_of
from infra_validator.sample_requests.files.json_tensor import JsonValueError, is_base64, tensor_of
from infra_validator.sample_requests.files.tfrecord import decompressed, open_local
from infra_validator.sample_requests.signature_request import described_input
from infra_validator.saved_model.graph import signature_not_found

_BODY_KEYS = ("instances", "inputs", "examples")


def requests_from_json(
    path: str, signatures: Signatures, model_name: str, default_signature: str
) -> Iterator[SampleRequest]:
    """The requests of a JSON file, made as they are asked for.

    Raises:
      UsageError: BAD_REQUESTS; names the line or the instance.
      AttemptFailed: a request asks for a signature that the model lacks (SIGNATURE_NOT_FOUND).
    """
    for where, value in _values(path):
        try:
            label = f"{where} of {os.path.basename(path)}" if where else os.path.basename(path)
            yield _request(value, label, signatures, model_name, default_signature)
        except (JsonValueError, RecursionError) as error:
            raise bad_requests(path, where, str(error)) from error


def bad_requests(path: str, where: str, problem: str) -> UsageError:
    """The error for a file of requests; ``where`` is a line, a record, or empty for the whole."""
    place = f"{path}, {where}" if where else path
    return UsageError(f"{place}: {problem}.", reason=ReasonCode.BAD_REQUESTS)


def _values(path: str) -> Iterator[tuple[str, Any]]:
    """(where, JSON value) of each value that is one request."""
    with open_local(path) as opened:
        content = decompressed(opened)
        lines = ((number, line) for number, line in enumerate(content, 1) if line.strip())
        first = next(lines, None)
        if first is None:
            raise bad_requests(path, "", "holds nothing")
        try:
            value = json.loads(_text(path, first))
        except RecursionError as error:
            raise bad_requests(path, f"line {first[0]}", "is nested too deeply") from error
        except json.JSONDecodeError:
            yield from _of_whole_file(_parse(path, 0, _text(path, (0, _whole(path)))))
            return
        second = next(lines, None)
        if second is None:
            yield from _of_whole_file(value)
            return
        yield f"line {first[0]}", value
        for number, line in itertools.chain((second,), lines):
            yield f"line {number}", _parse(path, number, _text(path, (number, line)))


def _whole(path: str) -> bytes:
    with open_local(path) as opened:
        return decompressed(opened).read()


def _of_whole_file(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        yield from ((f"instance {number}", instance) for number, instance in enumerate(value, 1))
    else:
        yield "", value


def _text(path: str, line: tuple[int, bytes]) -> str:
    try:
        return line[1].rstrip().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_requests(path, f"line {line[0]}" if line[0] else "", f"is not UTF-8: {error}") from error


def _parse(path: str, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}"
        raise bad_requests(path, place, f"is no JSON: {error.msg}") from error
    except RecursionError as error:
        raise bad_requests(path, f"line {line}" if line else "", "is nested too deeply") from error


def _request(value: Any, label: str, signatures: Signatures, model_name: str, default_signature: str) -> SampleRequest:
    name = _signature_name(value) or default_signature
    if name not in signatures:
        raise signature_not_found(name, signatures, f"The model, asked by {label},")
    signature = signatures[name]
    key = _body_key(value, signature)
    if key == "examples":
        return _examples_request(value, name, signature, model_name, label)
    if key == "inputs":
        inputs = _columns(value["inputs"], signature)
    elif key == "instances":
        inputs = _rows(value["instances"], signature)
    else:
        inputs = _rows([value], signature)
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = name
    for key, tensor in inputs.items():
        request.inputs[key].CopyFrom(tensor)
    return SampleRequest(methods.PREDICT, name, request.SerializeToString(), label)


def _signature_name(value: Any) -> str:
    named = value.get("signature_name", "") if isinstance(value, dict) else ""
    if not isinstance(named, str):
        raise JsonValueError("signature_name must be a string")
    return named


def _body_key(value: Any, signature: tensorflow_pb2.SignatureDef) -> str:
    """Which key makes ``value`` the body of a request; empty if it is an instance itself."""
    if not isinstance(value, dict) or value.keys() == set(signature.inputs):
        return ""
    keys = [key for key in _BODY_KEYS if key in value]
    if len(keys) > 1:
        raise JsonValueError(f"only one of {' and '.join(keys)} can be given")
    if not keys and "signature_name" in value:
        raise JsonValueError("there is a signature_name but none of instances, inputs, examples")
    return keys[0] if keys else ""


def _rows(instances: Any, signature: tensorflow_pb2.SignatureDef) -> dict[str, tensorflow_pb2.TensorProto]:
    """The inputs of row format: one tensor an input, whose first dimension is the number of instances."""
    if not isinstance(instances, list) or not instances:
        raise JsonValueError("instances must be a list with something in it")
    wanted = set(signature.inputs)
    first = instances[0]
    if isinstance(first, dict) and not is_base64(first):
        for number, instance in enumerate(instances, 1):
            if not isinstance(instance, dict) or instance.keys() != wanted:
                raise JsonValueError(f"instance {number} of the request must be an object of {_described(signature)}")
        columns = {key: [instance[key] for instance in instances] for key in wanted}
    elif len(wanted) == 1:
        columns = {next(iter(wanted)): instances}
    else:
        raise JsonValueError(f"an instance must be an object of {_described(signature)}")
    return {key: _tensor(key, column, signature) for key, column in columns.items()}


def _columns(inputs: Any, signature: tensorflow_pb2.SignatureDef) -> dict[str, tensorflow_pb2.TensorProto]:
    """The inputs of columnar format: whole tensors."""
    wanted = set(signature.inputs)
    if isinstance(inputs, dict) and not is_base64(inputs):
        if inputs.keys() != wanted:
            raise JsonValueError(f"inputs must be an object of {_described(signature)}")
        return {key: _tensor(key, value, signature) for key, value in inputs.items()}
    if len(wanted) == 1:
        key = next(iter(wanted))
        return {key: _tensor(key, inputs, signature)}
    raise JsonValueError(f"inputs must be an object of {_described(signature)}")


def _tensor(key: str, value: Any, signature: tensorflow_pb2.SignatureDef) -> tensorflow_pb2.TensorProto:
    try:
        return tensor_of(value, signature.inputs[key].dtype)
    except JsonValueError as error:
        raise JsonValueError(f"input {key!r}: {error}") from error


def _described(signature: tensorflow_pb2.SignatureDef) -> str:
    return ", ".join(described_input(key, signature.inputs[key]) for key in sorted(signature.inputs))


def _examples_request(
    body: dict[str, Any], name: str, signature: tensorflow_pb2.SignatureDef, model_name: str, label: str
) -> SampleRequest:
    regress = signature.method_name == methods.REGRESS_METHOD_NAME
    request = serving_pb2.RegressionRequest() if regress else serving_pb2.ClassificationRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = name
    examples = body["examples"]
    if not isinstance(examples, list) or not examples:
        raise JsonValueError("examples must be a list with something in it")
    made = [example_of(example) for example in examples]
    if "context" in body:
        request.input.example_list_with_context.examples.extend(made)
        request.input.example_list_with_context.context.CopyFrom(example_of(body["context"]))
    else:
        request.input.example_list.examples.extend(made)
    method = methods.REGRESS if regress else methods.CLASSIFY
    return SampleRequest(method, name, request.SerializeToString(), label)
