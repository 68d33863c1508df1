"""A request to infer as it stands in an HTTP body, and its answer: the Open Inference Protocol's JSON and its binary data extension.

Source: kserve/open-inference-protocol, inference_rest.md; the binary tensor data extension of KServe and Triton.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from infra_validator.embedded_server.engine import tensors as engine_tensors
from infra_validator.embedded_server.engine.c_api import STRING, Tensor
from infra_validator.embedded_server.open_inference import tensors
from infra_validator.embedded_server.open_inference.service import InferRequest, InferResult
from infra_validator.embedded_server.open_inference.tensors import InputTensor, Raw, quoted
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest.answer import Answer
from infra_validator.embedded_server.rest.tensors import float_texts
from infra_validator.embedded_server.status import invalid_argument

_BINARY = "application/octet-stream"
_INTEGERS = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")

#: datatype -> the types of Python's that its values have in JSON.
_KINDS: dict[str, set[type]] = {
    "BOOL": {bool},
    **{datatype: {int} for datatype in _INTEGERS},
    "FP32": {int, float},
    "FP64": {int, float},
    "BYTES": {str},
}
#: The largest number that is not rounded to infinity.
_LARGEST = {"FP32": 3.4028235677973362e38, "FP64": sys.float_info.max}


@dataclasses.dataclass(frozen=True)
class ReadRequest:
    """A request as it was read.

    Attributes:
      request: what is asked.
      id: None: there is none.
      binary: the outputs to answer as binary data.
      binary_by_default: whether those that are not in ``requested`` are answered so.
      requested: the outputs whose form the request says.
    """

    request: InferRequest
    id: str | None
    binary_by_default: bool
    forms: dict[str, bool]


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        problem = f"the JSON of the body is no UTF-8 at byte {error.start}; BYTES that are no text go as binary data"
        raise invalid_argument(problem) from error
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise invalid_argument("the body's JSON is no object")
    return value


def _no_number(word: str) -> NoReturn:
    raise invalid_argument(f"{word} is no number of JSON; send it as binary data")


def infer_request(model_name: str, model_version: str, header_length: str | None, body: bytes) -> ReadRequest:
    """What an HTTP request asks.

    Args:
      model_name, model_version: of the path.
      header_length: the header Inference-Header-Content-Length: the JSON's length where binary data follow it.
      body: of the request.

    Raises:
      StatusError: INVALID_ARGUMENT.
    """
    at = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 19):
            raise invalid_argument("the header Inference-Header-Content-Length is no number")
        at = int(header_length)
        if at > len(body):
            raise invalid_argument(f"Inference-Header-Content-Length is {at}, and the body has {len(body)} bytes")
    document = read_object(body[:at])
    parameters = _parameters(document, "the request")
    inputs = []
    for sent in _objects(document, "inputs", required=True):
        made = _input(sent, body, at)
        at = made.content.end if isinstance(made.content, Raw) else at
        inputs.append(made)
    if at < len(body):
        raise invalid_argument(f"{len(body) - at} bytes of binary data are left when every input has its own")
    outputs = _objects(document, "outputs")
    forms = {}
    for output in outputs:
        own = _parameters(output, "an output")
        if "binary_data" in own:
            forms[_text(output, "name", "an output")] = _bool(own, "binary_data")
    return ReadRequest(
        InferRequest(
            model_name, model_version, inputs, [_text(each, "name", "an output") for each in outputs], parameters
        ),
        _text(document, "id", "the request") if "id" in document else None,
        _bool(parameters, "binary_data_output"),
        forms,
    )


def _objects(document: dict[str, Any], key: str, required: bool = False) -> list[dict[str, Any]]:
    found = document.get(key, None if required else [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise invalid_argument(f'the request has no list of objects "{key}"')
    return found


def _text(owner: dict[str, Any], key: str, what: str) -> str:
    value = owner.get(key)
    if not isinstance(value, str):
        raise invalid_argument(f'{what} has no string "{key}"')
    return value


def _parameters(owner: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = owner.get("parameters", {})
    if not isinstance(parameters, dict):
        raise invalid_argument(f'"parameters" of {what} are no object')
    return parameters


def _bool(parameters: dict[str, Any], key: str) -> bool:
    value = parameters.get(key, False)
    if not isinstance(value, bool):
        raise invalid_argument(f'the parameter "{key}" is neither true nor false')
    return value


# ------------------------------------------------------------------------------------------------------------ inputs


def _input(sent: dict[str, Any], body: bytes, at: int) -> InputTensor:
    """An input; its binary data, if it has any, begin at ``body[at]``."""
    name = _text(sent, "name", "an input")
    what = f"the input {quoted(name)}"
    datatype, shape = _text(sent, "datatype", what), sent.get("shape")
    if not isinstance(shape, list) or set(map(type, shape)) - {int}:
        raise invalid_argument(f'{what} has no list of integers "shape"')
    made = InputTensor(name, datatype, shape, ())
    parameters = _parameters(sent, what)
    if "binary_data_size" not in parameters:
        return dataclasses.replace(made, content=_values(made, sent.get("data")))
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise made.problem('has a parameter "binary_data_size" that is no number of bytes')
    if "data" in sent:
        raise made.problem('has "data" beside binary data')
    if size > len(body) - at:
        raise made.problem(f"has {shown(size)} bytes of binary data, and {len(body) - at} are left in the body")
    return dataclasses.replace(made, content=Raw(body, at, at + size))


def shown(number: int) -> str:
    """A number of any length as it stands in an error's text."""
    return str(number) if number < 2**63 else "more than 2^63"


