"""Signatures as data: written into verdict.json, read back, and read of files that people wrote."""

from __future__ import annotations

import json
import os
import pathlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra_validator.core.errors import SpecError
from infra_validator.protos import tensorflow_pb2
from infra_validator.report.signatures import PREDICT, Signature, TensorSpec, read_signatures, signatures_of

WRITTEN = """
signatures:
  serving_default:
    inputs:
      x: {dtype: float32, shape: [-1, 3]}
      mask: {dtype: bool, shape: [-1], optional: true}
    outputs:
      y: {dtype: float}
"""


def test_a_file_that_people_write(tmp_path: pathlib.Path) -> None:
    (tmp_path / "expected.yaml").write_text(WRITTEN)
    found = read_signatures(str(tmp_path / "expected.yaml"), "field")
    assert found == {
        "serving_default": Signature(
            PREDICT,
            {"x": TensorSpec("float32", (-1, 3)), "mask": TensorSpec("bool", (-1,), True)},
            {"y": TensorSpec("float", None)},
        )
    }


def test_a_saved_models_signatures() -> None:
    definition = tensorflow_pb2.SignatureDef(method_name=PREDICT)
    definition.inputs["x"].dtype = 109  # type: ignore[assignment]  # a reference type
    definition.inputs["x"].tensor_shape.dim.add(size=-1)
    definition.inputs["x"].name = "x:0"
    definition.inputs["sparse"].coo_sparse.values_tensor_name = "v:0"
    definition.inputs["sparse"].dtype = tensorflow_pb2.DT_FLOAT
    definition.outputs["y"].tensor_shape.unknown_rank = True
    definition.outputs["y"].dtype = tensorflow_pb2.DT_VARIANT
    definition.defaults["x"].dtype = tensorflow_pb2.DT_INT64
    assert signatures_of({"s": definition, "__saved_model_init_op": definition}) == {
        "s": Signature(
            PREDICT,
            {"x": TensorSpec("int64", (-1,), True), "sparse": TensorSpec("float", (), False, "sparse")},
            {"y": TensorSpec("dtype 21", None)},
        )
    }


tensors = st.builds(
    TensorSpec,
    st.sampled_from(("float", "string", "dtype 20", "bfloat16")),
    st.one_of(st.none(), st.lists(st.integers(-1, 5)).map(tuple)),
    st.booleans(),
    st.sampled_from(("dense", "sparse", "composite")),
)
sides = st.dictionaries(st.text(), tensors, max_size=3)
signatures = st.dictionaries(
    st.text(), st.builds(Signature, st.text(), sides, sides.filter(bool)), min_size=1, max_size=3
)


@given(signatures)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, given: dict[str, Signature]) -> None:
    file = tmp_path_factory.getbasetemp() / "verdict.json"
    text = json.dumps({"verdict": "BLESSED", "signatures": {name: s.to_dict() for name, s in given.items()}})
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    assert read_signatures(str(file), "field") == given


HOSTILE = {
    "no JSON": ("{]", "is neither JSON nor YAML"),
    "a list": ("[1]", "holds no object"),
    "nothing": ("", "holds no object"),
    "another field": ("signature: {}", "has no field signatures"),
    "no signature": ("signatures: {}", "names no signature"),
    "a list of signatures": ("signatures: [1]", "field (FILE).signatures: must be an object"),
    "an unknown field": ("signatures: {s: {input: {}}}", "FILE).signatures.s.input: there is no such field. Did you mean 'inputs'?"),
    "no outputs": ("signatures: {s: {inputs: {}}}", "signatures.s.outputs: is missing"),
    "no type": ("signatures: {s: {outputs: {y: {shape: [1]}}}}", "signatures.s.outputs.y.dtype: is missing"),
    "an unknown type": ("signatures: {s: {outputs: {y: {dtype: flota}}}}", "outputs.y.dtype: must be one of"),
    "a dimension below -1": ("signatures: {s: {outputs: {y: {dtype: bool, shape: [-2]}}}}", "outputs.y.shape: has a dimension"),
    "a shape that is none": ("signatures: {s: {outputs: {y: {dtype: bool, shape: x}}}}", "outputs.y.shape: must be a list"),
    "a number as a name": ("signatures: {1: {}}", "keys are strings"),
    "tags": ("signatures: !!python/object/apply:os.getcwd []", "is neither JSON nor YAML"),
    "deep": ("[" * 100_000, "is nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_is_said_with_the_field(tmp_path: pathlib.Path, name: str) -> None:
    text, told = HOSTILE[name]
    file = tmp_path / "expected"
    file.write_text(text)
    with pytest.raises(SpecError) as error:
        read_signatures(str(file), "field")
    assert told in str(error.value).replace(str(file), "FILE")
    assert error.value.field.startswith("field")


def test_what_cannot_be_read_is_said(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, told in (("pipe", "is no regular file"), ("binary", "cannot read"), ("gone", "No such file")):
        with pytest.raises(SpecError, match=told):
            read_signatures(str(tmp_path / name), "field")
