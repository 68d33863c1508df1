"""TensorFlow quotes what it is asked in its errors and its log. A marked secret is sent through everything that does, in every dtype, from
every kind of source, and is to be found nowhere afterwards."""

from __future__ import annotations

import base64
import json
import logging
import os
import pathlib
import re
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy
import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.unit.sample_requests.examples_on_disk import tfrecord
from infra_validator.api import run_validation
from infra_validator.core.progress import PhaseBegan, Progress
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving
from infra_validator.report.verdict import ValidationReport
from infra_validator.sample_requests.files.prediction_log import write_warmup_file
from infra_validator.sample_requests.questions.tensor_values import tensor_of_values
from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

LOCAL: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
MARK = "S3cretMarkOfSomebody"
SHOWN = "<value of input x>"

#: signature -> what it is asked; MARK stands in each.
TEXTS = {
    "to_number": MARK,
    "tokens_to_number": f"12 {MARK} 13",
    "decode_csv": f"1,{MARK},3",
    "decode_json": f'{{"name": "{MARK}", "age": {MARK}}}',
    "parse_example": f"{MARK} that is no tf.Example, but \"quoted\" and 'quoted'\t\\",
    "regex": f"{MARK}[",
    "read_file": f"/tmp/{MARK}/file",
    "parse_tensor": MARK,
    "assert_string": f"{MARK}\té\"'\\",
    "assert_base64": f"{MARK} in base64",
    "assert_joined_base64": f"{MARK} in base64",
    "assert_part": f"before {MARK} and after",
    "print": f"{MARK}\té\"'\\",
    "print_base64": f"{MARK} in base64",
}

#: signature -> dtype, the number that is sent, how it begins however it is written.
NUMBERS: dict[str, tuple[tf.DataType.ValueType, float, str]] = {
    "float32": (tf.DT_FLOAT, 3.1415927, r"3\.14"),
    "float64": (tf.DT_DOUBLE, 0.12345678901234567, r"0?\.123|1\.23"),
    "half": (tf.DT_HALF, 1234.0, "1234"),
    "bfloat16": (tf.DT_BFLOAT16, 1232.0, "1232"),
    "int16": (tf.DT_INT16, -12345, "12345"),
    "int32": (tf.DT_INT32, 1234567, "12345"),
    "int64": (tf.DT_INT64, 1234567890123, "12345"),
    "uint16": (tf.DT_UINT16, 54321, "54321"),
    "uint32": (tf.DT_UINT32, 4012345678, "40123"),
    "uint64": (tf.DT_UINT64, 2**63 + 12345, "92233"),
}


def request(signature: str, tensor: tf.TensorProto) -> SampleRequest:
    message = serving.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = "m", signature
    message.inputs["x"].CopyFrom(tensor)
    return SampleRequest(
        "/tensorflow.serving.PredictionService/Predict", signature, message.SerializeToString(), "the request"
    )


def validate(model: pathlib.Path, asked: SampleRequest, **spec: Any) -> tuple[ValidationReport, str]:
    """The report, and all that was told besides."""
    told: list[str] = []
    report = run_validation(model, LOCAL, {"num_tries": 1, **spec}, requests=lambda: [asked], on_progress=told.append)
    return report, "\n".join(told)


def assert_nothing_secret(text: str, mark: str = MARK) -> None:
    """That neither the mark nor a part of it stands in the text, in any form that it could have there."""
    pieces = {mark[start : start + 8] for start in range(len(mark) - 7)}
    for piece in pieces:
        assert piece not in text
        assert piece.encode().hex() not in text.lower()
    for before in range(3):
        run = base64.b64encode(b"." * before + mark.encode())
        for start in range(2 + before, len(run) - 12, 4):
            assert run[start : start + 8].decode() not in text


def shows_number(text: str) -> bool:
    """Whether any part of the number 1234.5678 with its point is there; bare digits stand in log lines of any server (its microseconds)."""
    return re.search(r"(?<![\d.])1234\.5|(?<!\d)\.5678(?!\d)", text) is not None


