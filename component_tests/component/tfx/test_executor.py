"""The executor on artifacts made by hand, with the embedded model server and with servers that misbehave."""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
import threading
from typing import Any

import pytest

from component_tests.fakes import tfx_artifacts
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator.core.errors import InfrastructureError, ModelRejected, SpecError
from infra_validator.core.reason_codes import ReasonCode

pytestmark = [pytest.mark.tfx, pytest.mark.slow]

EMBEDDED = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


class Task:
    """One call of the executor in a directory of its own."""

    def __init__(self, directory: pathlib.Path, saved_models: SavedModels) -> None:
        self.directory = directory
        self.saved_models = saved_models
        self.blessing = tfx_artifacts.blessing_artifact(directory / "blessing")

    def run(self, model: str, *, serving_spec: Any = EMBEDDED, examples: Any = None, **specs: Any) -> None:
        from infra_validator.executor import Executor

        inputs = {"model": [tfx_artifacts.model_artifact(self.directory / "model", self.saved_models.path(model))]}
        if examples is not None:
            inputs["examples"] = [examples]
        properties = {name: json.dumps(spec) for name, spec in {"serving_spec": serving_spec, **specs}.items()}
        Executor().Do(inputs, {"blessing": [self.blessing]}, properties)

    @property
    def files(self) -> set[str]:
        root = self.directory / "blessing"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    @property
    def verdict(self) -> Any:
        return json.loads((self.directory / "blessing" / "verdict.json").read_text())

    def text(self, name: str) -> str:
        return str(self.blessing.get_string_custom_property(name))


@pytest.fixture
def task(tmp_path: pathlib.Path, saved_models: SavedModels) -> Task:
    return Task(tmp_path, saved_models)


@pytest.fixture
def examples(tmp_path: pathlib.Path) -> Any:
    return tfx_artifacts.examples_artifact(tmp_path / "examples", [1.0, 2.0, 3.0])


def misbehaving(directory: pathlib.Path, mode: str) -> dict[str, Any]:
    """A serving spec whose binary is one of the misbehaving servers."""
    binary = directory / f"{mode}-server"
    module = "component_tests.fakes.servers.misbehaving_servers"
    binary.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m {module} {mode} "$@"\n')
    binary.chmod(0o755)
    return {"tensorflow_serving": {}, "local_process": {"binary_path": str(binary)}}


def test_a_model_that_serves_is_blessed(task: Task) -> None:
    from tfx.components.util import model_utils

    task.run("half_plus_two")
    assert model_utils.is_infra_validated(task.blessing)
    assert {"INFRA_BLESSED", "verdict.json"} <= task.files
    assert "INFRA_NOT_BLESSED" not in task.files
    assert task.verdict["verdict"] == "BLESSED"
    assert task.verdict["model"] == str(task.directory / "model" / "Format-Serving")
    assert task.text("reason_code") == "BLESSED"
    assert "embedded" in task.text("serving_binaries")
    assert any(name.startswith("logs/") for name in task.files)


def test_examples_and_a_request_spec_become_requests(task: Task, examples: Any) -> None:
    task.run("examples", examples=examples, request_spec={"split_name": "eval", "num_examples": 2})
    assert task.verdict["serving_binaries"][0]["attempts"][0]["requests_sent"] == 2


def test_a_keras_model_with_named_raw_inputs_needs_nothing_but_num_examples(task: Task, tmp_path: pathlib.Path) -> None:
    features = {"age": [31.0], "income": [1000.0], "embedding": [0.1, 0.2, 0.3, 0.4]}
    examples = tfx_artifacts.examples_artifact(tmp_path / "keras_examples", [features] * 3)
    task.run("keras_features", examples=examples, request_spec={"num_examples": 2})
    assert task.verdict["evidence"]["source"] == "examples"
    assert task.verdict["evidence"]["signatures_asked"] == ["serving_default"]
    assert task.verdict["evidence"]["requests"] == 2


def test_requests_are_made_up_without_examples(task: Task) -> None:
    task.run("keras_features", request_spec={"generate": {}, "num_examples": 3})
    assert (task.verdict["evidence"]["source"], task.verdict["evidence"]["requests"]) == ("generated", 3)


