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
from collections.abc import Iterator, Sequence
from typing import Any

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2
from infra_validator.sample_requests.files.json_example import example_of
from infra_validator.sample_requests.files.json_tensor import tensor_of
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.signature_inputs import Signatures, described_inputs, needed_inputs
from infra_validator.sample_requests.questions.values import ValueMisfit, is_base64
from infra_validator.sample_requests.records.tfrecord import decompressed, open_local
from infra_validator.saved_model.graph import signature_not_found

_BODY_KEYS = ("instances", "inputs", "examples")


def questions_of_json(path: str, signatures: Signatures, names: Sequence[str]) -> Iterator[Question]:
    """The questions of a JSON file, made as they are asked for; what names no signature asks each of ``names``.

    Raises:
      UsageError: BAD_REQUESTS; names the line or the instance.
      AttemptFailed: a request asks for a signature that the model lacks (SIGNATURE_NOT_FOUND).
    """
    for where, value in _values(path):
        try:
            label = f"{where} of {os.path.basename(path)}" if where else os.path.basename(path)
            yield from questions_of_value(value, label, signatures, names)
        except (ValueMisfit, RecursionError) as error:
            raise bad_requests(path, where, str(error)) from error


def questions_of_value(value: Any, label: str, signatures: Signatures, names: Sequence[str]) -> Iterator[Question]:
    """The questions of one JSON value: a request's body, or an instance. What names no signature asks each of ``names``.

    Args:
      label: how messages call it.

    Raises:
      ValueMisfit: it fits no signature.
      AttemptFailed: it asks for a signature that the model lacks (SIGNATURE_NOT_FOUND).
    """
    named = _signature_name(value)
    for name in [named] if named else names:
        yield _question(value, label, name, signatures)


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


def _of_whole_file(value: object) -> Iterator[tuple[str, Any]]:
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


def _question(value: Any, label: str, name: str, signatures: Signatures) -> Question:
    if name not in signatures:
        raise signature_not_found(name, signatures, f"The model, asked by {label},")
    signature = signatures[name]
    key = _body_key(value, signature)
    try:
        if key == "examples":
            return _examples_question(value, name, signature, label)
        if signature.method_name in (methods.CLASSIFY_METHOD_NAME, methods.REGRESS_METHOD_NAME) and not key:
            raise ValueMisfit(f'it takes examples: {{"signature_name": "{name}", "examples": [...]}}')
        if key == "inputs":
            inputs = _columns(value["inputs"], signature)
        else:
            inputs = _rows(value["instances"] if key == "instances" else [value], signature)
    except ValueMisfit as error:
        raise ValueMisfit(f"for signature {name!r}: {error}") from error
    return Question(methods.PREDICT, name, label, inputs, body=_body(value, name) if key else None, is_row=not key)


def _body(value: dict[str, Any], name: str) -> bytes:
    return json.dumps({**value, "signature_name": name}).encode()


def _signature_name(value: object) -> str:
    named = value.get("signature_name", "") if isinstance(value, dict) else ""
    if not isinstance(named, str):
        raise ValueMisfit("signature_name must be a string")
    return named


def _body_key(value: object, signature: tensorflow_pb2.SignatureDef) -> str:
    """Which key makes ``value`` the body of a request; empty if it is an instance itself."""
    if not isinstance(value, dict) or _fits(value, signature):
        return ""
    keys = [key for key in _BODY_KEYS if key in value]
    if len(keys) > 1:
        raise ValueMisfit(f"only one of {' and '.join(keys)} can be given")
    if not keys and "signature_name" in value:
        raise ValueMisfit("there is a signature_name but none of instances, inputs, examples")
    return keys[0] if keys else ""


def _rows(instances: object, signature: tensorflow_pb2.SignatureDef) -> dict[str, tensorflow_pb2.TensorProto]:
    """The inputs of row format: one tensor an input, whose first dimension is the number of instances."""
    if not isinstance(instances, list) or not instances:
        raise ValueMisfit("instances must be a list with something in it")
    known = set(signature.inputs)
    first = instances[0]
    if isinstance(first, dict) and not is_base64(first):
        for number, instance in enumerate(instances, 1):
            if not isinstance(instance, dict) or not _fits(instance, signature) or instance.keys() != first.keys():
                raise ValueMisfit(
                    f"instance {number} of the request must be an object of {described_inputs(signature)}"
                    f"{_difference(instance, signature)}"
                )
        columns = {key: [instance[key] for instance in instances] for key in first}
    elif len(known) == 1:
        columns = {next(iter(known)): instances}
    else:
        raise ValueMisfit(f"an instance must be an object of {described_inputs(signature)}")
    return {key: _tensor(key, column, signature) for key, column in columns.items()}


def _columns(inputs: object, signature: tensorflow_pb2.SignatureDef) -> dict[str, tensorflow_pb2.TensorProto]:
    """The inputs of columnar format: whole tensors."""
    if isinstance(inputs, dict) and not is_base64(inputs):
        if not _fits(inputs, signature):
            raise ValueMisfit(
                f"inputs must be an object of {described_inputs(signature)}{_difference(inputs, signature)}"
            )
        return {key: _tensor(key, value, signature) for key, value in inputs.items()}
    if len(signature.inputs) == 1:
        (key,) = signature.inputs
        return {key: _tensor(key, inputs, signature)}
    raise ValueMisfit(f"inputs must be an object of {described_inputs(signature)}")


def _fits(named: dict[str, object], signature: tensorflow_pb2.SignatureDef) -> bool:
    """Whether values stand for inputs of the signature only, and for all that have no default there."""
    return needed_inputs(signature) <= named.keys() <= set(signature.inputs)


def _difference(named: object, signature: tensorflow_pb2.SignatureDef) -> str:
    """Which inputs are missing and which names are none, for a message."""
    if not isinstance(named, dict):
        return ""
    missing = ", ".join(repr(key) for key in sorted(needed_inputs(signature) - named.keys()))
    unknown = ", ".join(repr(key) for key in sorted(named.keys() - set(signature.inputs)))
    return (f"; it lacks {missing}" if missing else "") + (f"; there is no input {unknown}" if unknown else "")


def _tensor(key: str, value: object, signature: tensorflow_pb2.SignatureDef) -> tensorflow_pb2.TensorProto:
    try:
        return tensor_of(value, signature.inputs[key].dtype)
    except ValueMisfit as error:
        raise ValueMisfit(f"input {key!r}: {error}") from error


def _examples_question(body: dict[str, Any], name: str, signature: tensorflow_pb2.SignatureDef, label: str) -> Question:
    regress = signature.method_name == methods.REGRESS_METHOD_NAME
    examples = body["examples"]
    if not isinstance(examples, list) or not examples:
        raise ValueMisfit("examples must be a list with something in it")
    return Question(
        methods.REGRESS if regress else methods.CLASSIFY,
        name,
        label,
        examples=tuple(example_of(example) for example in examples),
        context=example_of(body["context"]) if "context" in body else None,
        body=_body(body, name),
    )
