"""A SavedModel whose one signature takes and gives a tensor of each datatype of the Open Inference Protocol, under the datatype's name."""

from __future__ import annotations

import pathlib
from typing import Any

from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.datatypes import OPEN_INFERENCE_DATATYPES
from infra_validator.protos import tensorflow_pb2


def write_all_datatypes(saved_models: SavedModels, base_path: pathlib.Path) -> pathlib.Path:
    """Write it to ``<base_path>/1``: the graph of ``identity``, which has a signature for each type, with these joined to one."""
    path = saved_models.copy("identity", base_path) / "saved_model.pb"
    model = tensorflow_pb2.SavedModel.FromString(path.read_bytes())
    signatures = model.meta_graphs[0].signature_def
    by_number: dict[int, Any] = {
        each.inputs["x"].dtype: each for name, each in signatures.items() if name != "serving_default"
    }
    joined = tensorflow_pb2.SignatureDef(method_name=signatures["serving_default"].method_name)
    for datatype, number in OPEN_INFERENCE_DATATYPES.items():
        for tensors, info in (
            (joined.inputs, by_number[number].inputs["x"]),
            (joined.outputs, by_number[number].outputs["y"]),
        ):
            tensors[datatype].CopyFrom(info)
            tensors[datatype].tensor_shape.Clear()
            tensors[datatype].tensor_shape.dim.add(size=-1)
    signatures["serving_default"].CopyFrom(joined)
    path.write_bytes(model.SerializeToString())
    return path.parent
