"""``--make-warmup`` and ``warmup_directory``: the model with a warm-up file, loaded again before it is blessed."""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from component_tests.contract.tensorflow_serving.requests import examples_input, predict_request, spec, tensor
from component_tests.fakes.saved_models import ROOT, SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator import run_validation, validate
from infra_validator.cli.main import main
from infra_validator.core.errors import SpecError, UsageError
from infra_validator.core.signals.interruption import Interruption
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.report.verdict import Verdict
from infra_validator.sample_requests.records.tfrecord import read_records, write_records
from infra_validator.saved_model.digest import model_digest
from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

pytestmark = pytest.mark.slow

SERVING: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")


def misbehaving(folder: pathlib.Path, mode: str) -> dict[str, Any]:
    """A serving spec whose program is ``misbehaving_servers.py MODE``."""
    program = folder / "tensorflow_model_server"
    server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode])
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
    program.chmod(0o755)
    return {"tensorflow_serving": {}, "local_process": {"binary_path": str(program)}, "model_name": "m"}


def command(folder: pathlib.Path, model: pathlib.Path, *more: str, serving: dict[str, Any] = SERVING) -> int:
    """``validate --output <folder>/out``, with at most one try."""
    arguments = ["--model", str(model), "--serving-spec", json.dumps(serving), "--output", str(folder / "out")]
    return main(["validate", *arguments, "--quiet", "--validation-spec", '{"num_tries": 1}', *more])


def verdict(folder: pathlib.Path) -> Any:
    return json.loads((folder / "out" / "verdict.json").read_text())


def logs(model: pathlib.Path) -> list[pb.PredictionLog]:
    """What the warm-up file of a model holds."""
    return [pb.PredictionLog.FromString(record) for record in read_records(str(model / FILE))]


def kinds(model: pathlib.Path) -> list[tuple[str, str, int]]:
    """(kind of log, signature, rows) of each record."""
    found: list[tuple[str, str, int]] = []
    for log in logs(model):
        kind: str = log.WhichOneof("log_type") or ""
        request = getattr(log, kind).request
        if kind == "predict_log":
            rows = next(iter(request.inputs.values())).tensor_shape.dim[0].size
        else:
            rows = len(request.input.example_list.examples)
        signature = request.tasks[0].model_spec.signature_name if kind == "multi_inference_log" else ""
        found.append((kind, signature or request.model_spec.signature_name, rows))
    return found


