"""The REST API as a function from request to answer (contract 6): paths, bodies, status codes. No sockets in here."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf import json_format

from infra_validator.embedded_server.grpc.prediction_service import PredictionService
from infra_validator.embedded_server.inference import inference
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.servable import DEFAULT_SIGNATURE, Servable, Signature
from infra_validator.embedded_server.models.server_core import ServerCore
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest import tensors as rest_tensors
from infra_validator.embedded_server.rest.examples import examples_of
from infra_validator.embedded_server.rest.tensors import TensorBuilder
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

_VERSION_OR_LABEL = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION_OR_LABEL}:(?P<method>classify|regress|predict)", re.I)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION_OR_LABEL}(?:/(?P<metadata>metadata))?", re.I)
_SERVED = re.compile(r"/v1/.*", re.I | re.S)

_HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    429: "Client Error",
    499: "Client Error",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}
_JSON = "application/json"
_HTML = "text/html; charset=ISO-8859-1"
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


class Headers(Protocol):
    """A request's headers, by name in any case."""

    def get(self, name: str, /) -> str | None: ...


@dataclasses.dataclass(frozen=True)
class Answer:
    """What goes back.

    Attributes:
      status: the HTTP status code.
      body: the whole body.
      content_type: of the body.
      headers: further headers.
      close: whether the connection ends with it.
    """

    status: int
    body: bytes
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


def error_page(status: int) -> Answer:
    """The HTML page of what is no REST request at all; the connection ends with it."""
    reason = REASONS.get(status, "Error")
    page = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return Answer(status, page.encode(), "text/html", close=True)


@dataclasses.dataclass(frozen=True)
class RestOptions:
    """What flags say about REST; see the flags of the same names.

    Attributes:
      timeout_ms: ``--rest_api_timeout_in_ms``.
      cors: ``--rest_api_enable_cors_support``.
      check_method_name: ``--enable_signature_method_name_check``.
      metrics_path: where metrics are served; empty: nowhere.
    """

    timeout_ms: int = 30000
    cors: bool = False
    check_method_name: bool = False
    metrics_path: str = ""


