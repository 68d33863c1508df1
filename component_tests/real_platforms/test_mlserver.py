"""MLServer with a scikit-learn model, in an environment of its own, under whole validations over the Open Inference Protocol."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.conftest import python_of
from component_tests.real_platforms.inference_servers import NO_BINARY_DATA, departures, said, validated
from infra_validator import run_validation, serving
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.network.held_port import HeldPort
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.model_server_clients.open_inference.rest_channel import RestChannel, RestError
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.report.evidence import EvidenceLevel
from infra_validator.report.verdict import ValidationReport, Verdict

pytestmark = pytest.mark.mlserver

TRAIN = """
import sys
import joblib, numpy
from sklearn.linear_model import LogisticRegression
rows = numpy.random.default_rng(0).random((50, 4))
joblib.dump(LogisticRegression().fit(rows, (rows.sum(axis=1) > 2).astype(int)), sys.argv[1])
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A classifier of four numbers, named iris."""
    model = tmp_path_factory.mktemp("mlserver") / "iris"
    model.mkdir()
    subprocess.run([python_of("mlserver"), "-c", TRAIN, str(model / "model.joblib")], check=True, timeout=120)
    settings = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v1"},
    }
    (model / "model-settings.json").write_text(json.dumps(settings))
    return model


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    """Ports that nobody else gets: MLServer is told them by its environment."""
    held = {name: HeldPort() for name in ("GRPC", "HTTP", "METRICS")}
    yield {name: port.port for name, port in held.items()}
    for port in held.values():
        port.release()


def spec_of(model: pathlib.Path, ports: dict[str, int], name: str = "iris", **more: Any) -> dict[str, Any]:
    fields = {"inputs": {"input": "FP64[-1,4]"}, "outputs": {"predict": "INT64[-1,1]"}, **more}
    return {
        "open_inference": {
            "command": [str(pathlib.Path(python_of("mlserver")).with_name("mlserver")), "start", str(model)],
            "env": {
                **{f"MLSERVER_{protocol}_PORT": str(port) for protocol, port in ports.items()},
                "MLSERVER_HOST": "127.0.0.1",
                "MLSERVER_PARALLEL_WORKERS": "0",
            },
            **fields,
        },
        "local_process": {"grpc_port": ports["HTTP" if more.get("protocol") == "rest" else "GRPC"]},
        "model_name": name,
    }


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_good_model_is_blessed(trained: pathlib.Path, ports: dict[str, int], typed: bool) -> None:
    report = validated(trained, spec_of(trained, ports, typed_contents=typed, model_version="v1"))
    assert report.blessed, report.finding
    assert (report.evidence.level, report.evidence.requests) == (EvidenceLevel.ANSWERED, 5)


@pytest.mark.parametrize("kind", ["made", "given"])
def test_a_model_in_mlservers_own_layout_is_blessed(trained: pathlib.Path, tmp_path: pathlib.Path, kind: str) -> None:
    """Nothing names a port, nothing comes into the model's directory."""
    model = tmp_path / "any_name"
    model.mkdir()
    for name in ("model.joblib", *(("model-settings.json",) if kind == "given" else ())):
        (model / name).write_bytes((trained / name).read_bytes())
    before = sorted(path.name for path in model.iterdir())
    made = {"implementation": "mlserver_sklearn.SKLearnModel", "uri": "model.joblib", "version": "v1"}
    spec = {
        "open_inference": {
            "command": [str(pathlib.Path(python_of("mlserver")).with_name("mlserver"))],
            "env": {"MLSERVER_PARALLEL_WORKERS": "0"},
            "layout": {"mlserver": made if kind == "made" else {}},
            "model_version": "v1",
            "inputs": {"input": "FP64[-1,4]"},
            "outputs": {"predict": "INT64[-1,1]"},
        },
        "local_process": {},
        "model_name": "iris",
    }
    report = validated(model, spec)
    assert report.blessed, said(report)
    assert (report.evidence.level, report.evidence.digest_verified) == (EvidenceLevel.ANSWERED, True)
    assert sorted(path.name for path in model.iterdir()) == before


@pytest.fixture
def newer_uvloop(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory for PYTHONPATH with a uvloop that MLServer 1.7.1 does not run on: that of KServe's environment."""
    (installed,) = pathlib.Path(python_of("kserve")).parents[1].glob("lib/python3.*/site-packages/uvloop")
    (info,) = installed.parent.glob("uvloop-*.dist-info")
    python = installed.parents[1].name
    assert pathlib.Path(python_of("mlserver")).with_name(python).exists(), f"MLServer's environment is not of {python}"
    assert [int(part) for part in info.name.split("-")[1].split(".")[:2]] >= [0, 22]
    directory = tmp_path / "newer"
    directory.mkdir()
    (directory / "uvloop").symlink_to(installed)
    return directory


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_whose_worker_dies_by_itself_is_not_the_models_fault(
    trained: pathlib.Path, newer_uvloop: pathlib.Path, protocol: str
) -> None:
    """Its HTTP goes on, with 400 to every question of whether the model is ready; over gRPC it does not know the model."""
    spec = {
        "open_inference": {
            "command": [str(pathlib.Path(python_of("mlserver")).with_name("mlserver"))],
            "env": {"PYTHONPATH": str(newer_uvloop), "MLSERVER_PARALLEL_WORKERS": "1"},
            "layout": {"mlserver": {}},
            "protocol": protocol,
        },
        "local_process": {},
        "model_name": "iris",
    }
    report = run_validation(trained, spec, {"num_tries": 2, "max_loading_time_seconds": 600})
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.SERVER_BROKEN), report.finding
    assert "There is no current event loop" in report.finding.detail
    assert "uvloop<0.22" in report.finding.detail
    assert len(report.serving_binaries[0].attempts) == 1  # another try cannot help


