"""What infra-validator asks of everything that extends it, asked of this package. Run with the package installed."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from acme_serving.check import StepsCheck, StepsConfig
from acme_serving.client import FormulaClient
from acme_serving.platform import NiceProcessRunner
from acme_serving.requests import ASK, RampConfig, RampSource

from infra_validator import RequestSpec, ServingSpec
from infra_validator.core.answer import Answer, Tensor
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.base_source import AskedModel
from infra_validator.testing.contracts import (
    AnswerCheckContract,
    EntryPointContract,
    KilledValidatorContract,
    ModelServerClientContract,
    ModelServerRunnerContract,
    Refused,
    RequestSourceContract,
    Script,
    ServingBinaryContract,
)


class TestPlatform(ModelServerRunnerContract, KilledValidatorContract):
    def make_runner(self, server: Any, model: str) -> NiceProcessRunner:
        return NiceProcessRunner(model, server, ServingSpec.of({"tensorflow_serving": {}, "acme_nice": {}}))


class TestPlatformThatChoosesThePort(TestPlatform):
    chooses_its_port = False


class TestBinary(ServingBinaryContract):
    @pytest.fixture(autouse=True)
    def _models(self, tmp_path: pathlib.Path) -> None:
        self.directory = tmp_path
        for name, text in (("good", '{"factor": 2, "offset": 1}'), ("bad", '{"factor": "two"}')):
            (tmp_path / name).mkdir()
            (tmp_path / name / "formula.json").write_text(text)

    def serving_spec(self) -> Any:
        return {"acme_formula": {}, "local_process": {}}

    def good_model(self) -> pathlib.Path:
        return self.directory / "good"

    def bad_model(self) -> pathlib.Path:
        return self.directory / "bad"


class TestClient(ModelServerClientContract):
    def make_client(self, endpoint: str) -> FormulaClient:
        return FormulaClient(endpoint, "m", 1)

    def make_request(self, text: str, label: str) -> SampleRequest:
        return SampleRequest(ASK, "formula", text.encode(), label)

    @contextlib.contextmanager
    def serving(self, script: Script) -> Iterator[str]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200, json.dumps({"state": script.model, "message": script.message}).encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    self.answer(200, script.infer(body))
                except Refused as refused:
                    self.answer(400, json.dumps({"error": str(refused)}).encode())

            def answer(self, code: int, body: bytes) -> None:
                with contextlib.suppress(OSError):  # nobody waits for it any more
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


def asked(label: str, *values: float) -> tuple[SampleRequest, Answer]:
    import array

    y = Tensor(2, (len(values),), memoryview(array.array("d", values).tobytes()))
    return SampleRequest(ASK, "formula", b"{}", label), Answer({"y": y})


class TestCheck(AnswerCheckContract):
    def make_check(self) -> StepsCheck:
        return StepsCheck(StepsConfig(output="y", step=0.5))

    def good(self) -> list[tuple[SampleRequest, Answer]]:
        return [asked("one", 0.5, 1.0), asked("two", -7.5)]

    def bad(self) -> list[tuple[SampleRequest, Answer]]:
        return [asked("one", 0.5), asked("two", 0.7)]


class TestRequests(RequestSourceContract):
    def make_requests(self) -> Any:
        return RampSource(RampConfig(), AskedModel("m", {}, RequestSpec())).MakeRequests


class TestNameOfPlatform(EntryPointContract):
    group, name = "infra_validator.platforms", "acme_nice"
    config = {"level": 3}
    wrong_configs = (({"level": 20}, "level"), ({"level": "much"}, "level"))


class TestNameOfBinary(EntryPointContract):
    group, name = "infra_validator.serving_binaries", "acme_formula"
    config = {"extra_args": ["--quiet"]}
    wrong_configs = (({"extra_args": ["--model=x"]}, "extra_args[0]"),)


class TestNameOfClient(EntryPointContract):
    group, name = "infra_validator.clients", "acme_formula"


class TestNameOfCheck(EntryPointContract):
    group, name = "infra_validator.checks", "acme_steps"
    config = {"output": "y", "step": 0.25}
    wrong_configs = (({"output": "y", "step": 0}, "step"), ({}, "output"))


class TestNameOfRequests(EntryPointContract):
    group, name = "infra_validator.request_sources", "acme_ramp"
    config = {"count": 3}
    wrong_configs = (({"count": 0}, "count"),)
