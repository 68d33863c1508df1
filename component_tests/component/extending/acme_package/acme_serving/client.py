"""A client: Acme's protocol, JSON over HTTP."""

from __future__ import annotations

import array
import contextlib
import http.client
import json
from collections.abc import Iterable, Sequence

from infra_validator.core.answer import Answer, Tensor, UnreadableAnswer
from infra_validator.core.deadline import Deadline
from infra_validator.core.sample_request import SampleRequest
from infra_validator.core.states import ModelStatus, ModelStatusReport
from infra_validator.model_server_clients.base_client import BaseModelServerClient, Job, unwatched
from infra_validator.model_server_clients.threads.sending import RefusedRequest, send_in_threads

_DOUBLE = 2  # TensorFlow's DataType
_STATES = {"ready": ModelStatus.READY, "loading": ModelStatus.NOT_READY, "failed": ModelStatus.UNAVAILABLE}


class FormulaClient(BaseModelServerClient):
    """Talks to one formula server; a connection for each question."""

    def GetModelStatus(self, deadline: Deadline) -> ModelStatusReport:
        try:
            code, body = self._call("GET", b"", deadline.remaining())
        except http.client.HTTPException as error:
            return ModelStatusReport(ModelStatus.NOT_READY, f"{type(error).__name__}: {error}", foreign=True)
        except OSError as error:
            return ModelStatusReport(ModelStatus.NOT_READY, str(error), answered=False)
        try:
            told = json.loads(body)
            return ModelStatusReport(_STATES[told["state"]], told.get("message", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return ModelStatusReport(ModelStatus.NOT_READY, f"HTTP {code}: no state of a model", foreign=True)

    def SendRequests(
        self, requests: Iterable[SampleRequest], deadline: Deadline, job: Job = unwatched, concurrency: int = 8
    ) -> int:
        return send_in_threads(requests, self._ask, deadline, job, concurrency, self.on_answer, self.on_latency)

    def ReadAnswer(self, request: SampleRequest, payload: bytes) -> Sequence[Answer]:
        try:
            y = array.array("d", json.loads(payload)["y"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableAnswer(f"no list of numbers y: {error}") from error
        return [Answer({"y": Tensor(_DOUBLE, (len(y),), memoryview(y.tobytes()))})]

    def Close(self) -> None:
        pass  # no connection is kept

    def _ask(self, request: SampleRequest, seconds: float) -> bytes:
        try:
            code, body = self._call("POST", request.payload, seconds)
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        if code != 200:
            text = body.decode("utf-8", "replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = str(json.loads(body)["error"])
            raise RefusedRequest(f"HTTP {code}: {text}", request_is_wrong=code == 400)
        return body

    def _call(self, method: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        host, _, port = self.endpoint.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=max(seconds, 0.001))
        with contextlib.closing(connection):
            connection.request(method, "/", body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()