def asked_at(ports: dict[str, int], protocol: str, name: str) -> ValidationReport:
    """What a validation says of a model on the server that is there."""
    key = "HTTP" if protocol == "rest" else "GRPC"
    address = {protocol: f"127.0.0.1:{ports[key]}"}
    spec = {"open_inference": {"protocol": protocol}, "address": address, "model_name": name}
    return run_validation("", spec, {"num_tries": 1, "max_loading_time_seconds": 5})


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_that_is_ready_without_the_model_is_not_enough(
    trained: pathlib.Path, ports: dict[str, int], protocol: str
) -> None:
    with serving(trained, spec_of(trained, ports, protocol=protocol)):
        report = asked_at(ports, protocol, "another")
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT), report.finding
    words = "HTTP 404: Model another not found" if protocol == "rest" else "UNKNOWN: Unexpected"
    assert words in report.finding.detail


def test_a_server_that_is_ready_without_any_model_is_not_enough(ports: dict[str, int], tmp_path: pathlib.Path) -> None:
    """MLServer#2056: its readiness, which is the server's, is true."""
    given = spec_of(tmp_path, ports)["open_inference"]
    with subprocess.Popen(given["command"], env={**os.environ, **given["env"]}) as server:
        try:
            ready = RestChannel(f"127.0.0.1:{ports['HTTP']}").unary_unary(
                "ServerReady", None, pb.ModelReadyResponse.FromString
            )

            def is_ready() -> bool | None:
                with contextlib.suppress(RestError):
                    return ready(b"", timeout=5).ready or None
                return None

            wait_until(is_ready, Deadline.after(200))
            reports = [asked_at(ports, protocol, "iris") for protocol in ("grpc", "rest")]
            assert is_ready()
        finally:
            server.terminate()
    for report in reports:
        assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, R.LOAD_TIMEOUT), report.finding
        assert "Model iris" in report.finding.detail
        assert "not found" in report.finding.detail


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_over_rest(trained: pathlib.Path, ports: dict[str, int], binary: bool) -> None:
    """It has not got the binary data extension, and says HTTP 500 and a trace with the request in it."""
    report = validated(trained, spec_of(trained, ports, protocol="rest", binary_data=binary))
    if not binary:
        assert report.blessed, report.finding
        return
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, R.BAD_SPEC), report.finding
    assert "binary_data: must be false on this server" in report.finding.detail
    assert (
        "'input': b'" not in report.serving_binaries[0].server_log
        or "<value of" in report.serving_binaries[0].server_log
    )


@pytest.mark.parametrize(
    ("limit", "reason"), [("", R.GENERATED_REQUEST_REFUSED), ("16777216", R.BLESSED)], ids=["its own", "set"]
)
def test_large_requests(trained: pathlib.Path, ports: dict[str, int], limit: str, reason: R) -> None:
    """It takes 4 MiB over gRPC unless it is told otherwise."""
    spec = spec_of(trained, ports, inputs={"input": "FP64[150000,4]"}, outputs={"predict": "INT64[150000,1]"})
    if limit:
        spec["open_inference"]["env"]["MLSERVER_GRPC_MAX_MESSAGE_LENGTH"] = limit
    limits = {"num_tries": 1, "max_loading_time_seconds": 600}
    report = run_validation(trained, spec, limits, {"generate": {}, "num_examples": 1})
    assert report.finding.reason is reason, report.finding
    assert ("Received message larger than max" in report.finding.detail) == (not limit)


def test_a_model_that_cannot_be_loaded_is_not_blessed(
    trained: pathlib.Path, ports: dict[str, int], tmp_path: pathlib.Path
) -> None:
    broken = tmp_path / "iris"
    broken.mkdir()
    (broken / "model-settings.json").write_text((trained / "model-settings.json").read_text())
    (broken / "model.joblib").write_bytes(b"no model")
    report = validated(broken, spec_of(broken, ports), seconds=60)
    assert report.verdict is Verdict.NOT_BLESSED
    assert report.finding.reason in (R.SERVER_EXITED, R.LOAD_TIMEOUT, R.MODEL_UNAVAILABLE)


def test_rows_that_the_model_does_not_take_are_told_in_its_words(trained: pathlib.Path, ports: dict[str, int]) -> None:
    report = validated(trained, spec_of(trained, ports, inputs={"input": "FP64[-1,3]"}))
    assert report.verdict is not Verdict.BLESSED
    assert "features" in report.finding.detail


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_where_it_departs_from_the_protocol(
    trained: pathlib.Path, ports: dict[str, int], capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    """What MLServer 1.7.1 is known to do otherwise; another release may do more of it right."""
    told = departures(trained, spec_of(trained, ports, protocol=protocol), "input=FP64[2,4]", capsys)
    assert told == {
        "metadata-tensors": "advice",
        "requested-output": "not judged",  # the model has one output
        "unknown-input": "advice",
        **({"both-contents": "advice"} if protocol == "grpc" else NO_BINARY_DATA),
    }
