"""Whole validations with the TensorFlow-Serving-like image, through the command line and the Python API."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.parse
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker.daemons import daemon_url
from component_tests.real_platforms.docker.validations import make_model
from component_tests.real_platforms.docker_images import build
from infra_validator import api
from infra_validator.core.deadline import Deadline
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.cleanup.stop_method import StopMethod
from infra_validator.model_server_runners.local_docker.runner import LocalDockerRunner
from infra_validator.report.verdict import Verdict
from infra_validator.serving_binaries.tensorflow_serving import binaries_of
from infra_validator.specs import ServingSpec

pytestmark = pytest.mark.docker

HALF_PLUS_TWO = '{"instances": [1.0, 2.0, 5.0]}\n'


@pytest.fixture(scope="module")
def image() -> str:
    return build.serving(*build.TAGS)


def spec(*tags: str, docker: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"tensorflow_serving": {"tags": list(tags), **more}, "local_docker": docker or {}, "model_name": "m"}


def command(model: pathlib.Path, serving_spec: dict[str, Any], *more: str) -> subprocess.Popen[str]:
    arguments = [
        "validate",
        "--model",
        str(model),
        "--serving-spec",
        json.dumps(serving_spec),
        "--format",
        "json",
        *more,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "infra_validator", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=build.ROOT,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )


def verdict_of(model: pathlib.Path, serving_spec: dict[str, Any], *more: str) -> tuple[int, dict[str, Any]]:
    before = ours()
    with command(model, serving_spec, *more) as process:
        out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert ours() == before
    return process.returncode, json.loads(out)


def ours() -> set[str]:
    """Containers of validations. Tests of other checkouts may run on the same daemon: theirs have other images."""
    lines = build.docker("ps", "-a", "--filter", "label=infra-validator.owner", "--format", "{{.Names}} {{.Image}}")
    return {line for line in lines.splitlines() if "serving" in line or "sha256" in line}


def test_a_good_model_is_loaded_and_queried(image: str, saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    (tmp_path / "requests.json").write_text(HALF_PLUS_TWO)
    code, report = verdict_of(
        saved_models.path("half_plus_two"), spec("2.19.0"), "--requests", str(tmp_path / "requests.json")
    )
    assert (code, report["verdict"]) == (0, "BLESSED")
    (binary,) = report["serving_binaries"]
    identity = build.docker("image", "inspect", "-f", "{{.Id}}", image).strip()
    assert f"tensorflow/serving:2.19.0@{identity}" in json.dumps(binary)
    assert [phase["name"] for phase in binary["attempts"][0]["phases"]][-2:] == ["query", "stop"]


def test_a_model_with_an_unknown_operation_is_rejected_in_one_try(image: str, saved_models: SavedModels) -> None:
    code, report = verdict_of(saved_models.path("unknown_op"), spec("2.19.0"))
    assert (code, report["verdict"], report["reason_code"]) == (1, "NOT_BLESSED", "OP_NOT_REGISTERED")
    assert "OpThatNobodyHas" in report["reason"]
    assert len(report["serving_binaries"][0]["attempts"]) == 1


def test_several_images_have_a_verdict_each(image: str, saved_models: SavedModels) -> None:
    broken = build.variant("broken", build.busybox(), 'ENTRYPOINT ["/bin/busybox", "false"]')
    build.docker("tag", broken, "tensorflow/serving:broken")
    model = saved_models.path("half_plus_two")
    tags = ("2.18.0", "broken", "2.19.0")
    code, report = verdict_of(model, spec(*tags), "--validation-spec", '{"num_tries": 1}')
    verdicts = {b["label"].partition("@")[0].rpartition(":")[2]: b["verdict"] for b in report["serving_binaries"]}
    assert verdicts == {"2.18.0": "BLESSED", "broken": "NOT_BLESSED", "2.19.0": "BLESSED"}
    assert (code, report["reason_code"]) == (1, "SERVER_EXITED")
    assert "broken" in report["reason"]
    code, report = verdict_of(model, spec(*tags, advisory=["broken"]), "--validation-spec", '{"num_tries": 1}')
    assert (code, report["verdict"]) == (0, "BLESSED")
    assert [b["verdict"] for b in report["serving_binaries"]] == ["BLESSED", "NOT_BLESSED", "BLESSED"]


def test_an_image_that_cannot_be_had_blames_nobody(image: str, saved_models: SavedModels) -> None:
    tags = spec("2.19.0", "no-such-tag", docker={"pull_policy": "never"})
    code, report = verdict_of(saved_models.path("half_plus_two"), tags)
    assert (code, report["verdict"], report["reason_code"]) == (3, "INCONCLUSIVE", "IMAGE_NOT_FOUND")
    assert "no-such-tag" in report["reason"]
    assert [b["verdict"] for b in report["serving_binaries"]] == ["BLESSED", "INCONCLUSIVE"]


def test_no_daemon_blames_nobody(saved_models: SavedModels) -> None:
    nowhere = spec("2.19.0", docker={"client_base_url": "unix:///no/such/docker.sock"})
    code, report = verdict_of(saved_models.path("half_plus_two"), nowhere, "--validation-spec", '{"num_tries": 2}')
    assert (code, report["verdict"], report["reason_code"]) == (3, "INCONCLUSIVE", "DOCKER_NOT_RUNNING")


def test_a_daemon_that_comes_up_a_little_later_is_waited_for(
    image: str, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    socket = tmp_path / "docker.sock"

    def start(line: str) -> None:
        if "DOCKER_NOT_RUNNING" in line:
            socket.symlink_to(urllib.parse.urlsplit(daemon_url()).path)

    report = api.run_validation(
        str(saved_models.path("half_plus_two")),
        spec("2.19.0", docker={"client_base_url": f"unix://{socket}", "pull_policy": "never"}),
        {"num_tries": 2},
        on_progress=start,
    )
    assert report.blessed, report.finding


def test_a_tag_that_moves_meanwhile_cannot_mix_two_images(tmp_path: pathlib.Path, saved_models: SavedModels) -> None:
    first, second = (
        build.variant(f"moving-{n}", build.busybox(), f'ENTRYPOINT ["/bin/busybox", "sh", "-c", "exit {n}"]')
        for n in (3, 4)
    )
    build.docker("tag", first, "moving:1")

    def move(line: str) -> None:
        if "stop ok" in line:
            build.docker("tag", second, "moving:1")

    try:
        report = api.run_validation(
            saved_models.path("half_plus_two"), spec("1", image_name="moving"), {"num_tries": 2}, on_progress=move
        )
    finally:
        build.docker("rmi", "moving:1")
    attempts = report.serving_binaries[0].attempts
    assert [attempt.finding.detail for attempt in attempts] == ["exit code 3", "exit code 3"]
    assert report.verdict is Verdict.NOT_BLESSED


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_cleaned_up(image: str, saved_models: SavedModels, number: signal.Signals, code: int) -> None:
    before = ours()
    mute = build.variant("mute", build.busybox(), 'ENTRYPOINT ["/bin/busybox", "sh", "-c", "/bin/busybox sleep 1000"]')
    build.docker("tag", mute, "mute:1")
    with command(saved_models.path("half_plus_two"), spec("1", image_name="mute")) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "schedule ok" in line:
                break
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert json.loads(out)["verdict"] == "INCONCLUSIVE"
    assert ours() == before


@pytest.mark.parametrize(
    ("serving_spec", "words"),
    [
        (spec("2.19.0", extra_args=["--port=9000"]), "--port=9000"),
        (spec("2.19.0", docker={"extra_args": ["--model_name=x"]}), "--model_name=x"),
        (spec("2.19.0", docker={"client_timeout_seconds": -1}), "client_timeout_seconds"),
        (spec("2.19.0", docker={"client_base_url": "/var/run/docker.sock"}), "unix:///var/run/docker.sock"),
        (spec("2.19.0", docker={"mounts": [{"source": "/x", "target": "/models/m"}]}), "would hide the model"),
        (spec("2.19.0", docker={"env": {"": "x"}}), "environment variable"),
        (spec("2.19.0", image_name="two words"), "two words"),
        (spec(digests=["sha256:abc"]), "64 hexadecimal digits"),
    ],
)
def test_a_bad_spec_starts_nothing(saved_models: SavedModels, serving_spec: dict[str, Any], words: str) -> None:
    with command(saved_models.path("half_plus_two"), serving_spec) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words in out + err
    assert "Traceback" not in err


def test_an_image_with_bash_as_its_entry_point_is_stopped(image: str, saved_models: SavedModels) -> None:
    """Without an init process its bash would be the first process, ignore SIGTERM and have to be killed."""
    serving_spec = ServingSpec.of(spec("2.19.0"))
    (binary,) = binaries_of(serving_spec)
    runner = LocalDockerRunner(str(saved_models.path("half_plus_two")), binary, serving_spec)
    try:
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(30))
        with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
            client.WaitUntilModelLoaded(Deadline.after(60), runner.Observe, runner.news)
    finally:
        runner.Stop()
    assert runner.stopped_by is StopMethod.TERM
    assert "Running gRPC ModelServer" in runner.GetLogs()


def test_a_model_that_only_looks_like_one(image: str, tmp_path: pathlib.Path) -> None:
    report = api.run_validation(make_model(tmp_path / "1"), spec("2.19.0"))
    assert report.verdict is Verdict.NOT_BLESSED
    assert report.finding.reason in (ReasonCode.MODEL_NOT_A_SAVED_MODEL, ReasonCode.MODEL_FILES_INCOMPLETE)


def test_a_warmed_model_is_loaded_again_in_a_container_of_each_image(
    image: str, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    warmed = tmp_path / "warmed"
    asked = ["--generate", "--request-spec", '{"batch_sizes": [1, 4]}', "--make-warmup", str(warmed)]
    code, report = verdict_of(saved_models.path("half_plus_two"), spec("2.18.0", "2.19.0"), *asked)
    assert (code, report["verdict"]) == (0, "BLESSED"), report["reason"]
    proofs = [binary["attempts"][-1]["measurements"]["warm_up"] for binary in report["serving_binaries"]]
    assert [(proof["records"], proof["replayed"]) for proof in proofs] == [(2, 2), (2, 2)]
    assert report["warmed_model_digest"].startswith("sha256:")
    assert (warmed / "assets.extra" / "tf_serving_warmup_requests").exists()
