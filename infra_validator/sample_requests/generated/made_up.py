"""Questions that are made up from a signature: zeros, ones, or random values from a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence, Set

from infra_validator.core.errors import SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.question import Question
from infra_validator.sample_requests.questions.signature_inputs import (
    Signatures,
    batch_of,
    declared_shape,
    described_input,
    needed_inputs,
)
from infra_validator.sample_requests.questions.tensor_values import MOST_BYTES, tensor_of_bytes, tensor_of_values
from infra_validator.sample_requests.questions.values import FLOATS, INTEGERS, ValueMisfit
from infra_validator.specs.request_spec import GenerateSpec

_COMPLEX_BYTES = {tf.DT_COMPLEX64: 8, tf.DT_COMPLEX128: 16}


def questions_made_up(signatures: Signatures, count: int, spec: GenerateSpec) -> Iterator[Question]:
    """``count`` questions for each signature, the same ones every time for the same seed.

    Raises:
      SpecError: a string input has no texts; ranges, shapes or texts do not go with an input's dtype.
      UsageError: a signature takes tf.Example, of which none can be made up (SIGNATURE_NOT_SUPPORTED).
    """
    inputs = [item for signature in signatures.values() for item in signature.inputs.items()]
    takes_texts = {key for key, info in inputs if info.dtype == tf.DT_STRING}
    for name, signature in signatures.items():
        _check(name, signature, spec, takes_texts)
    for number in range(1, count + 1):
        for name, signature in signatures.items():
            yield _MadeUp(name, signature, spec, number).question()


def _check(name: str, signature: tf.SignatureDef, spec: GenerateSpec, takes_texts: Set[str]) -> None:
    """``takes_texts``: the inputs that are strings in any signature; inputs of one name may be of several dtypes."""
    if signature.method_name != methods.PREDICT_METHOD_NAME:
        raise UsageError(
            f"Signature {name!r} has the method name {signature.method_name!r}; requests can only be made up for predict.",
            reason=ReasonCode.SIGNATURE_NOT_SUPPORTED,
            next_step="Give requests in a file (--requests), or name predict signatures.",
        )
    for key, info in signature.inputs.items():
        described = f"{described_input(key, info)} of signature {name!r}"
        is_text = info.dtype == tf.DT_STRING
        if is_text and key not in spec.texts and key in needed_inputs(signature):
            raise SpecError(
                f"request_spec.generate.texts.{key}",
                f"the input {described} takes strings, which cannot be made up",
                next_step=f"Give some: request_spec.generate.texts: {{{key}: [...]}}.",
            )
        if key in spec.texts and key not in takes_texts:
            raise SpecError(f"request_spec.generate.texts.{key}", f"the input {described} takes no strings")
        if key in spec.ranges:
            problem = _why_no_range(info.dtype, spec.ranges[key])
            if problem:
                raise SpecError(f"request_spec.generate.ranges.{key}", f"the input {described} {problem}")
        if info.dtype not in (*INTEGERS, *FLOATS, *_COMPLEX_BYTES, tf.DT_BOOL, tf.DT_STRING):
            raise SpecError(
                "request_spec.generate", f"the input {described} is of a dtype whose values cannot be made up"
            )


def _why_no_range(dtype: tf.DataType.ValueType, limits: Sequence[float]) -> str:
    if dtype in INTEGERS:
        lowest, highest = INTEGERS[dtype]
        if limits[0] < lowest or limits[1] > highest:
            return f"holds {lowest} to {highest}"
        if math.ceil(limits[0]) > math.floor(limits[1]):
            return f"takes whole numbers, of which there is none from {limits[0]:g} to {limits[1]:g}"
        return ""
    return "" if dtype in FLOATS else "takes no range"


class _MadeUp:
    """One question for one signature."""

    def __init__(self, name: str, signature: tf.SignatureDef, spec: GenerateSpec, number: int) -> None:
        self._name = name
        self._signature = signature
        self._spec = spec
        self._number = number
        self._random = random.Random(f"{spec.seed} {number} {name}")
        batch = batch_of(signature)
        self._batched = batch.inputs if batch is not None and batch.size is None else frozenset[str]()

    def question(self) -> Question:
        inputs = {}
        for key, info in sorted(self._signature.inputs.items()):
            if key in needed_inputs(self._signature) or self._is_named(key):
                shape = self._shape(key, info)
                try:
                    inputs[key] = self._tensor(key, info.dtype, shape)
                except ValueMisfit as error:
                    raise SpecError("request_spec.generate", f"input {key!r}: {error}") from error
        label = f"made-up request {self._number}"
        one_row = all(
            self._shape(key, self._signature.inputs[key])[:1] == [1] for key in inputs if key in self._batched
        )
        return Question(methods.PREDICT, self._name, label, inputs, is_row=bool(self._batched) and one_row)

    def _is_named(self, key: str) -> bool:
        return key in self._spec.texts or key in self._spec.shapes or key in self._spec.ranges

    def _shape(self, key: str, info: tf.TensorInfo) -> list[int]:
        if key in self._spec.shapes:
            return list(self._spec.shapes[key])
        declared = declared_shape(info)
        return [1] if declared is None else [1 if size == -1 else size for size in declared]

    def _tensor(self, key: str, dtype: tf.DataType.ValueType, shape: list[int]) -> tf.TensorProto:
        count = math.prod(shape)
        if count > MOST_BYTES:
            raise ValueMisfit(f"the shape {shape} has more elements than a message can hold")
        if dtype == tf.DT_STRING:
            texts = self._spec.texts[key]
            first = self._number - 1
            return tensor_of_values(dtype, shape, (texts[(first + n) % len(texts)] for n in range(count)))
        if dtype in _COMPLEX_BYTES:
            one = b"\x00" * _COMPLEX_BYTES[dtype]
            return tensor_of_bytes(dtype, shape, one * count)
        return tensor_of_values(dtype, shape, (self._value(key, dtype) for _ in range(count)))

    def _value(self, key: str, dtype: int) -> float | int | bool:
        if self._spec.values != "random":
            one = self._spec.values == "ones"
            return one if dtype == tf.DT_BOOL else float(one) if dtype in FLOATS else int(one)
        if dtype == tf.DT_BOOL:
            return self._random.random() < 0.5
        low, high = self._spec.ranges.get(key, (0.0, 1.0))
        if dtype in FLOATS:
            return self._random.uniform(low, high)
        return self._random.randint(math.ceil(low), math.floor(high))
