"""Requests made of a real TFX Examples artifact are those that TFX makes."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.unit.sample_requests.examples_on_disk import example, write_split
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.examples.artifact import requests_from_examples_artifact
from infra_validator.sample_requests.from_message import request_from_message
from infra_validator.sample_requests.questions import methods
from infra_validator.saved_model.graph import read_graph
from infra_validator.specs.request_spec import RequestSpec

pytestmark = pytest.mark.tfx

MESSAGES: dict[str, Any] = {
    methods.PREDICT: serving_pb2.PredictRequest,
    methods.CLASSIFY: serving_pb2.ClassificationRequest,
    methods.REGRESS: serving_pb2.RegressionRequest,
}


def artifacts(saved_models: SavedModels, model: str, folder: pathlib.Path, scheme: str = "") -> tuple[Any, Any]:
    """(model, examples) as TFX hands them to an executor."""
    from tfx.types import artifact_utils, standard_artifacts

    write_split(folder / "Split-train", [example(1.0)])
    write_split(folder / "Split-eval", [example(float(x)) for x in range(3)])
    examples = standard_artifacts.Examples()
    examples.uri = f"{scheme}{folder}"
    examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    served = standard_artifacts.Model()
    served.uri = str(folder / "model")
    (folder / "model").mkdir()
    (folder / "model" / "Format-Serving").symlink_to(saved_models.path(model))
    return served, examples


@pytest.mark.parametrize(
    ("model", "names"),
    [("examples", ["serving_default"]), ("half_plus_two", ["classify_x_to_y", "regress_x_to_y"])],
)
def test_requests_are_those_of_tfx(
    saved_models: SavedModels, tmp_path: pathlib.Path, model: str, names: list[str]
) -> None:
    from tfx.components.infra_validator import request_builder
    from tfx.proto import infra_validator_pb2

    served, examples = artifacts(saved_models, model, tmp_path)
    proto = infra_validator_pb2.RequestSpec(split_name="eval", num_examples=3)
    proto.tensorflow_serving.signature_names.extend(names)
    theirs = request_builder.build_requests("m", served, examples, proto)
    graph = read_graph(str(saved_models.path(model)))
    ours = requests_from_examples_artifact(examples, graph.signatures_named(names), "m", RequestSpec.of(proto))
    # TFX shuffles the records, and may read one twice for it repeats them; each of ours must be one of theirs in kind.
    made = [MESSAGES[request.method].FromString(request.payload) for request in ours]
    assert len(made) == len(theirs)
    for request in theirs:
        ours_of_kind = next(kind for kind in MESSAGES.values() if kind.DESCRIPTOR.name == type(request).__name__)
        carried = request_from_message(request, "TFX's")
        assert MESSAGES[carried.method] is ours_of_kind
        assert ours_of_kind.FromString(carried.payload) in made


def test_a_remote_file_system_is_read_through_tfx(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    _, examples = artifacts(saved_models, "examples", tmp_path, scheme="file://")
    graph = read_graph(str(saved_models.path("examples")))
    spec = RequestSpec(split_name="eval", num_examples=10)
    made = list(requests_from_examples_artifact(examples, graph.signatures_named(["serving_default"]), "m", spec))
    assert len(made) == 3
