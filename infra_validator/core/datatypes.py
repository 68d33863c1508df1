"""The Open Inference Protocol's datatypes: its name -> the number of TensorFlow's DataType (see core/answer.py)."""

from __future__ import annotations

OPEN_INFERENCE_DATATYPES: dict[str, int] = {
    "BOOL": 10,
    "UINT8": 4,
    "UINT16": 17,
    "UINT32": 22,
    "UINT64": 23,
    "INT8": 6,
    "INT16": 5,
    "INT32": 3,
    "INT64": 9,
    "FP16": 19,
    "BF16": 14,
    "FP32": 1,
    "FP64": 2,
    "BYTES": 7,
}