class RestApi:
    """Answers requests. Any number of threads at once.

    Args:
      core: knows the models.
      service: answers metadata.
      metrics: hears of every request.
      options: see RestOptions.
    """

    def __init__(
        self, core: ServerCore, service: PredictionService, metrics: Metrics, options: RestOptions = RestOptions()
    ) -> None:
        self._core = core
        self._service = service
        self._metrics = metrics
        self._options = options
        self._settings = RunSettings(inference.run_options(options.timeout_ms), options.check_method_name, metrics)

    def answer(self, verb: str, target: str, headers: Headers, body: bytes) -> Answer:
        """Answer one request.

        Args:
          verb: the HTTP method.
          target: the request target as it was sent, query included.
          headers: the request's headers, case-insensitive.
          body: the request's body, unpacked.
        """
        options = self._options
        if options.metrics_path and target.split("?")[0] == options.metrics_path:
            if target != options.metrics_path:
                problem = f"Unexpected path: {target}. Should be {options.metrics_path}"
                return Answer(400, problem.encode(), "text/plain")
            return Answer(200, self._metrics.prometheus().encode(), "text/plain")
        if not _SERVED.fullmatch(target):
            return error_page(404)
        if verb == "OPTIONS":
            origin = headers.get("Origin") or ""
            allowed = "http://" in origin or "https://" in origin
            return Answer(200 if allowed else 400, b"", _HTML, _CORS if allowed else ())
        answer = self._dispatched(verb, target, body)
        return dataclasses.replace(answer, headers=_CORS) if options.cors else answer

    def _dispatched(self, verb: str, target: str, body: bytes) -> Answer:
        match = _POST.fullmatch(target) if verb == "POST" else _GET.fullmatch(target) if verb == "GET" else None
        name = _decoded(match["name"] or "") if match else ""
        method = match.groupdict().get("method", "") if match else ""
        started = time.perf_counter()
        try:
            code, answer = Code.OK, Answer(200, self._called(verb, target, match, name, method, body))
        except StatusError as error:
            code, answer = error.code, _error_answer(error)
        self._metrics.request(name, method, "REST", code, time.perf_counter() - started)
        return answer

    def _called(
        self, verb: str, target: str, match: re.Match[str] | None, name: str, method: str, body: bytes
    ) -> bytes:
        # The regular expressions ignore case; the words themselves are compared with it.
        calls: dict[str, Callable[[serving_pb2.ModelSpec, bytes], bytes]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }
        if match is None or (verb == "POST" and method not in calls):
            raise invalid_argument(f"Malformed request: {verb} {target}")
        if not name:
            raise invalid_argument("Missing model name in request.")
        spec = serving_pb2.ModelSpec(name=name)
        if match["version"]:
            version = int(match["version"]) if len(match["version"]) < 1000 else 2**63
            if version >= 2**63:
                raise _EmptyAnswerError(Code.INVALID_ARGUMENT, "")
            spec.version.value = version
        elif match["label"]:
            spec.version_label = _decoded(match["label"])
        if verb == "POST":
            return calls[method](spec, body)
        return self._metadata(spec) if match["metadata"] == "metadata" else self._status(spec)

    # ------------------------------------------------------------------------------------------------------- predict

    def _predict(self, spec: serving_pb2.ModelSpec, body: bytes) -> bytes:
        document = rest_json.parse(body)
        signature_name = _signature_name(document)
        servable = self._core.find(spec)
        try:
            signature = _predict_signature(servable, signature_name)
            is_row, values = _inputs(document, signature, signature_name)
            builders = {alias: builder.tensor(alias) for alias, builder in values.items()}
            outputs = inference.predict(
                servable, signature_name, builders, builders.__getitem__, settings=self._settings
            )
            return rest_tensors.row_response(outputs) if is_row else rest_tensors.columnar_response(outputs)
        finally:
            servable.release()

    # ----------------------------------------------------------------------------------------- classify and regress

    def _classify(self, spec: serving_pb2.ModelSpec, body: bytes) -> bytes:
        document = rest_json.parse(body)
        signature_name, examples = _signature_name(document), examples_of(document)
        servable = self._core.find(spec)
        try:
            result = inference.classify(servable, signature_name, examples, self._settings)
        finally:
            servable.release()
        rows = []
        for row in result.classifications:
            pairs = [f"[{rest_json.quoted(c.label)}, {rest_tensors.float_text(c.score)}]" for c in row.classes]
            rows.append(f"[{', '.join(pairs)}]")
        return _results(rows)

    def _regress(self, spec: serving_pb2.ModelSpec, body: bytes) -> bytes:
        document = rest_json.parse(body)
        signature_name, examples = _signature_name(document), examples_of(document)
        servable = self._core.find(spec)
        try:
            result = inference.regress(servable, signature_name, examples, self._settings)
        finally:
            servable.release()
        return _results([rest_tensors.float_text(regression.value) for regression in result.regressions])

    # ------------------------------------------------------------------------------------------ status and metadata

    def _status(self, spec: serving_pb2.ModelSpec) -> bytes:
        versions = [
            {
                "version": str(entry.version),
                "state": serving_pb2.ModelVersionStatus.State.Name(entry.state),
                "status": {
                    "error_code": tensorflow_pb2.Code.Name(entry.status.error_code),
                    "error_message": entry.status.error_message,
                },
            }
            for entry in self._core.status(spec).model_version_status
        ]
        return _protobuf_json({"model_version_status": versions})

    def _metadata(self, spec: serving_pb2.ModelSpec) -> bytes:
        request = serving_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        response = self._service.model_metadata(request)
        signatures = serving_pb2.SignatureDefMap.FromString(response.metadata["signature_def"].value)
        definitions = {name: _signature_json(definition) for name, definition in signatures.signature_def.items()}
        return _protobuf_json(
            {
                "model_spec": {
                    "name": response.model_spec.name,
                    "signature_name": "",
                    "version": str(response.model_spec.version.value),
                },
                "metadata": {"signature_def": {"signature_def": definitions}},
            }
        )


class _EmptyAnswerError(StatusError):
    """A failure whose text the real server loses: the body is empty."""


