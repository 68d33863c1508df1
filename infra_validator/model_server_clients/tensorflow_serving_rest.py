"""Asks TensorFlow Serving's REST API (api_rest.md) what was asked over gRPC, and reads its answers as the same outputs."""

from __future__ import annotations

import base64
import http.client
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra_validator.core.answer import STRING, Answer, Tensor, UnreadableAnswer
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, shorten
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.base_client import RestRefused

_VERBS = {"Predict": "predict", "Classify": "classify", "Regress": "regress"}
_OPENS_SECONDS = 1.0  # how much later than its gRPC port a server may open the REST port
_JSON_KINDS = {"bool": (bool,)}  # a bool is an int to Python, not to JSON
_LONGEST_TEXT = 500  # characters of a server's message in a report


class RestClient:
    """Talks to one model's REST API. Used by several threads.

    Args:
      endpoint: ``host:port``.
      model_name: the model's name on the server.
      version: the version under test; None means whatever the server has.
    """

    def __init__(self, endpoint: str, model_name: str, version: int | None) -> None:
        host, _, port = endpoint.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._path = f"/v1/models/{model_name}" + (f"/versions/{version}" if version is not None else "")

    def ask(self, request: SampleRequest, deadline: Deadline) -> bytes:
        """The body of the answer to ``request.rest_body``.

        Raises:
          RestRefused: it is an error, or none came.
        """
        verb = _VERBS.get(request.method.rpartition("/")[2], "predict")
        last = ""

        def answered() -> tuple[int, bytes] | None:
            nonlocal last
            try:
                return self._post(verb, request.rest_body or b"", deadline)
            except (OSError, http.client.HTTPException) as error:
                last = str(error) or type(error).__name__
                return None

        try:
            status, body = wait_until(answered, deadline.capped(_OPENS_SECONDS))
        except DeadlineExceeded as error:
            raise RestRefused(f"no answer came ({last})", answered=False) from error
        if status != http.client.OK:
            raise RestRefused(f"HTTP {status}: {shorten(_error(body), _LONGEST_TEXT)}")
        return body

    def _post(self, verb: str, body: bytes, deadline: Deadline) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=max(0.001, deadline.remaining()))
        try:
            connection.request("POST", f"{self._path}:{verb}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _error(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:_LONGEST_TEXT].decode(errors="replace")


def read_rest_answer(body: bytes, like: Answer) -> Mapping[str, Tensor]:
    """The outputs in a REST answer.

    Args:
      body: the JSON.
      like: the answer to the same request over gRPC, which says the outputs' names and types; JSON does not.

    Raises:
      UnreadableAnswer: it is no such answer.
    """
    try:
        given = json.loads(body)
        if like.kind != "predict":
            return _results(given["results"], like)
        if "outputs" in given:
            return _columns(given["outputs"], like)
        return _rows(given["predictions"], like)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error, OverflowError, RecursionError) as error:
        raise UnreadableAnswer(f"JSON of another form ({type(error).__name__})") from error


def _columns(outputs: Any, like: Answer) -> dict[str, Tensor]:
    if len(like.outputs) == 1:  # a single output stands alone
        return {name: _tensor(outputs, like_tensor) for name, like_tensor in like.outputs.items()}
    return {name: _tensor(outputs[name], like.outputs[name]) for name in outputs}


def _rows(predictions: Any, like: Answer) -> dict[str, Tensor]:
    if len(like.outputs) == 1:
        return {name: _tensor(predictions, like_tensor) for name, like_tensor in like.outputs.items()}
    names = predictions[0].keys() if predictions else like.outputs.keys()
    if any(row.keys() != names for row in predictions):
        raise ValueError("rows with different outputs")
    return {name: _tensor([row[name] for row in predictions], like.outputs[name]) for name in names}


def _results(results: Any, like: Answer) -> dict[str, Tensor]:
    if like.kind == "regress":
        return {"outputs": _tensor(results, like.outputs["outputs"])}
    return {
        "classes": _tensor([[pair[0] for pair in row] for row in results], like.outputs["classes"]),
        "scores": _tensor([[pair[1] for pair in row] for row in results], like.outputs["scores"]),
    }


def _tensor(value: Any, like: Tensor) -> Tensor:
    shape = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            shape += like.shape[len(shape) :]  # JSON does not tell the dimensions behind an empty one
            break
        inner = inner[0]
    elements = list(_elements(value, shape))
    if like.dtype == STRING:
        texts = [_text(element) for element in elements]
        return Tensor(STRING, tuple(shape), strings=lambda: texts)
    code = like.element.code
    if not code or like.element.parts != 1:
        raise ValueError("a type that JSON does not have")
    kinds = _JSON_KINDS.get(like.element.name, (float, int) if like.element.is_float else (int,))
    if any(type(element) not in kinds for element in elements):
        raise TypeError("values of another type")
    return Tensor(like.dtype, tuple(shape), memoryview(struct.pack(f"<{len(elements)}{code}", *elements)))


def _elements(value: Any, shape: Sequence[int]) -> Iterator[Any]:
    """The values in lists of the sizes ``shape``, and in no others."""
    if not shape:
        if isinstance(value, list):
            raise ValueError("ragged lists")
        yield value
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError("ragged lists")
    for item in value:
        yield from _elements(item, shape[1:])


def _text(value: Any) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    if not isinstance(value, str):
        raise TypeError("no string")
    return value.encode("utf-8", "surrogatepass")