def all_of(report: ValidationReport) -> str:
    return report.to_json() + repr(report)


@pytest.fixture
def quoting(saved_models: SavedModels) -> pathlib.Path:
    return saved_models.path("quoting")


@pytest.mark.parametrize("signature", TEXTS)
def test_texts(quoting: pathlib.Path, signature: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked = request(signature, tensor_of_values(tf.DT_STRING, [1], [TEXTS[signature]]))
    report, told = validate(quoting, asked)
    assert_nothing_secret(all_of(report) + told + caplog.text)
    assert SHOWN in report.serving_binaries[0].server_log + report.finding.detail
    if not signature.startswith("print"):
        assert report.finding.reason is ReasonCode.REQUEST_FAILED
        assert report.finding.detail.startswith(f"the request, signature '{signature}': ")


def said_by_tensorflow(report: ValidationReport) -> list[str]:
    """The lines of the error and the log, without what stands before a line of a log."""
    said = f"{report.finding.detail}\n{report.serving_binaries[0].server_log}"
    return [line.rpartition("] ")[2] for line in said.splitlines()]


@pytest.mark.parametrize("name", ["float32", "half", "int64", "uint64"])
def test_numbers_in_errors(quoting: pathlib.Path, name: str) -> None:
    dtype, number, beginning = NUMBERS[name]
    report, told = validate(quoting, request(f"assert_{name}", tensor_of_values(dtype, [1], [number])))
    assert f"assertion failed: [{SHOWN}]" in report.finding.detail
    said = [*said_by_tensorflow(report), *told.splitlines()]
    assert not [line for line in said if re.search(rf"(?<![\d.]){beginning}", line)]


def test_numbers_of_every_type_in_the_log(quoting: pathlib.Path) -> None:
    asked = [
        request(f"print_{name}", tensor_of_values(dtype, [1], [number])) for name, (dtype, number, _) in NUMBERS.items()
    ]
    report = run_validation(quoting, LOCAL, {"num_tries": 1}, requests=lambda: asked, on_progress=lambda _: None)
    assert report.blessed
    said = [line for line in said_by_tensorflow(report) if "it was asked" in line]
    assert said == [f"it was asked [{SHOWN}]"] * len(NUMBERS)


@pytest.mark.parametrize(("name", "size"), [("complex64", 4), ("complex128", 8)])
def test_complex_numbers(quoting: pathlib.Path, name: str, size: int) -> None:
    dtype = tf.DT_COMPLEX64 if size == 4 else tf.DT_COMPLEX128
    tensor = tf.TensorProto(dtype=dtype, tensor_content=struct.pack("<2f" if size == 4 else "<2d", 1.2345678, 2.5))
    tensor.tensor_shape.dim.add().size = 1
    report, _ = validate(quoting, request(f"print_{name}", tensor))
    assert f"it was asked [{SHOWN}]" in report.serving_binaries[0].server_log


def test_show_requests_shows_them(quoting: pathlib.Path) -> None:
    asked = request("to_number", tensor_of_values(tf.DT_STRING, [1], [MARK]))
    report, _ = validate(quoting, asked, show_requests=True)
    assert f"could not correctly convert string: {MARK}" in report.finding.detail
    assert MARK in report.serving_binaries[0].server_log


def test_an_answer_that_repeats_the_request_is_not_quoted(saved_models: SavedModels) -> None:
    asked = request("double", tensor_of_values(tf.DT_DOUBLE, [1], [1234.5678]))
    report, _ = validate(saved_models.path("identity"), asked, answers={"ranges": {"y": [0, 1]}})
    assert report.finding.reason is ReasonCode.ANSWER_OUT_OF_RANGE
    assert SHOWN in report.finding.detail
    assert not shows_number(all_of(report))


def test_what_rest_says_is_cleaned_too(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    """REST has no half; asked over gRPC alone the model would pass."""
    file = tmp_path / "requests.json"
    file.write_text(json.dumps({"signature_name": "half", "instances": [1234.5678]}))
    report = run_validation(saved_models.path("identity"), LOCAL, {"num_tries": 1}, requests=str(file))
    assert "over REST not: HTTP 400" in report.finding.detail
    assert not shows_number(report.to_json().replace(str(file), ""))
    assert "JSON Value: <value of a request> to type: half" in report.finding.detail


def test_errors_under_load_are_cleaned_too(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    """The file is gone once the sample requests were answered: every request under load fails, and its error quotes the name."""
    file = tmp_path / MARK
    file.write_text("read")
    asked = request("read_file", tensor_of_values(tf.DT_STRING, [1], [str(file)]))
    said: list[str] = []

    def tell(event: Progress) -> None:
        if isinstance(event, PhaseBegan) and event.phase == "measure":
            file.unlink()

    spec = {"num_tries": 1, "load": {"requests": 50, "warm_up_seconds": 0.1}}
    report = run_validation(
        saved_models.path("quoting"), LOCAL, spec, requests=lambda: [asked], on_progress=said.append, tell=tell
    )
    assert report.finding.reason is ReasonCode.REQUEST_FAILED
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    assert [SHOWN in run.error for run in measured.load] == [True]
    assert_nothing_secret(all_of(report) + "".join(said))


@pytest.mark.parametrize("advisory", [True, False])
def test_what_a_baselines_server_says_is_cleaned_too(
    saved_models: SavedModels, tmp_path: pathlib.Path, advisory: bool
) -> None:
    """The model answers; what is the default signature of the baseline fails, and quotes what it is asked."""
    baseline = saved_models.copy("quoting", tmp_path / "baseline")
    graph = tf.SavedModel.FromString((baseline / "saved_model.pb").read_bytes())
    signatures = graph.meta_graphs[0].signature_def
    signatures["serving_default"].CopyFrom(signatures["to_number"])
    signatures["serving_default"].outputs["y"].dtype = tf.DT_STRING  # so that the signatures are alike
    (baseline / "saved_model.pb").write_bytes(graph.SerializeToString())
    said: list[str] = []
    limits = {"advisory": advisory, "latency": [{"percentile": "p50", "at_most_times": 2.0}]}
    report = run_validation(
        saved_models.path("quoting"),
        LOCAL,
        {"num_tries": 1, "limits": limits, "load": {"seconds": 0.3, "warm_up_seconds": 0.1}},
        requests=lambda: [request("serving_default", tensor_of_values(tf.DT_STRING, [1], [MARK]))],
        on_progress=said.append,
        baseline_model=str(baseline),
    )
    assert report.blessed == advisory
    assert "BASELINE_FAILED" in all_of(report) or report.warnings
    assert any(SHOWN in line for line in (*said, *report.warnings, report.finding.detail))
    assert_nothing_secret(all_of(report) + "".join(said))


def test_what_a_server_says_while_it_warms_up_is_cleaned_too(quoting: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The file that was read in the validation is gone when the warm-up file's second request asks for it."""
    files = [tmp_path / "first", tmp_path / MARK]
    for file in files:
        file.write_text("read")
    asked = [request("read_file", tensor_of_values(tf.DT_STRING, [1], [str(file)])) for file in files]

    def on_progress(line: str) -> None:
        if "it is loaded again" in line:
            files[1].unlink()

    with LocalWarmedCopy(str(tmp_path / "warmed"), str(quoting)) as warmed:
        report = run_validation(
            quoting, LOCAL, {"num_tries": 1}, requests=lambda: asked, on_progress=on_progress, warmed=warmed
        )
    assert report.finding.reason is ReasonCode.WARMUP_FAILED
    assert "No such file or directory" in report.finding.detail + report.serving_binaries[0].server_log
    assert_nothing_secret(all_of(report))


# ---------------------------------------------------------------------- the command line, with every kind of source


def run_command(
    tmp_path: pathlib.Path, model: pathlib.Path, *arguments: str
) -> tuple[str, subprocess.CompletedProcess[str]]:
    """Everything that the command leaves: stdout, stderr, and the files under --output."""
    output = tmp_path / "output"
    command = ["validate", "--model", str(model), "--serving-spec", json.dumps(LOCAL), "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "infra_validator", *command, "--validation-spec", '{"num_tries": 1}', *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode in (1, 2, 3), done.stdout + done.stderr
    files = "".join(path.read_text(errors="replace") for path in sorted(output.rglob("*")) if path.is_file())
    assert '"verdict"' in files
    return done.stdout + done.stderr + files, done


def example(**features: str) -> bytes:
    made = tf.Example()
    for name, value in features.items():
        made.features.feature[name].bytes_list.value.append(value.encode())
    return made.SerializeToString()


def as_json(path: pathlib.Path) -> Mapping[str, Any]:
    path.write_text(json.dumps({"signature_name": "to_number", "instances": ["1", MARK]}))
    return {}


def as_json_bytes(path: pathlib.Path) -> Mapping[str, Any]:
    body = {"signature_name": "to_number", "instances": [{"b64": base64.b64encode(MARK.encode()).decode()}]}
    path.write_text(json.dumps(body))
    return {}


def as_npz(path: pathlib.Path) -> Mapping[str, Any]:
    with path.open("wb") as file:
        numpy.savez(file, x=numpy.array([MARK]))
    return {"tensorflow_serving": {"signature_names": ["to_number"]}}


def as_examples(path: pathlib.Path) -> Mapping[str, Any]:
    path.write_bytes(tfrecord([example(x=MARK)]))
    return {"tensorflow_serving": {"signature_names": ["to_number"]}}


def as_serialized_examples(path: pathlib.Path) -> Mapping[str, Any]:
    """A string input of serialized examples, whose bytes the error quotes; the mark stands in a feature of another type."""
    path.write_bytes(tfrecord([example(name=MARK)]))
    return {"tensorflow_serving": {"signature_names": ["regress"]}}


def as_prediction_logs(path: pathlib.Path) -> Mapping[str, Any]:
    write_warmup_file([request("to_number", tensor_of_values(tf.DT_STRING, [1], [MARK]))], str(path))
    return {}


SOURCES = [as_json, as_json_bytes, as_npz, as_examples, as_serialized_examples, as_prediction_logs]


@pytest.mark.parametrize("write", SOURCES)
def test_files(quoting: pathlib.Path, tmp_path: pathlib.Path, write: Any) -> None:
    file = tmp_path / "requests"
    spec = write(file)
    more = ["--request-spec", json.dumps(spec)] if spec else []
    everything, done = run_command(tmp_path, quoting, "--requests", str(file), *more)
    assert_nothing_secret(everything)
    assert "REQUEST_FAILED" in done.stdout


def test_generated_texts(quoting: pathlib.Path, tmp_path: pathlib.Path) -> None:
    spec = {"tensorflow_serving": {"signature_names": ["to_number"]}, "generate": {"texts": {"x": [MARK]}}}
    everything, done = run_command(tmp_path, quoting, "--request-spec", json.dumps(spec))
    assert_nothing_secret(everything)
    assert "GENERATED_REQUEST_REFUSED" in done.stdout
    assert SHOWN in done.stdout


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"signature_name": "int8", "instances": [12345678]}, "identity"),
        ({"signature_name": "float", "instances": [MARK]}, "identity"),
        ({"signature_name": "string", "instances": [{"b64": MARK + "!"}]}, "identity"),
        ({"signature_name": "float", MARK: [1.0]}, "identity"),
    ],
)
def test_what_is_wrong_with_the_requests_is_told_without_them(
    saved_models: SavedModels, tmp_path: pathlib.Path, body: Any, model: str
) -> None:
    file = tmp_path / "requests.json"
    file.write_text(json.dumps(body))
    everything, done = run_command(tmp_path, saved_models.path(model), "--requests", str(file))
    assert "BAD_REQUESTS" in done.stdout
    assert "12345678" not in everything
    if MARK not in body:
        assert_nothing_secret(everything)


def test_the_commands_flag_shows_them(quoting: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "requests.json"
    as_json(file)
    everything, done = run_command(tmp_path, quoting, "--requests", str(file), "--show-requests")
    assert MARK in done.stdout
    assert MARK in everything.replace(done.stdout, "")