def _values(sent: InputTensor, data: Any) -> Sequence[Any]:
    """The values one by one, of a list that is nested as the shape is, or flat."""
    if not isinstance(data, list):
        raise sent.problem('has neither a list "data" nor a parameter "binary_data_size"')
    level, depth = data, 1
    while level and isinstance(level[0], list):
        if depth >= len(sent.shape) or set(map(type, level)) != {list} or set(map(len, level)) != {sent.shape[depth]}:
            raise _nested_otherwise(sent)
        level, depth = list(itertools.chain.from_iterable(level)), depth + 1
    if depth > 1 and (depth != len(sent.shape) or len(data) != sent.shape[0]):
        raise _nested_otherwise(sent)
    kinds = _KINDS.get(sent.datatype)
    if kinds is None:
        return level  # what is wrong with the datatype is said where it is held against the model's
    if wrong := set(map(type, level)) - kinds:
        raise sent.problem(f"is of {sent.datatype} and has {_word(min(wrong, key=str))} in its data")
    if sent.datatype == "BYTES":
        return [_encoded(sent, value) for value in level]
    largest = _LARGEST.get(sent.datatype)
    if largest is not None and level and not (-largest <= min(level) and max(level) <= largest):
        raise sent.problem(f"has a number that is too large for {sent.datatype}")
    return level


def _nested_otherwise(sent: InputTensor) -> Exception:
    return sent.problem(f"has data that are nested otherwise than the shape {tensors.shape_text(sent.shape)}")


def _word(kind: type) -> str:
    words = {
        bool: "a boolean",
        int: "an integer",
        float: "a fraction",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return words.get(kind, "null")


def _encoded(sent: InputTensor, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise sent.problem("has a string with half of a surrogate pair, which is no text") from error


# ----------------------------------------------------------------------------------------------------------- answers


def infer_response(read: ReadRequest, result: InferResult) -> Answer:
    """The answer to a request.

    Raises:
      StatusError: an output has no form in JSON, or in the protocol.
    """
    outputs, binary = [], []
    for name, tensor in result.outputs.items():
        datatype = tensors.datatype_of(name, tensor)
        head = f'{{"name": {json.dumps(name)}, "datatype": "{datatype}", "shape": {list(tensor.shape)}, '
        if read.forms.get(name, read.binary_by_default):
            binary.append(tensors.raw_content(tensor))
            outputs.append(f'{head}"parameters": {{"binary_data_size": {len(binary[-1])}}}}}')
        else:
            outputs.append(f'{head}"data": [{", ".join(_texts(name, datatype, tensor))}]}}')
    told = {"model_name": result.model_name, "model_version": result.model_version}
    if read.id is not None:
        told["id"] = read.id
    document = f'{json.dumps(told)[:-1]}, "outputs": [{", ".join(outputs)}]}}'.encode()
    if not binary:
        return Answer(200, document)
    headers = (("Inference-Header-Content-Length", str(len(document))),)
    return Answer(200, b"".join([document, *binary]), _BINARY, headers)


def _texts(name: str, datatype: str, tensor: Tensor) -> list[str]:
    """The JSON of each element; numbers that JSON has no word for as TensorFlow Serving has them (NaN, Infinity)."""
    if datatype in tensors.RAW_ONLY:
        raise invalid_argument(f"the output {quoted(name)} is of {datatype}, for which JSON has no form: {_ASK}")
    elements = tensors.values(tensor)
    if tensor.dtype == STRING:
        try:
            return [rest_json.quoted(value.decode()) for value in elements]
        except UnicodeDecodeError as error:
            problem = f"the output {quoted(name)} has bytes that are no UTF-8, for which JSON has no form: {_ASK}"
            raise invalid_argument(problem) from error
    if datatype in _LARGEST:
        return float_texts(elements, "f" if tensor.dtype == engine_tensors.FLOAT else "d")
    if datatype == "BOOL":
        return ["true" if element else "false" for element in elements]
    return list(map(str, elements))


_ASK = "ask for binary data (binary_data_output, or the output's binary_data)"
