"""The REST API as a function from request to answer (contract 6): paths, bodies, status codes. No sockets in here."""

from __future__ import annotations

import dataclasses
import re
import time
import urllib.parse
from collections.abc import Callable

from infra_validator.embedded_server.inference import inference
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import PredictionService
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.server_core import ServerCore
from infra_validator.embedded_server.open_inference.service import OpenInferenceService
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest import tensors as rest_tensors
from infra_validator.embedded_server.rest.answer import HTTP_STATUS, Answer, Headers, error_page
from infra_validator.embedded_server.rest.examples import examples_of
from infra_validator.embedded_server.rest.open_inference import OpenInferenceApi, is_open_inference
from infra_validator.embedded_server.rest.predict_inputs import inputs_of, signature_name_of, signature_of
from infra_validator.embedded_server.rest.protobuf_json import protobuf_json, signature_json
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

_VERSION_OR_LABEL = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION_OR_LABEL}:(?P<method>classify|regress|predict)", re.I)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION_OR_LABEL}(?:/(?P<metadata>metadata))?", re.I)
_SERVED = re.compile(r"/v1/.*", re.I | re.S)

_HTML = "text/html; charset=ISO-8859-1"
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


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
      open_inference: answers the Open Inference Protocol's paths; None: nobody does.
    """

    def __init__(
        self,
        core: ServerCore,
        service: PredictionService,
        metrics: Metrics,
        options: RestOptions = RestOptions(),
        open_inference: OpenInferenceService | None = None,
    ) -> None:
        self._core = core
        self._service = service
        self._metrics = metrics
        self._options = options
        self._settings = RunSettings(inference.run_options(options.timeout_ms), options.check_method_name, metrics)
        self._open_inference = OpenInferenceApi(open_inference, self._settings) if open_inference is not None else None

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
        others = self._open_inference is not None and is_open_inference(target)
        if not others and not _SERVED.fullmatch(target):
            return error_page(404)
        if verb == "OPTIONS":
            answer = _preflight(headers)
        elif self._open_inference is not None and others:
            answer = self._open_inference.answer(verb, target, headers, body)
        else:
            answer = self._dispatched(verb, target, body)
        return dataclasses.replace(answer, headers=answer.headers + _CORS) if options.cors else answer

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
        signature_name = signature_name_of(document)
        servable = self._core.find(spec)
        try:
            signature = signature_of(servable, signature_name)
            is_row, values = inputs_of(document, signature, signature_name)
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
        signature_name, examples = signature_name_of(document), examples_of(document)
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
        signature_name, examples = signature_name_of(document), examples_of(document)
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
        return protobuf_json({"model_version_status": versions})

    def _metadata(self, spec: serving_pb2.ModelSpec) -> bytes:
        request = serving_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        response = self._service.model_metadata(request)
        signatures = serving_pb2.SignatureDefMap.FromString(response.metadata["signature_def"].value)
        definitions = {name: signature_json(definition) for name, definition in signatures.signature_def.items()}
        return protobuf_json(
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
    status = HTTP_STATUS.get(error.code, 500)
    return Answer(status, b"" if isinstance(error, _EmptyAnswerError) else rest_json.error_body(error.message))


def _preflight(headers: Headers) -> Answer:
    """To OPTIONS (6.8): whether a browser's page from the origin that it names may ask."""
    origin = headers.get("Origin") or ""
    return Answer(200 if "http://" in origin or "https://" in origin else 400, b"", _HTML)


def _decoded(text: str) -> str:
    return urllib.parse.unquote(text, errors="surrogateescape")


def _results(rows: list[str]) -> bytes:
    return ('{\n    "results": [' + ", ".join(rows) + "\n    ]\n}").encode("utf-8", "surrogateescape")