def test_an_unknown_signature_is_found_even_where_nothing_is_asked(task: Task) -> None:
    task.run("keras_features", request_spec={"tensorflow_serving": {"signature_names": ["no_such"]}})
    assert task.verdict["reason_code"] == "SIGNATURE_NOT_FOUND"
    assert "INFRA_NOT_BLESSED" in task.files


def test_without_a_request_spec_the_model_is_only_loaded(task: Task, examples: Any) -> None:
    task.run("examples", examples=examples)
    assert task.verdict["serving_binaries"][0]["attempts"][0]["requests_sent"] == 0


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("unknown_op", "OP_NOT_REGISTERED"),
        ("missing_variables", "MODEL_FILES_INCOMPLETE"),
        ("no_pb", "MODEL_NOT_A_SAVED_MODEL"),
    ],
)
def test_a_model_that_cannot_be_served_is_not_blessed_and_the_component_succeeds(
    task: Task, model: str, code: str
) -> None:
    from tfx.components.util import model_utils

    task.run(model)
    assert not model_utils.is_infra_validated(task.blessing)
    assert task.blessing.get_int_custom_property("blessed") == 0
    assert "INFRA_NOT_BLESSED" in task.files
    assert "INFRA_BLESSED" not in task.files
    assert (task.verdict["reason_code"], task.text("reason_code")) == (code, code)


def test_a_rejection_raises_when_the_spec_says_so(task: Task) -> None:
    with pytest.raises(ModelRejected) as caught:
        task.run("missing_variables", validation_spec={"on_rejected": "raise"})
    assert caught.value.reason is ReasonCode.MODEL_FILES_INCOMPLETE
    assert "INFRA_NOT_BLESSED" in task.files


def test_what_could_not_be_tested_raises_and_marks_nothing(task: Task) -> None:
    with pytest.raises(InfrastructureError) as caught:
        task.run(
            "half_plus_two",
            serving_spec={"tensorflow_serving": {}, "local_process": {"binary_path": "/does/not/exist"}},
        )
    assert caught.value.reason is ReasonCode.BINARY_NOT_FOUND
    assert task.verdict["verdict"] == "INCONCLUSIVE"
    assert not {"INFRA_BLESSED", "INFRA_NOT_BLESSED"} & task.files
    assert not task.blessing.has_custom_property("blessed")


@pytest.mark.parametrize(
    "specs",
    [
        {"serving_spec": {"tensorflow_serving": {}}},
        {"serving_spec": {"tensorflow_serving": {}, "local_process": {"binary_path": "/does/not/exist"}}},
    ],
    ids=["bad spec", "no binary"],
)
def test_marks_of_an_earlier_execution_do_not_outlive_one_that_fails(task: Task, specs: Any) -> None:
    task.run("half_plus_two")
    assert "INFRA_BLESSED" in task.files
    stamped = task.directory / "blessing" / "stamped_model"
    stamped.mkdir()
    (stamped / "saved_model.pb").write_bytes(b"")
    shutil.rmtree(task.directory / "model")
    with pytest.raises((SpecError, InfrastructureError)):
        task.run("half_plus_two", **specs)
    assert not {"INFRA_BLESSED", "INFRA_NOT_BLESSED", "stamped_model/saved_model.pb"} & task.files
    assert not task.blessing.has_custom_property("blessed")
    if "verdict.json" in task.files:
        assert task.verdict["verdict"] == "INCONCLUSIVE"


def test_a_request_spec_without_examples_loads_only_with_a_warning(task: Task) -> None:
    task.run("half_plus_two", request_spec={"num_examples": 3})
    assert task.verdict["evidence"]["level"] == "LOADED"
    assert "no examples to ask it with" in task.verdict["warnings"][0]
    assert task.text("reason") == "The model was loaded; no request was sent to it."


