"""The request that a server is first asked where it loads its model only then: zeros for what the spec describes, else no inputs at all."""

from __future__ import annotations

import math
from collections.abc import Mapping

from infra_validator.core.answer import ELEMENT_TYPES, STRING
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME, raw_strings
from infra_validator.protos import open_inference_pb2 as pb
from infra_validator.specs.binaries.open_inference import parts_of


def first_request(model_name: str, version: str, inputs: Mapping[str, str], *, typed: bool) -> bytes:
    """A ModelInfer, serialized.

    Args:
      model_name, version: of the model on the server.
      inputs: as in the spec, ``FP32[-1,4]``; -1 is asked as 1.
      typed: whether values stand one by one in the field of their type; 16-bit floats have none there and are left out.
    """
    message = pb.ModelInferRequest(model_name=model_name, model_version=version)
    for name, text in sorted(inputs.items()):
        datatype_name, shape = parts_of(text, name)
        datatype = BY_NAME[datatype_name]
        if typed and not datatype.field:
            continue
        sizes = [1 if size < 0 else size for size in shape]
        count = math.prod(sizes)
        added = message.inputs.add(name=name, datatype=datatype.name, shape=sizes)
        if not typed:
            is_text = datatype.number == STRING
            raw = raw_strings([b""] * count) if is_text else bytes(count * ELEMENT_TYPES[datatype.number].size)
            message.raw_input_contents.append(raw)
            continue
        zero: object = b"" if datatype.number == STRING else False if datatype.name == "BOOL" else 0
        getattr(added.contents, datatype.field).extend([zero] * count)
        added.contents.SetInParent()
    return message.SerializeToString()
