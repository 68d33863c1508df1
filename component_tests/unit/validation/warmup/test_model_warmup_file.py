"""A model's own warm-up file is held against what TensorFlow Serving reads (contract 8), before anything is started."""

from __future__ import annotations

import gzip
import io
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from component_tests.unit.saved_model.test_saved_model import saved_model, write
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.plan import make_plan
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.records.tfrecord import write_records
from infra_validator.validation.warmup.model_warmup_file import check_warmup_file

Log = serving_pb2.PredictionLog
FINE = Log(predict_log=serving_pb2.PredictLog(request=serving_pb2.PredictRequest())).SerializeToString()


def records(*logs: bytes) -> bytes:
    file = io.BytesIO()
    write_records(logs, file)
    return file.getvalue()


def with_file(folder: pathlib.Path, content: bytes) -> pathlib.Path:
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(content)
    return folder


def refusal(model: pathlib.Path) -> str:
    with pytest.raises(AttemptFailed) as caught:
        check_warmup_file(str(model))
    assert caught.value.reason is ReasonCode.WARMUP_FAILED
    path = f"{model / 'assets.extra' / 'tf_serving_warmup_requests'}: "
    assert caught.value.detail.startswith(path)
    return caught.value.detail.removeprefix(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        records(),
        records(FINE, Log().SerializeToString(), FINE),
        records(*[FINE] * 1000),
        records(FINE) + b"\x05\x00\x00",  # TensorFlow takes what ends within a length for the end of the file
        records(Log(predict_log=serving_pb2.PredictLog()).SerializeToString() + b"\x78\x01"),  # a field of a newer version
    ],
    ids=["empty", "no record", "a record without a request", "1000", "ends within a length", "unknown field"],
)  # fmt: skip
def test_what_the_server_reads_passes(tmp_path: pathlib.Path, content: bytes) -> None:
    check_warmup_file(str(with_file(tmp_path / "m", content)))


def test_no_file_passes(tmp_path: pathlib.Path) -> None:
    check_warmup_file(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(records(FINE)), "it is gzipped, and the server reads it as it is."),
        (records(FINE, FINE)[:-3], f"record 2: truncated record at {len(records(FINE))}'"),
        (b"hello world" * 9, "record 1: corrupted record at 0 (Is this even a TFRecord file?)."),
        (records(FINE) + records(FINE)[:5] + b"~" * 20, f"record 2: corrupted record at {len(records(FINE))}."),
        (records(FINE)[:-1] + b"~", "record 1: corrupted record at 12."),
        (records(FINE, b"\xff\xff"), "record 2 cannot be read as a PredictionLog."),
        (records(b"\x32\x04\x0a\x02\xff\xff"), "record 1 cannot be read as a PredictionLog."),
        (records(*[FINE] * 1001), "record 1001 is one more than the 1000 that a server takes."),
        (records(Log(session_run_log=serving_pb2.SessionRunLog()).SerializeToString()),
         "record 1 is a session_run_log, which servers do not replay."),
        (records(FINE, Log(predict_streamed_log=serving_pb2.PredictStreamedLog()).SerializeToString()),
         "record 2 is a predict_streamed_log, which servers do not replay."),
    ],
    ids=["gzip", "cut off", "text", "length", "checksum", "no message", "no request", "1001", "session run", "streamed"],
)  # fmt: skip
def test_what_the_server_refuses_is_told_with_the_record(tmp_path: pathlib.Path, content: bytes, problem: str) -> None:
    assert refusal(with_file(tmp_path / "m", content)).startswith(problem)


TAGS = {"tags": ["2.19.0"]}
PLATFORMS: dict[str, Callable[..., dict[str, Any]]] = {
    "local_process": lambda **more: {
        "tensorflow_serving": more,
        "local_process": {"binary_path": "/bin/true"},
    },
    "local_docker": lambda **more: {"tensorflow_serving": {**TAGS, **more}, "local_docker": {}},
    "kubernetes": lambda **more: {"tensorflow_serving": {**TAGS, **more}, "kubernetes": {}},
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_looks_before_anything_is_started(tmp_path: pathlib.Path, platform: str) -> None:
    model = with_file(tmp_path / "m", gzip.compress(records(FINE)))
    write(model, saved_model("Const"))
    with pytest.raises(AttemptFailed, match="gzipped") as caught:
        make_plan(model, PLATFORMS[platform]())
    assert caught.value.reason is ReasonCode.WARMUP_FAILED


@pytest.mark.parametrize(
    ("arguments", "looks"),
    [
        ("", True),
        ("--enable_model_warmup", True),
        ("--enable_model_warmup=TRUE", True),
        ("--enable_model_warmup=false --enable_model_warmup=1", True),
        ("--platform_config_file=", True),
        ("--enable_model_warmup=false", False),
        ("--enable_model_warmup=N", False),
        ("--enable_model_warmup=true --enable_model_warmup=0", False),
        ("--platform_config_file=/p.txt", False),
    ],
)
def test_a_server_that_does_not_warm_up_is_not_looked_at_for(
    tmp_path: pathlib.Path, arguments: str, looks: bool
) -> None:
    model = with_file(tmp_path / "m", b"no warm-up file" * 3)
    write(model, saved_model("Const"))
    spec = PLATFORMS["local_process"](extra_args=arguments.split())
    if looks:
        with pytest.raises(AttemptFailed, match="tf_serving_warmup_requests"):
            make_plan(model, spec)
    else:
        assert make_plan(model, spec).model == str(model)


def test_a_model_runtime_has_its_own_ways(tmp_path: pathlib.Path) -> None:
    model = with_file(tmp_path / "m", b"no warm-up file" * 3)
    write(model, saved_model("Const"))
    plan = make_plan(
        model, {"model_runtime": {"command": ["/bin/true"], "extra_args": ["${grpc_port}"]}, "local_process": {}}
    )
    assert plan.model == str(model)