def test_a_file_that_is_not_what_the_driver_saw_is_not_validated_with(task: Task, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "models.config"
    config.write_text('model_config_list { config { name: "m" base_path: "/x" model_platform: "tensorflow" } }')
    field = "serving_spec.tensorflow_serving.model_config_file"
    spec = {**EMBEDDED, "tensorflow_serving": {"model_config_file": str(config)}}
    with pytest.raises(InfrastructureError, match=field) as caught:
        task.run("half_plus_two", serving_spec=spec, file_digests={field: "sha256:00"})
    assert caught.value.reason is ReasonCode.MODEL_CHANGED
    assert task.files == set()


def test_a_split_that_is_not_there_is_told_before_a_server_is_started(task: Task, examples: Any) -> None:
    with pytest.raises(SpecError, match=r"request_spec\.split_name.*train, eval"):
        task.run("examples", examples=examples, request_spec={"split_name": "test"})


@pytest.mark.parametrize("count", [0, 2])
def test_an_input_of_several_artifacts_is_told_by_name(task: Task, count: int) -> None:
    from tfx.types import standard_artifacts

    from infra_validator.executor import Executor

    models = [standard_artifacts.Model() for _ in range(count)]
    with pytest.raises(SpecError, match=f"model: must be one artifact, but the pipeline brought {count}"):
        Executor().Do({"model": models}, {"blessing": [task.blessing]}, {"serving_spec": json.dumps(EMBEDDED)})
    assert task.files == set()


def test_make_warmup_writes_the_model_that_the_pusher_pushes(task: Task, examples: Any, tmp_path: pathlib.Path) -> None:
    task.run("examples", examples=examples, request_spec={"num_examples": 3, "make_warmup": True})
    assert task.blessing.get_int_custom_property("has_model") == 1
    stamped = "stamped_model"
    assert {f"{stamped}/saved_model.pb", f"{stamped}/assets.extra/tf_serving_warmup_requests"} <= task.files

    from infra_validator import validate

    again = validate(task.directory / "blessing" / stamped, EMBEDDED)  # the server reads the warm-up file
    assert again.blessed
    assert task.verdict["warmed_model"] == str(task.directory / "blessing" / stamped)
    assert task.verdict["warmed_model_digest"] == again.model_digest
    proof = task.verdict["serving_binaries"][0]["attempts"][-1]["measurements"]["warm_up"]
    assert proof["records"] == 3
    assert proof["first_answer_ms"] > 0
    assert proof["without_ms"] > 0


def test_make_warmup_of_requests_that_are_made_up(task: Task) -> None:
    task.run("keras_features", request_spec={"generate": {}, "batch_sizes": [1, 2], "make_warmup": True})
    assert task.blessing.get_int_custom_property("has_model") == 1
    proof = task.verdict["serving_binaries"][0]["attempts"][-1]["measurements"]["warm_up"]
    assert proof["batch_sizes"] == [1, 2]


def test_a_warmed_model_that_does_not_load_is_not_blessed_and_nothing_of_it_is_left(
    task: Task, tmp_path: pathlib.Path
) -> None:
    task.run(
        "half_plus_two_tf2",
        serving_spec=misbehaving(tmp_path, "refuses_warmup"),
        validation_spec={"num_tries": 1},
        request_spec={"generate": {}, "make_warmup": True},
    )
    assert task.verdict["reason_code"] == "WARMUP_FAILED"
    assert "INFRA_NOT_BLESSED" in task.files
    assert not task.blessing.has_custom_property("has_model")
    assert not any(name.startswith("stamped_model") for name in task.files)
    assert sum(name.startswith("logs/") for name in task.files) == 2


def test_the_artifact_holds_nothing_of_the_examples(
    task: Task, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model's error quotes the number that it was asked; neither the files nor the properties of the blessing do."""
    examples = tfx_artifacts.examples_artifact(tmp_path / "examples", [3.14159274])
    asked = {"tensorflow_serving": {"signature_names": ["assert_float32"]}}
    with caplog.at_level("DEBUG"):
        task.run("quoting", examples=examples, request_spec=asked, validation_spec={"num_tries": 1})
    assert task.verdict["reason_code"] == "REQUEST_FAILED"
    assert "assertion failed: [<value of input x>]" in task.verdict["reason"]
    root = tmp_path / "blessing"
    kept = "".join(path.read_text(errors="replace") for path in root.rglob("*") if path.is_file())
    assert "3.14159" not in kept + str(task.blessing) + caplog.text


def test_no_warmup_model_without_make_warmup(task: Task, examples: Any) -> None:
    task.run("examples", examples=examples, request_spec={"num_examples": 3})
    assert not task.blessing.has_custom_property("has_model")
    assert not any(name.startswith("stamped_model") for name in task.files)


def test_it_works_off_the_main_thread(task: Task) -> None:
    failures: list[BaseException] = []

    def body() -> None:
        try:
            task.run("half_plus_two")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert failures == []
    assert "INFRA_BLESSED" in task.files


def test_a_crashing_server_is_reported_with_its_log(task: Task, tmp_path: pathlib.Path) -> None:
    task.run("half_plus_two", serving_spec=misbehaving(tmp_path, "exits_1"))
    assert task.verdict["reason_code"] == "SERVER_EXITED"
    assert len(task.verdict["serving_binaries"][0]["attempts"]) == 2  # the same end twice is enough
    assert sum(name.startswith("logs/") for name in task.files) == 2


def remote_model(source: pathlib.Path) -> Any:
    """A Model artifact in TensorFlow's file system in memory, which stands for a remote store."""
    import tensorflow as tf
    from tfx.dsl.io import filesystem_registry
    from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem
    from tfx.types import standard_artifacts

    class Ram(TensorflowFilesystem):  # type: ignore[misc]
        """TensorFlow's file system in memory, as a remote store."""

        SUPPORTED_SCHEMES = ["ram://"]

    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(Ram, priority=20)
    if tf.io.gfile.exists("ram://model"):  # another test's: what overwrites a longer file there keeps its end
        tf.io.gfile.rmtree("ram://model")
    for path in source.rglob("*"):
        if path.is_file():
            target = f"ram://model/Format-Serving/{path.relative_to(source)}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(path), target, overwrite=True)
    model = standard_artifacts.Model()
    model.uri = "ram://model"
    return model


def test_a_model_in_a_remote_store_is_copied_to_a_local_disk(task: Task, saved_models: SavedModels) -> None:
    from infra_validator.executor import Executor

    model = remote_model(saved_models.path("half_plus_two"))
    Executor().Do({"model": [model]}, {"blessing": [task.blessing]}, {"serving_spec": json.dumps(EMBEDDED)})
    assert task.verdict["verdict"] == "BLESSED"
    assert task.verdict["model"] == "ram://model/Format-Serving"


def test_a_warmed_model_in_a_remote_store(task: Task, saved_models: SavedModels) -> None:
    """What is tried on a local disk is copied to the artifact; what servers read from the store is copied there, and taken back."""
    import tensorflow as tf

    from infra_validator import blessing
    from infra_validator.executor import Executor

    model = remote_model(saved_models.path("half_plus_two"))
    task.blessing.uri = "ram://blessing"
    request_spec = {"generate": {}, "make_warmup": True}
    properties = {"serving_spec": json.dumps(EMBEDDED), "request_spec": json.dumps(request_spec)}
    Executor().Do({"model": [model]}, {"blessing": [task.blessing]}, properties)
    warmup_file = "stamped_model/assets.extra/tf_serving_warmup_requests"
    assert tf.io.gfile.exists("ram://blessing/INFRA_BLESSED")
    assert tf.io.gfile.exists(f"ram://blessing/{warmup_file}")
    verdict = json.loads(tf.io.gfile.GFile("ram://blessing/verdict.json").read())
    assert verdict["warmed_model"] == "ram://blessing/stamped_model"

    def write_requests(path: str) -> None:
        pathlib.Path(path).write_bytes(b"x")

    task.blessing.uri = "ram://another"
    with blessing.warmed_copy(task.blessing, "ram://model/Format-Serving", str(task.directory)) as copy:
        copy.write("ram://model/Format-Serving", write_requests, lambda: None)
        assert copy.path == "ram://another/stamped_model"
        assert tf.io.gfile.GFile(f"ram://another/{warmup_file}", "rb").read() == b"x"
        assert tf.io.gfile.exists("ram://another/stamped_model/saved_model.pb")
    assert not tf.io.gfile.exists("ram://another/stamped_model/saved_model.pb")
