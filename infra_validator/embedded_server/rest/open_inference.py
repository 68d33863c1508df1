"""The Open Inference Protocol's REST API: paths and verbs. What stands in a request to infer, and in its answer, is in ``infer_body``.

Source: kserve/open-inference-protocol, inference_rest.md and open_inference_rest.yaml; Triton's model repository extension.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.open_inference.service import (
    EXTENSIONS,
    PLATFORM,
    SERVER_NAME,
    OpenInferenceService,
    TensorMetadata,
)
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest.answer import HTTP_STATUS, Answer, Headers
from infra_validator.embedded_server.rest.infer_body import infer_request, infer_response, read_object
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument, not_found

_MODEL = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?"

#: What a route calls: (the path's parts, headers, body) -> answer.
_Call = Callable[[Mapping[str, str], Headers, bytes], Answer]


def is_open_inference(target: str) -> bool:
    """Whether a request's target is of this API."""
    return re.match(r"/v2(?:[/?]|$)", target) is not None


class OpenInferenceApi:
    """Answers requests. Any number of threads at once.

    Args:
      service: knows the answers.
      settings: of every inference.
    """

    def __init__(self, service: OpenInferenceService, settings: RunSettings) -> None:
        self._service = service
        self._settings = settings
        routes: list[tuple[str, str, _Call]] = [
            ("GET", r"/v2", self._server_metadata),
            ("GET", r"/v2/health/live", lambda parts, headers, body: _json({"live": True})),
            ("GET", r"/v2/health/ready", self._server_ready),
            ("GET", _MODEL, self._model_metadata),
            ("GET", _MODEL + "/ready", self._model_ready),
            ("POST", _MODEL + "/infer", self._infer),
            ("POST", r"/v2/repository/index", self._index),
            ("POST", r"/v2/repository/models/(?P<name>[^/]+)/(?P<action>load|unload)", self._load_or_unload),
        ]
        self._routes = [(verb, re.compile(path), call) for verb, path, call in routes]

    def answer(self, verb: str, target: str, headers: Headers, body: bytes) -> Answer:
        """As ``RestApi.answer``, of a target that ``is_open_inference``."""
        path = target.partition("?")[0].removesuffix("/")
        try:
            for known, pattern, call in self._routes:
                if match := pattern.fullmatch(path):
                    if verb != known:
                        return _error(405, f"{path} takes {known}, not {verb}")
                    parts = {name: _decoded(text) for name, text in match.groupdict(default="").items()}
                    return call(parts, headers, body)
            raise not_found(f"the Open Inference Protocol has no {path}")
        except StatusError as error:
            return _error(HTTP_STATUS.get(error.code, 500), error.message)

    # ------------------------------------------------------------------------------------------- health and metadata

    def _server_metadata(self, _parts: Mapping[str, str], _headers: Headers, _body: bytes) -> Answer:
        return _json({"name": SERVER_NAME, "version": self._service.version, "extensions": EXTENSIONS})

    def _server_ready(self, _parts: Mapping[str, str], _headers: Headers, _body: bytes) -> Answer:
        return _ready_answer({"live": True}, self._service.server_ready())

    def _model_ready(self, parts: Mapping[str, str], _headers: Headers, _body: bytes) -> Answer:
        ready = self._service.model_ready(parts["name"], parts["version"])
        return _ready_answer({"name": parts["name"]}, ready)

    def _model_metadata(self, parts: Mapping[str, str], _headers: Headers, _body: bytes) -> Answer:
        told = self._service.model_metadata(parts["name"], parts["version"])
        return _json(
            {
                "name": told.name,
                "versions": told.versions,
                "platform": PLATFORM,
                "inputs": [_tensor(each) for each in told.inputs],
                "outputs": [_tensor(each) for each in told.outputs],
            }
        )

    # ---------------------------------------------------------------------------------------------------- inference

    def _infer(self, parts: Mapping[str, str], headers: Headers, body: bytes) -> Answer:
        read = infer_request(parts["name"], parts["version"], headers.get("Inference-Header-Content-Length"), body)
        return infer_response(read, self._service.infer(read.request, self._settings, "REST"))

    # --------------------------------------------------------------------------------------------- model repository

    def _index(self, _parts: Mapping[str, str], _headers: Headers, body: bytes) -> Answer:
        only_ready = (read_object(body) if body else {}).get("ready", False)
        if not isinstance(only_ready, bool):
            raise invalid_argument('"ready" is neither true nor false')
        return _json([vars(entry) for entry in self._service.index(only_ready)])

    def _load_or_unload(self, parts: Mapping[str, str], _headers: Headers, body: bytes) -> Answer:
        parameters = (read_object(body) if body else {}).get("parameters")
        if parts["action"] == "unload":
            self._service.unload(parts["name"])
        elif parameters:
            raise StatusError(Code.UNIMPLEMENTED, "A model is loaded as the server is configured, without parameters.")
        else:
            self._service.load(parts["name"])
        return Answer(200, b"")


def _decoded(text: str) -> str:
    try:
        return urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise invalid_argument(f"the path's {text} is no UTF-8") from error


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())


def _ready_answer(told: dict[str, Any], ready: bool) -> Answer:
    """Whoever looks at the status alone, as a kubelet does, is answered, too."""
    return _json({**told, "ready": ready}, 200 if ready else 503)


def _error(status: int, message: str) -> Answer:
    return Answer(status, rest_json.error_body(message))


def _tensor(told: TensorMetadata) -> dict[str, Any]:
    return {"name": told.name, "datatype": told.datatype, "shape": list(told.shape)}
