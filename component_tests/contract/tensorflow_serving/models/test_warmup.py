"""Contract 8: warm-up requests are replayed while a model loads."""

from __future__ import annotations

import gzip
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from component_tests.contract.tensorflow_serving.requests import examples_input, predict_request, spec, tensor
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.records.tfrecord import write_records

pytestmark = pytest.mark.slow

Log = serving_pb2.PredictionLog
X = tensor([1.0])


def with_warmup(
    saved_models: SavedModels, base_path: pathlib.Path, logs: Sequence[serving_pb2.PredictionLog | bytes]
) -> pathlib.Path:
    """half_plus_two at ``<base_path>/1`` with these warm-up records; the file's path."""
    extra = saved_models.copy("half_plus_two", base_path) / "assets.extra"
    extra.mkdir()
    path = extra / "tf_serving_warmup_requests"
    with path.open("wb") as file:
        write_records([log if isinstance(log, bytes) else log.SerializeToString() for log in logs], file)
    return path


def predict_log(name: str = "anything", signature: str = "", **inputs: Any) -> serving_pb2.PredictionLog:
    request = predict_request(spec(name, signature), **inputs)
    return Log(predict_log=serving_pb2.PredictLog(request=request))


def test_8_every_kind_of_request(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    classify = serving_pb2.ClassificationRequest(model_spec=spec("other", "classify_x_to_y"), input=examples_input(1.0))
    regress = serving_pb2.RegressionRequest(model_spec=spec("other", "regress_x_to_y", 77), input=examples_input(1.0))
    task = serving_pb2.InferenceTask(
        model_spec=spec("other", "regress_x_to_y"), method_name="tensorflow/serving/regress"
    )
    multi = serving_pb2.MultiInferenceRequest(tasks=[task], input=examples_input(1.0))
    logs = [
        predict_log(x=X),
        Log(predict_log=serving_pb2.PredictLog(request=predict_request(None, x=X))),
        Log(classify_log=serving_pb2.ClassifyLog(request=classify)),
        Log(regress_log=serving_pb2.RegressLog(request=regress)),
        Log(multi_inference_log=serving_pb2.MultiInferenceLog(request=multi)),
        Log(),
    ]
    path = with_warmup(saved_models, tmp_path / "m", logs)
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--num_request_iterations_for_warmup=3") as server:
        log = server.stderr
    assert f"] Starting to read warmup data for model at {path} with model-warmup-options " in log
    assert f"] Finished reading warmup data for model at {path}. Number of warmup records read: 6. Elapsed time" in log
    assert log.index("Finished reading warmup data") < log.index("] Running gRPC ModelServer")


@pytest.mark.parametrize("content", [None, b""], ids=["no file", "empty file"])
def test_8_nothing_to_replay(saved_models: SavedModels, tmp_path: pathlib.Path, content: bytes | None) -> None:
    path = with_warmup(saved_models, tmp_path / "m", [])
    if content is None:
        path.unlink()
    with embedded_server(f"--model_base_path={tmp_path / 'm'}") as server:
        expected = f"No warmup data file found at {path}" if content is None else "Number of warmup records read: 0."
        assert expected in server.stderr


@pytest.mark.parametrize(
    ("logs", "error"),
    [
        ([predict_log(x=X), predict_log(y=X)], "INVALID_ARGUMENT: Signature input alias: x"),
        ([predict_log(signature="no", x=X)], 'FAILED_PRECONDITION: Serving signature key "no" not found.'),
        ([Log(session_run_log=serving_pb2.SessionRunLog())], "UNIMPLEMENTED: Unsupported log_type for warmup: 5"),
        (
            [Log(predict_streamed_log=serving_pb2.PredictStreamedLog())],
            "UNIMPLEMENTED: Unsupported log_type for warmup: 7",
        ),
        ([b"\xff\xff"], "INVALID_ARGUMENT: Failed to parse warmup record: "),
        ([Log()] * 1001, "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at "),
    ],
    ids=["a request fails", "unknown signature", "session run", "streamed", "no PredictionLog", "1001 records"],
)
def test_8_a_warmup_that_fails_fails_the_load(
    saved_models: SavedModels, tmp_path: pathlib.Path, logs: list[serving_pb2.PredictionLog | bytes], error: str
) -> None:
    with_warmup(saved_models, tmp_path / "m", logs)
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", wait=False) as server:
        assert server.wait_for_exit() == 255
        assert f"{{{{{{name: default version: 1}} due to error: {error}" in server.stdout


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: whole[:-3], "truncated record at 0' failed with Read less bytes than requested"),
        (lambda whole: whole[:20] + b"~" + whole[21:], "corrupted record at 12"),
        (lambda whole: b"hello world" * 9, "corrupted record at 0 (Is this even a TFRecord file?)"),
        (lambda whole: gzip.compress(whole, mtime=0), "corrupted record at 0 (Is this even a TFRecord file?)"),
        (lambda whole: whole + whole[:5] + b"~" + whole[6:], "corrupted record at {size}"),
    ],
    ids=["cut off", "data", "text", "gzip", "second record"],
)
def test_8_a_corrupt_file_fails_the_load_in_tensorflows_words(
    saved_models: SavedModels, tmp_path: pathlib.Path, damage: Callable[[bytes], bytes], problem: str
) -> None:
    path = with_warmup(saved_models, tmp_path / "m", [predict_log(x=X)])
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", wait=False) as server:
        assert server.wait_for_exit() == 255
        said = f"{problem.format(size=len(whole))}. Please verify your warmup data is in TFRecord format."
        assert f"due to error: DATA_LOSS: {said}" in server.stdout


def test_8_off(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    with_warmup(saved_models, tmp_path / "m", [b"\xff\xff"])
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--enable_model_warmup=false") as server:
        assert "warmup data" not in server.stderr


def test_8_1000_records_are_fine(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    with_warmup(saved_models, tmp_path / "m", [predict_log(x=X)] * 1000)
    with embedded_server(f"--model_base_path={tmp_path / 'm'}") as server:
        assert "Number of warmup records read: 1000." in server.stderr