def _error_answer(error: StatusError) -> Answer:
    status = _HTTP_STATUS.get(error.code, 500)
    return Answer(status, b"" if isinstance(error, _EmptyAnswerError) else rest_json.error_body(error.message))


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text, errors="surrogateescape")


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {rest_json.shown(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def _predict_signature(servable: Servable, signature_name: str) -> Signature:
    key = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid_argument(f'Serving signature name: "{key}" not found in signature def')
    if not signature.inputs:
        raise invalid_argument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    return signature


def _inputs(
    document: dict[str, Any], signature: Signature, signature_name: str
) -> tuple[bool, dict[str, TensorBuilder]]:
    """Whether the request is in row form, and its inputs by alias."""
    is_row, is_column = "instances" in document, "inputs" in document
    if is_row and is_column:
        raise invalid_argument(
            f"JSON Value: {rest_json.shown(document)} "
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if is_row:
        return True, _row_inputs(document, signature)
    if is_column:
        return False, _column_inputs(document["inputs"], signature)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _builders(signature: Signature, rows: bool) -> dict[str, TensorBuilder]:
    infos = signature.definition.inputs
    return {alias: TensorBuilder(infos[alias].dtype, rows) for alias in signature.inputs}


def _row_inputs(document: dict[str, Any], signature: Signature) -> dict[str, TensorBuilder]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {rest_json.shown(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {rest_json.shown(document)} No values in 'instances' array")
    builders = _builders(signature, rows=True)
    if isinstance(instances[0], dict) and not rest_tensors.is_base64(instances[0]):
        for index, instance in enumerate(instances):
            _add_named(builders, index, instance)
        return builders
    if len(builders) > 1 and not isinstance(instances[0], dict):
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per tensorinfo_map"
        )
    alias, builder = next(iter(builders.items()))
    for index, instance in enumerate(instances):
        if isinstance(instance, dict) and not rest_tensors.is_base64(instance):
            raise invalid_argument(f"Expecting value/list but got object at item {index} of input list")
        try:
            builder.add(instance)
        except StatusError as error:
            raise invalid_argument(f"Failed to process element: {index} of 'instances' list. Error: {error}") from error
    return {alias: builder}


def _add_named(builders: dict[str, TensorBuilder], index: int, instance: Any) -> None:
    if not isinstance(instance, dict):
        raise invalid_argument(f"Expecting object but got list at item {index} of input list")
    for key, value in instance.items():
        try:
            if key not in builders:
                raise invalid_argument(f"JSON object: does not have named input: {key}")
            builders[key].add(value)
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {index} key: {key} of 'instances' list. Error: {error}"
            ) from error
    if len(instance) != len(builders):
        raise invalid_argument(
            f"Failed to process element: {index} of 'instances' list. JSON object: {rest_json.shown(instance)} "
            f"keys must be equal to: {','.join(sorted(builders))}"
        )


def _column_inputs(inputs: Any, signature: Signature) -> dict[str, TensorBuilder]:
    builders = _builders(signature, rows=False)
    if not isinstance(inputs, dict) or rest_tensors.is_base64(inputs):
        if len(builders) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required "
                "as per tensorinfo_map"
            )
        next(iter(builders.values())).add(inputs)
        return builders
    for alias, builder in builders.items():
        if alias not in inputs:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        builder.add(inputs[alias])
    return builders


def _results(rows: list[str]) -> bytes:
    return ('{\n    "results": [' + ", ".join(rows) + "\n    ]\n}").encode("utf-8", "surrogateescape")


def _protobuf_json(value: dict[str, Any]) -> bytes:
    """JSON in protobuf's layout: one blank of indentation, a newline at the end."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogateescape")


def _signature_json(definition: tensorflow_pb2.SignatureDef) -> dict[str, Any]:
    return {
        "inputs": {alias: _tensor_info_json(info) for alias, info in definition.inputs.items()},
        "outputs": {alias: _tensor_info_json(info) for alias, info in definition.outputs.items()},
        "method_name": definition.method_name,
        "defaults": {
            alias: json_format.MessageToDict(value, preserving_proto_field_name=True)
            for alias, value in definition.defaults.items()
        },
    }


def _tensor_info_json(info: tensorflow_pb2.TensorInfo) -> dict[str, Any]:
    found: dict[str, Any] = {"dtype": tensorflow_pb2.DataType.Name(info.dtype)}
    if info.HasField("tensor_shape"):
        found["tensor_shape"] = {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim],
            "unknown_rank": info.tensor_shape.unknown_rank,
        }
    encoding = info.WhichOneof("encoding")
    if encoding == "name":
        found["name"] = info.name
    elif encoding is not None:
        value = getattr(info, encoding)
        found[encoding] = json_format.MessageToDict(value, preserving_proto_field_name=True)
    return found
