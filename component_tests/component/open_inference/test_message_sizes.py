"""Large messages over gRPC: grpcio's own limit of 4 MiB is the client's nowhere, and the server's is told and blames who sent too much."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from component_tests.component.open_inference.test_validation import serving
from infra_validator import run_validation
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.core.sample_request import SampleRequest
from infra_validator.model_server_clients.open_inference.infer_request import MODEL_INFER
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import Verdict

pytestmark = pytest.mark.slow

LARGE = 9 * 2**19  # octets, above grpcio's limit
ELEMENTS = LARGE // 4


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    return model


def asked() -> list[SampleRequest]:
    """One request of 4.5 MiB, which is answered with as much."""
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[ELEMENTS])
    message.raw_input_contents.append(bytes(LARGE))
    return [SampleRequest(MODEL_INFER, "serving_default", message.SerializeToString(), "the large one")]


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_both_ways_are_open(model: pathlib.Path, typed: bool) -> None:
    schema = {"inputs": {"x": f"FP32[{ELEMENTS}]"}, "outputs": {"x": f"FP32[{ELEMENTS}]"}}
    spec = serving(*(["typed"] if typed else []), typed_contents=typed, **schema)
    report = run_validation(model, spec, {"num_tries": 1}, {"generate": {}, "num_examples": 1})
    assert report.blessed, report.finding
    assert report.evidence.level is EvidenceLevel.ANSWERED


@pytest.mark.parametrize(
    ("limit", "requests", "verdict", "reason", "said"),
    [
        ("most_receive", asked, Verdict.NOT_BLESSED, R.REQUEST_FAILED, "Received message larger than max"),
        ("most_receive", None, Verdict.INCONCLUSIVE, R.GENERATED_REQUEST_REFUSED, "Received message larger than max"),
        ("most_send", None, Verdict.NOT_BLESSED, R.REQUEST_FAILED, "Sent message larger than max"),
    ],
    ids=["a request", "a made-up request", "the answer to a made-up request"],
)
def test_beyond_the_servers_limit(
    model: pathlib.Path,
    limit: str,
    requests: Callable[[], list[SampleRequest]] | None,
    verdict: Verdict,
    reason: R,
    said: str,
) -> None:
    """A request that nobody sent but us, and that never reached the model, says nothing of it; an answer is the model's own."""
    spec = serving(f"{limit}={4 * 2**20}", inputs={"x": f"FP32[{ELEMENTS}]"}, outputs={"x": f"FP32[{ELEMENTS}]"})
    generated = {} if requests else {"generate": {}, "num_examples": 1}
    report = run_validation(model, spec, {"num_tries": 1}, generated, requests=requests)
    assert (report.verdict, report.finding.reason) == (verdict, reason), report.finding
    assert f"RESOURCE_EXHAUSTED: SERVER: {said}" in report.finding.detail
