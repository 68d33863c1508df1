"""Triton's own client against a server of the Open Inference Protocol; run by an interpreter that has it, not imported.

    python triton_client.py GRPC_ADDRESS REST_ADDRESS MODEL

MODEL takes and gives a tensor of each datatype under the datatype's name. Prints what it saw as one JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

NUMPY = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "",  # of ml_dtypes
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}


def values(datatype: str) -> Any:
    numpy: Any = importlib.import_module("numpy")

    if datatype == "BF16":
        return numpy.array([0, 1, 3], dtype=importlib.import_module("ml_dtypes").bfloat16)
    if datatype == "BYTES":
        return numpy.array([b"", b"\x00\xff", "\u00e4".encode()], dtype=object)
    return numpy.array([0, 1, 1 if datatype == "BOOL" else 3], dtype=NUMPY[datatype])


def told(module: Any, client: Any, model: str, error: type[Exception], binary: bool | None) -> dict[str, Any]:
    """What one of the two clients sees.

    Args:
      module: ``tritonclient.grpc`` or ``tritonclient.http``.
      client: of it.
      error: what it raises.
      binary: whether tensors go as binary data; None where there is no choice (gRPC).
    """
    form = {} if binary is None else {"binary_data": binary}
    takes = [name for name in NUMPY if binary is not False or name not in ("FP16", "BF16", "BYTES")]
    inputs, sent = [], {}
    for name in NUMPY:
        sent[name] = values(name) if name in takes else values(name)[:0]
        each = module.InferInput(name, sent[name].shape, name)
        each.set_data_from_numpy(sent[name], **({"binary_data": True} if form and name not in takes else form))
        inputs.append(each)
    outputs = [module.InferRequestedOutput(name, **form) for name in takes]
    answer = client.infer(model, inputs, outputs=outputs, request_id="42")
    response = answer.get_response()
    differ = [name for name in takes if answer.as_numpy(name).tolist() != sent[name].tolist()]
    refused = ""
    try:
        client.infer(model, inputs[1:])
    except error as problem:
        refused = str(problem)
    client.unload_model(model)
    after_unload = client.is_model_ready(model)
    client.load_model(model)
    index = client.get_model_repository_index()
    entries = index if isinstance(index, list) else [{"name": m.name, "state": m.state} for m in index.models]
    metadata = client.get_server_metadata()
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model, "1"),
        "nobody_ready": nobody(client, error),
        "server": metadata["name"] if isinstance(metadata, dict) else metadata.name,
        "inputs": inputs_of(client.get_model_metadata(model)),
        "asked": takes,
        "differ": differ,
        "id": response["id"] if isinstance(response, dict) else response.id,
        "refused": refused,
        "after_unload": after_unload,
        "index": [entry["state"] for entry in entries if entry["name"] == model],
    }


def nobody(client: Any, error: type[Exception]) -> bool:
    try:
        return bool(client.is_model_ready("nobody"))
    except error:
        return False


def inputs_of(metadata: Any) -> list[str]:
    if isinstance(metadata, dict):
        return [each["datatype"] for each in metadata["inputs"]]
    return [each.datatype for each in metadata.inputs]


def main(grpc_address: str, rest_address: str, model: str) -> None:
    grpc_client: Any = importlib.import_module("tritonclient.grpc")
    http_client: Any = importlib.import_module("tritonclient.http")
    error = importlib.import_module("tritonclient.utils").InferenceServerException
    with grpc_client.InferenceServerClient(grpc_address) as client:
        found = {"grpc": told(grpc_client, client, model, error, None)}
    for name, binary in (("rest", False), ("rest_binary", True)):
        with http_client.InferenceServerClient(rest_address) as client:
            found[name] = told(http_client, client, model, error, binary)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