def test_every_batch_size_is_in_the_file_and_the_server_reads_it(
    saved_models: SavedModels, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, warmed = saved_models.path("half_plus_two_tf2"), tmp_path / "models" / "m" / "1"
    asked = ["--generate", "--request-spec", '{"num_examples": 6, "batch_sizes": [1, 3]}']
    assert command(tmp_path, model, *asked, "--make-warmup", str(warmed)) == 0
    told = verdict(tmp_path)
    assert kinds(warmed) == [("predict_log", "serving_default", 1)] * 6 + [("predict_log", "serving_default", 3)] * 2
    proof = told["serving_binaries"][0]["attempts"][-1]["measurements"]["warm_up"]
    assert (proof["records"], proof["batch_sizes"], proof["signatures"]) == (8, [1, 3], ["serving_default"])
    assert proof["replayed"] == 8
    assert proof["octets"] == (warmed / FILE).stat().st_size
    assert min(proof[name] for name in ("first_answer_ms", "without_ms", "load_seconds", "without_seconds")) > 0
    assert (told["model_digest"], told["warmed_model_digest"]) == (model_digest(str(model)), model_digest(str(warmed)))
    assert told["warmed_model"] == str(warmed)
    with embedded_server(f"--model_base_path={warmed.parent}") as server:
        assert "Number of warmup records read: 8." in server.stderr
    capsys.readouterr()
    for directory, said in ((warmed, "(with its warm-up file)\n"), (model, "\n")):
        assert (
            main(["verify", "--model", str(directory), "--verdict", str(tmp_path / "out"), "--require", "answered"])
            == 0
        )
        assert capsys.readouterr().out.partition("blessed: sha256:")[2][64:].strip() == said.strip()
    (warmed / FILE).write_bytes(b"")
    assert main(["verify", "--model", str(warmed), "--verdict", str(tmp_path / "out")]) == 1


def prediction_logs(path: pathlib.Path, *requests: Any) -> pathlib.Path:
    """A file of PredictionLogs."""
    fields = {
        pb.PredictRequest: "predict_log",
        pb.ClassificationRequest: "classify_log",
        pb.RegressionRequest: "regress_log",
        pb.MultiInferenceRequest: "multi_inference_log",
    }
    with path.open("wb") as file:
        records = []
        for request in requests:
            log = pb.PredictionLog()
            getattr(log, fields[type(request)]).request.CopyFrom(request)
            records.append(log.SerializeToString())
        write_records(records, file)
    return path


def predict(*rows: float) -> pb.PredictRequest:
    return predict_request(spec("of_production", "serving_default"), x=tensor(list(rows)))


def test_every_kind_of_request_of_a_file(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    task = pb.InferenceTask(model_spec=spec("m", "regress_x_to_y"), method_name="tensorflow/serving/regress")
    asked = prediction_logs(
        tmp_path / "asked.tfrecord",
        predict(1.0, 2.0),
        pb.ClassificationRequest(model_spec=spec("m", "classify_x_to_y"), input=examples_input(1.0)),
        pb.RegressionRequest(model_spec=spec("m", "regress_x_to_y"), input=examples_input(1.0, 2.0)),
        pb.MultiInferenceRequest(tasks=[task], input=examples_input(1.0)),
    )
    warmed = tmp_path / "warmed"
    model = saved_models.path("half_plus_two")
    assert command(tmp_path, model, "--requests", str(asked), "--make-warmup", str(warmed)) == 0
    assert kinds(warmed) == [
        ("predict_log", "serving_default", 2),
        ("classify_log", "classify_x_to_y", 1),
        ("regress_log", "regress_x_to_y", 2),
        ("multi_inference_log", "regress_x_to_y", 1),
    ]


def test_strings_and_ragged_lengths(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model, warmed = saved_models.path("vocabulary"), tmp_path / "warmed"
    asked = tmp_path / "asked.json"
    asked.write_text(json.dumps({"instances": ["a", "", "ä" * 10_000]}))
    assert command(tmp_path, model, "--requests", str(asked), "--make-warmup", str(warmed)) == 0
    (log,) = logs(warmed)
    (inputs,) = log.predict_log.request.inputs.values()
    assert list(inputs.string_val) == [b"a", b"", "ä".encode() * 10_000]


def test_more_than_1000_requests_are_shared_out_and_it_is_said(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    asked = prediction_logs(tmp_path / "asked.tfrecord", *[predict(float(n)) for n in range(1100)], predict(1.0, 2.0))
    warmed = tmp_path / "warmed"
    model = saved_models.path("half_plus_two_tf2")
    assert command(tmp_path, model, "--requests", str(asked), "--make-warmup", str(warmed)) == 0
    rows = [number for _, _, number in kinds(warmed)]
    assert (rows.count(1), rows.count(2)) == (999, 1)
    (said,) = [warning for warning in verdict(tmp_path)["warnings"] if "warm-up file holds" in warning]
    assert "holds 1000 of 1101 requests, the first of each signature and batch size" in said
    assert "999 of 1100 for serving_default with batch size 1" in said


def test_a_warmup_file_of_the_models_own_is_replaced_in_the_copy_only(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    model, warmed = saved_models.copy("half_plus_two_tf2", tmp_path / "m"), tmp_path / "warmed"
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "notes").write_text("kept")
    prediction_logs(model / FILE, predict(1.0), predict(2.0))
    before = (model / FILE).read_bytes()
    assert command(tmp_path, model, "--generate", "--make-warmup", str(warmed)) == 0
    assert (model / FILE).read_bytes() == before
    assert len(logs(warmed)) == 1
    assert (warmed / "assets.extra" / "notes").read_text() == "kept"
    assert any("replaced in the copy" in warning for warning in verdict(tmp_path)["warnings"])


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        ("refuses_warmup", "corrupted record at 0. Please verify your warmup data"),
        ("dies_of_warmup", "SERVER_KILLED"),
    ],
)
def test_a_server_that_refuses_the_warmed_model_blesses_nothing(
    saved_models: SavedModels, tmp_path: pathlib.Path, mode: str, cause: str
) -> None:
    warmed = tmp_path / "new" / "warmed"
    model = saved_models.path("half_plus_two_tf2")
    more = ["--generate", "--make-warmup", str(warmed)]
    assert command(tmp_path, model, *more, serving=misbehaving(tmp_path, mode)) == 1
    told = verdict(tmp_path)
    assert (told["verdict"], told["reason_code"]) == ("NOT_BLESSED", "WARMUP_FAILED")
    assert cause in told["reason"]
    assert (told["warmed_model"], told["warmed_model_digest"]) == ("", "")
    first, second = told["serving_binaries"][0]["attempts"]
    assert (first["reason_code"], second["number"]) == ("BLESSED", 2)
    assert (tmp_path / "out" / "server-0-attempt-2.log").exists()
    assert not (tmp_path / "new").exists()


def test_the_first_answer_is_timed_with_and_without(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model, warmed = saved_models.path("half_plus_two_tf2"), tmp_path / "warmed"
    more = ["--generate", "--request-spec", '{"num_examples": 5}', "--make-warmup", str(warmed)]
    assert command(tmp_path, model, *more, serving=misbehaving(tmp_path, "slow_without_warmup")) == 0
    proof = verdict(tmp_path)["serving_binaries"][0]["attempts"][-1]["measurements"]["warm_up"]
    assert proof["without_ms"] >= 500  # the fake sleeps that long
    assert proof["first_answer_ms"] > 0


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["validate", "dry run"])
def test_the_field_without_the_flag_is_an_error_that_names_the_flag(
    saved_models: SavedModels, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], more: Sequence[str]
) -> None:
    model = saved_models.path("half_plus_two_tf2")
    assert command(tmp_path, model, "--generate", "--request-spec", '{"make_warmup": true}', *more) == 2
    out = capsys.readouterr().out
    assert "request_spec.make_warmup" in out
    assert "--make-warmup DIR" in out


@pytest.mark.parametrize(
    ("directory", "more", "said"),
    [
        ("m/1/warmed", ["--generate"], "lies in the model"),
        ("full", ["--generate"], "holds mine already"),
        ("", ["--generate"], "--output"),
        ("new", [], "there is nothing to warm up with"),
        ("new", ["--generate", "--serving-spec",
                 '{"tensorflow_serving": {"extra_args": ["--enable_model_warmup=false"]}, "local_process": {}}'],
         "has no effect: the server is started with --enable_model_warmup=false"),
        ("new", ["--generate", "--serving-spec",
                 '{"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"model": {"host_path": {"path": "/m"}}}}'],
         "the server has its model from elsewhere"),
        ("new", ["--generate", "--serving-spec", '{"tensorflow_serving": {}, "address": {"grpc": "127.0.0.1:1"}}'],
         "the server has its model from elsewhere"),
    ],
    ids=["in the model", "not empty", "around the output", "no requests", "off", "from elsewhere", "runs already"],
)  # fmt: skip
def test_what_makes_no_sense_is_said_before_anything_is_started(
    saved_models: SavedModels,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    directory: str,
    more: Sequence[str],
    said: str,
) -> None:
    model = saved_models.copy("half_plus_two_tf2", tmp_path / "m")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    assert command(tmp_path, model, "--make-warmup", str(tmp_path / directory), *more) == 2
    assert said in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert not (model / "warmed").exists()


def test_in_python(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model, warmed = saved_models.path("half_plus_two_tf2"), tmp_path / "warmed"
    warmed.mkdir()  # an empty one will do
    report = validate(model, SERVING, request_spec={"generate": {}, "make_warmup": True}, warmup_directory=warmed)
    assert report.blessed
    assert report.warmed_model_digest == model_digest(str(warmed))
    with pytest.raises(SpecError, match="warmup_directory= in Python"):
        validate(model, SERVING, request_spec={"generate": {}, "make_warmup": True})
    with pytest.raises(UsageError, match=r"warmup_directory .*holds assets already"):
        validate(model, SERVING, request_spec={"generate": {}}, warmup_directory=warmed)


def test_interrupted_while_the_warmed_model_is_loaded_nothing_is_left(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    interruption = Interruption()

    def interrupt(line: str) -> None:
        if line.startswith("with its warm-up file") and "start" in line:
            interruption.set("SIGTERM")

    with LocalWarmedCopy(str(tmp_path / "warmed"), str(saved_models.path("half_plus_two_tf2"))) as warmed:
        report = run_validation(
            saved_models.path("half_plus_two_tf2"),
            SERVING,
            request_spec={"generate": {}},
            on_progress=interrupt,
            interruption=interruption,
            warmed=warmed,
        )
        assert (tmp_path / "warmed" / "saved_model.pb").exists()
    assert (report.verdict, report.finding.reason.name) == (Verdict.INCONCLUSIVE, "INTERRUPTED")
    assert not (tmp_path / "warmed").exists()


def test_a_warmed_model_that_changes_while_it_is_tried_is_no_blessing(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    def change(line: str) -> None:
        if line.startswith("with its warm-up file") and "query" in line:
            (tmp_path / "warmed" / "one_more_file").write_text("x")

    with LocalWarmedCopy(str(tmp_path / "warmed"), str(saved_models.path("half_plus_two_tf2"))) as warmed:
        report = run_validation(
            saved_models.path("half_plus_two_tf2"),
            SERVING,
            request_spec={"generate": {}},
            on_progress=change,
            warmed=warmed,
        )
    assert (report.verdict, report.finding.reason.name) == (Verdict.INCONCLUSIVE, "MODEL_CHANGED")
    assert [path.name for path in (tmp_path / "warmed").iterdir()] == ["one_more_file"]  # what is not ours stays
