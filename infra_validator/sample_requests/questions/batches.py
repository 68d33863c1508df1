"""Rows joined to batches: of the sizes that were asked for, and of the size that a signature declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.signature_inputs import SignatureInputs, batch_of
from infra_validator.sample_requests.questions.tensor_values import MOST_BYTES, joined, padded, rows_of, shape_of
from infra_validator.sample_requests.questions.values import ValueMisfit

Padding = Mapping[str, object]


def batched(
    make: Callable[[], Iterable[Question]],
    sizes: Sequence[int],
    signatures: Mapping[str, SignatureInputs],
    padding: Padding,
) -> Iterator[Question]:
    """The questions that ``make`` makes anew, in the batch sizes asked for, one size after the other.

    Without ``sizes`` they are left as they are, but for rows of signatures with a fixed batch dimension, which are asked in its
    size. The last batch of a size is filled up with the rows that came first. What has no batch dimension is asked once, as it is.

    Raises:
      UsageError: rows cannot be joined, or a batch would be larger than a message can be (BAD_REQUESTS).
    """
    if not sizes:
        yield from _in_size(make(), None, signatures, padding)
    for index, size in enumerate(sizes):
        first = index > 0  # of two sizes that fail, the one that was asked first is reported
        for question in _in_size(make(), size, signatures, padding, again=index > 0):
            yield dataclasses.replace(question, after_all_before=True) if first else question
            first = False


def _in_size(
    questions: Iterable[Question],
    size: int | None,
    signatures: Mapping[str, SignatureInputs],
    padding: Padding,
    again: bool = False,
) -> Iterator[Question]:
    """The questions joined to one size; ``again``: without those that were asked already, in the one size that they have."""
    collectors: dict[str, _Collector] = {}
    for question in questions:
        wanted = _size_for(question, signatures, size)
        if again and (wanted is None or wanted != size):
            continue
        if wanted is None:
            yield question
            continue
        inputs = signatures[question.signature]
        collector = collectors.setdefault(question.signature, _Collector(wanted, inputs, padding))
        for row in [question] if question.is_row else _rows(question, inputs):
            yield from collector.add(row)
    for collector in collectors.values():
        yield from collector.rest()


def has_batch(signature: tf.SignatureDef) -> bool:
    """Whether questions for a signature can be of any batch size."""
    if signature.method_name in (methods.CLASSIFY_METHOD_NAME, methods.REGRESS_METHOD_NAME):
        return True
    batch = batch_of(signature)
    return batch is not None and batch.size is None


def _size_for(question: Question, signatures: Mapping[str, SignatureInputs], size: int | None) -> int | None:
    """The batch size that a question's rows are to be joined to; None to leave it as it is."""
    if question.method == methods.PREDICT:
        inputs = signatures.get(question.signature)
        batch = inputs.batch if inputs is not None else None
        if batch is None:
            return None
        if batch.size is not None:
            return batch.size if question.is_row else None
    elif question.method not in (methods.CLASSIFY, methods.REGRESS):
        return None
    return size


def _rows(question: Question, inputs: SignatureInputs) -> list[Question]:
    """The rows of a question of several."""
    if question.method != methods.PREDICT:
        return [
            dataclasses.replace(
                question,
                examples=(example,),
                label=_row_label(question, n, len(question.examples)),
                body=None,
                payload=b"",
            )
            for n, example in enumerate(question.examples, 1)
        ]
    batch = inputs.batch
    assert batch is not None
    try:
        cut = {key: rows_of(tensor) for key, tensor in question.inputs.items() if key in batch.inputs}
    except ValueMisfit as error:
        raise _bad(question, str(error)) from error
    counts = {len(rows) for rows in cut.values()}
    if len(counts) != 1:
        raise _bad(question, "its inputs have first dimensions of several sizes, so it cannot be cut into rows")
    (count,) = counts
    return [
        dataclasses.replace(
            question,
            inputs={key: cut[key][n] if key in cut else tensor for key, tensor in question.inputs.items()},
            label=_row_label(question, n + 1, count),
            body=None,
            payload=b"",
        )
        for n in range(count)
    ]


def _row_label(question: Question, number: int, count: int) -> str:
    return question.label if count == 1 else f"row {number} of {question.label}"


class _Collector:
    """Joins the rows for one signature."""

    def __init__(self, size: int, inputs: SignatureInputs, padding: Padding) -> None:
        self._size = size
        self._inputs = inputs
        self._padding = padding
        self._first: list[Question] = []  # the rows that came first, to fill up the last batch
        self._rows: list[Question] = []

    def add(self, row: Question) -> Iterator[Question]:
        if len(self._first) < self._size:
            self._first.append(row)
        self._rows.append(row)
        if len(self._rows) == self._size:
            yield self._batch()

    def rest(self) -> Iterator[Question]:
        if self._rows:
            missing = self._size - len(self._rows)
            bytes_each = max(1, max(_bytes_of(row) for row in self._rows))
            if bytes_each * self._size > MOST_BYTES:
                raise _bad(self._rows[0], f"a batch of {self._size} such rows is larger than the 2 GiB of a message")
            rounds, more = divmod(missing, len(self._first))
            self._rows += self._first * rounds + self._first[:more]
            yield self._batch()

    def _batch(self) -> Question:
        rows, self._rows = self._rows, []
        if len(rows) == 1:
            return rows[0]
        first = rows[0]
        label = f"a batch of {len(rows)} from {first.label}"
        if first.method != methods.PREDICT:
            return dataclasses.replace(
                first,
                examples=tuple(row.examples[0] for row in rows),
                label=label,
                is_row=False,
                body=None,
                payload=b"",
            )
        batch = self._inputs.batch
        assert batch is not None
        inputs = {
            key: self._joined(key, rows) if key in batch.inputs else tensor for key, tensor in first.inputs.items()
        }
        return dataclasses.replace(first, inputs=inputs, label=label, is_row=False, body=None, payload=b"")

    def _joined(self, key: str, rows: Sequence[Question]) -> tf.TensorProto:
        try:
            tensors = [row.inputs[key] for row in rows]
            shapes = [shape_of(tensor) for tensor in tensors]
            if key in self._padding and len({len(shape) for shape in shapes}) == 1:
                largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
                tensors = [padded(tensor, largest, self._padding[key]) for tensor in tensors]
            return joined(tensors)
        except KeyError as error:
            raise _bad(rows[0], f"a row further on has no input {key!r}") from error
        except ValueMisfit as error:
            hint = "" if key in self._padding else f" (request_spec.padding: {{{key}: 0}} fills rows up to one length)"
            raise _bad(rows[0], f"its rows do not go together in the input {key!r}: {error}{hint}") from error


def _bytes_of(row: Question) -> int:
    return sum(tensor.ByteSize() for tensor in row.inputs.values()) + sum(
        example.ByteSize() for example in row.examples
    )


def _bad(question: Question, problem: str) -> UsageError:
    return UsageError(f"{question.label}, signature {question.signature!r}: {problem}.", reason=ReasonCode.BAD_REQUESTS)
