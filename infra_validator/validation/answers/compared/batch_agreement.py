"""Whether a row is answered alone as it is in its batch: a model that mixes rows up, or normalizes over the batch, answers otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from infra_validator.core.answer import STRING, Answer, Tensor
from infra_validator.core.errors import UsageError
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

_MOST_BATCHES = 16  # of one attempt that are asked again row by row
_MOST_ROWS = 32  # of one batch
_MOST_OCTETS = 64 << 20  # of answers that are kept


class BatchAgreement(Check):
    """Rows alone are answered as in their batch, for the first batches.

    Args:
      comparison: the tolerances.
      signatures: the model's, to know which inputs have a batch dimension.
    """

    name = "answer_batch_agreement"

    def __init__(self, comparison: Comparison, signatures: Mapping[str, tf.SignatureDef]) -> None:
        super().__init__()
        self._comparison = comparison
        self._signatures = signatures
        self._batches: list[tuple[SampleRequest, Answer]] = []
        self._octets = 0
        self._rows: dict[str, tuple[Answer, int, int]] = {}  # label of a row's request -> its batch's answer, row, rows

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        alone = self._rows.get(request.label)
        if alone is not None:
            self.applied += 1
            batch, row, rows = alone
            outputs = {name: _row_of(tensor, row, rows) for name, tensor in batch.outputs.items()}
            mine = {name: answer.outputs[name] for name in answer.outputs if outputs.get(name) is not None}
            wanted = {name: tensor for name, tensor in outputs.items() if tensor is not None}
            self._comparison.check(request, wanted, mine, "its batch")
            return
        octets = sum(len(tensor.content) for tensor in answer.outputs.values())
        if (request.rows or 0) < 2 or len(self._batches) >= _MOST_BATCHES or self._octets + octets > _MOST_OCTETS:
            return
        self._octets += octets
        self._batches.append((request, answer))

    def requests(self) -> Iterator[SampleRequest]:
        """The rows of the batches that were asked, each as a request of its own.

        Raises:
          UsageError: no request had several rows.
        """
        if not self._batches:
            raise UsageError(
                "validation_spec.answers.batch_agreement needs requests of several rows, and there were none.",
                next_step="Have rows joined: request_spec.batch_sizes: [1, 8].",
            )
        for request, answer in self._batches:
            assert request.rows is not None
            for row in range(min(request.rows, _MOST_ROWS)):
                payload = _one_row(request, row, self._signatures.get(request.signature))
                if payload is None:
                    break
                alone = dataclasses.replace(
                    request, payload=payload, label=f"row {row + 1} of {request.label}, alone", rows=1, rest_body=None
                )
                self._rows[alone.label] = (answer, row, request.rows)
                yield alone


def _row_of(tensor: Tensor, row: int, rows: int) -> Tensor | None:
    """One row of an output as a batch of one; None where the output has no batch dimension."""
    if not tensor.shape or tensor.shape[0] != rows:
        return None
    shape = (1, *tensor.shape[1:])
    width = tensor.size // rows
    if tensor.dtype == STRING:
        texts = list(tensor.strings())[row * width : (row + 1) * width]
        return Tensor(STRING, shape, strings=lambda: texts)
    octets = width * tensor.element.size
    return Tensor(tensor.dtype, shape, tensor.content[row * octets : (row + 1) * octets])


def _one_row(request: SampleRequest, row: int, signature: tf.SignatureDef | None) -> bytes | None:
    """The request with one of its rows; None where its rows cannot be told apart."""
    method = request.method.rpartition("/")[2]
    if method in ("Classify", "Regress"):
        asked = (pb.ClassificationRequest if method == "Classify" else pb.RegressionRequest).FromString(request.payload)
        kind = asked.input.WhichOneof("kind")
        examples = getattr(asked.input, kind).examples if kind else []
        if len(examples) != request.rows:
            return None
        one = examples[row]
        kept = type(one).FromString(one.SerializeToString())
        del examples[:]
        examples.append(kept)
        return asked.SerializeToString()
    if method != "Predict":
        return None
    predict = pb.PredictRequest.FromString(request.payload)
    for name, tensor in predict.inputs.items():
        if signature is not None and name in signature.inputs and not _is_batch(signature.inputs[name]):
            continue
        if not tensor.tensor_shape.dim or tensor.tensor_shape.dim[0].size != request.rows:
            return None
        _keep_row(tensor, row, request.rows)
    return predict.SerializeToString()


def _is_batch(info: tf.TensorInfo) -> bool:
    return info.tensor_shape.unknown_rank or (bool(info.tensor_shape.dim) and info.tensor_shape.dim[0].size == -1)


_VALUES = (
    "float_val",
    "double_val",
    "int_val",
    "string_val",
    "scomplex_val",
    "int64_val",
    "bool_val",
    "dcomplex_val",
    "half_val",
    "uint32_val",
    "uint64_val",
)


def _keep_row(tensor: tf.TensorProto, row: int, rows: int) -> None:
    tensor.tensor_shape.dim[0].size = 1
    octets = len(tensor.tensor_content) // rows
    tensor.tensor_content = tensor.tensor_content[row * octets : (row + 1) * octets]
    for field in _VALUES:
        values = getattr(tensor, field)
        width = len(values) // rows
        if width:  # fewer values than rows: the last stands for all that follow
            kept = list(values[row * width : (row + 1) * width])
            del values[:]
            values.extend(kept)
