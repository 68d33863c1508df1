"""From a record's features to the named inputs of a raw-tensor signature, by name, dtype and shape."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from infra_validator.core.errors import UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.sample_requests.examples.features import FeatureValues
from infra_validator.sample_requests.examples.images import decoded_image
from infra_validator.sample_requests.questions.signature_inputs import batch_of, declared_shape, described_input
from infra_validator.sample_requests.questions.tensor_values import padded, tensor_of_values
from infra_validator.sample_requests.questions.values import FLOATS, INTEGERS, ValueMisfit
from infra_validator.specs.request_spec import RequestSpec

_LISTED_FEATURES = 10  # of a record, in one message
_INTEGER = re.compile(rb"\s*[+-]?\d+\s*")


class NamedInputs:
    """Makes the inputs of one signature of the features of records.

    Args:
      name: the signature's name, for messages.
      signature: the signature.
      asked: how features become inputs: features, padding, numbers_in_strings, images.
    """

    def __init__(self, name: str, signature: tf.SignatureDef, asked: RequestSpec) -> None:
        self._name = name
        self._signature = signature
        self._asked = asked
        batch = batch_of(signature)
        self._batched = batch.inputs if batch is not None else frozenset[str]()
        self._fixed = batch is not None and batch.size is not None

    def inputs_of(self, features: Mapping[str, FeatureValues], where: str) -> tuple[dict[str, tf.TensorProto], bool]:
        """The tensors of one record, a batch of one where the signature has a batch dimension.

        Args:
          where: which record it is, for messages.

        Returns:
          (the inputs; whether they are one row, which may be joined with others).

        Raises:
          UsageError: BAD_REQUESTS; names the input, the feature, what is there and what is wanted.
        """
        values = {}
        for key, info in sorted(self._signature.inputs.items()):
            feature = self._asked.features.get(key, key)
            if feature not in features:
                if key in self._signature.defaults and key not in self._asked.features:
                    continue
                raise self._lacking(key, feature, features, where)
            values[key] = self._plain(key, info, features[feature], where)
        # What fits the whole of a known shape is all of it; else the first dimension is a batch's, and the record one of its rows.
        whole = self._fixed and all(
            math.prod(declared_shape(self._signature.inputs[key]) or []) == len(found.values)
            for key, found in values.items()
        )
        is_row = bool(self._batched) and not whole
        inputs = {}
        for key, found in values.items():
            try:
                inputs[key] = self._tensor(key, found, is_row and key in self._batched)
            except ValueMisfit as error:
                raise self._misfit(key, features[self._asked.features.get(key, key)], where, str(error)) from error
        return inputs, is_row

    # ------------------------------------------------------------------------------------------------ values

    def _plain(self, key: str, info: tf.TensorInfo, found: FeatureValues, where: str) -> FeatureValues:
        """The feature's values as the input's dtype takes them."""
        try:
            if key in self._asked.images:
                return self._decoded(info, found)
            if key in self._asked.numbers_in_strings:
                return FeatureValues(found.kind, [_number(value) for value in found.values], found.lengths)
            if not found.kind:
                return found
            if info.dtype == tf.DT_BOOL:
                return FeatureValues(found.kind, [_truth(value) for value in found.values], found.lengths)
            wanted = _KINDS_FOR.get(info.dtype, ())
            if found.kind not in wanted:
                raise ValueMisfit(_HINTS.get((found.kind, info.dtype == tf.DT_UINT8), ""))
            return found
        except ValueMisfit as error:
            raise self._misfit(key, found, where, str(error)) from error

    def _decoded(self, info: tf.TensorInfo, found: FeatureValues) -> FeatureValues:
        encoded = found.values[0] if len(found.values) == 1 else None
        if not isinstance(encoded, bytes):
            raise ValueMisfit("an encoded image is one bytes value")
        shape = declared_shape(info)
        rank = len(shape or ()) - bool(self._batched)  # without the batch dimension
        channels = 1 if rank == 2 else shape[-1] if shape and shape[-1] in (1, 3, 4) else None
        image = decoded_image(encoded, channels)
        values: list[Any] = list(image.values)
        if info.dtype in FLOATS:
            values = [float(value) for value in values]
        return FeatureValues("int64", values, shape=image.shape[:2] if rank == 2 else image.shape)

    # ------------------------------------------------------------------------------------------------ shapes

    def _tensor(self, key: str, found: FeatureValues, with_batch: bool) -> tf.TensorProto:
        info = self._signature.inputs[key]
        declared = declared_shape(info)
        if declared is None:
            shape = [1] if len(found.values) == 1 and found.lengths is None else [1, *_natural(found)]
            return tensor_of_values(info.dtype, shape, found.values)
        inner = declared[1:] if with_batch else declared
        front = [1] if with_batch else []
        fitting = self._shape(inner, found)
        if fitting is not None:
            return tensor_of_values(info.dtype, [*front, *fitting], found.values)
        if key not in self._asked.padding:
            hint = f" (request_spec.padding: {{{key}: 0}} fills up what is short)" if len(inner) else ""
            raise ValueMisfit(f"they do not make up the shape {inner}{hint}")
        return self._padded(key, inner, found, front)

    def _shape(self, inner: list[int], found: FeatureValues) -> list[int] | None:
        """The shape that the values have by the declared one; None if they do not fit it."""
        count = len(found.values)
        if found.shape is not None:
            fits = len(found.shape) == len(inner) and all(
                size in (-1, is_) for size, is_ in zip(inner, found.shape, strict=True)
            )
            return list(found.shape) if fits else None
        if found.lengths is not None:
            if len(set(found.lengths)) > 1 or not inner or inner[0] not in (-1, len(found.lengths)):
                return None
            inner = [len(found.lengths), *inner[1:]]
        known = math.prod(size for size in inner if size != -1)
        unknown = inner.count(-1)
        if unknown == 0:
            return inner if count == known else None
        if unknown == 1 and known and count % known == 0:
            return [count // known if size == -1 else size for size in inner]
        if count == known:
            return [1 if size == -1 else size for size in inner]
        return None

    def _padded(self, key: str, inner: list[int], found: FeatureValues, front: list[int]) -> tf.TensorProto:
        info, filler = self._signature.inputs[key], self._asked.padding[key]
        if found.lengths is None and len(inner) == 1:
            had, wanted = [len(found.values)], [max(inner[0], 0)]
            rows = tensor_of_values(info.dtype, [*front, *had], found.values)
        elif found.lengths is not None and len(inner) == 2:
            longest = max(found.lengths, default=0)
            wanted = [
                size if size != -1 else given for size, given in zip(inner, (len(found.lengths), longest), strict=True)
            ]
            had, values, at = [len(found.lengths), longest], [], 0
            for length in found.lengths:
                values += [*found.values[at : at + length], *[filler] * (longest - length)]
                at += length
            rows = tensor_of_values(info.dtype, [*front, *had], values)
        else:
            raise ValueMisfit(f"they do not make up the shape {inner}, and only rows of one dimension can be filled up")
        if any(have > want for have, want in zip(had, wanted, strict=True)):
            raise ValueMisfit(f"there are more of them than the shape {inner} holds")
        return padded(rows, [*front, *wanted], filler)

    # ------------------------------------------------------------------------------------------------ errors

    def _lacking(self, key: str, feature: str, features: Mapping[str, FeatureValues], where: str) -> UsageError:
        names = sorted(features)
        near = difflib.get_close_matches(feature, names, n=1)
        listed = ", ".join(names[:_LISTED_FEATURES]) + (" ..." if len(names) > _LISTED_FEATURES else "")
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return UsageError(
            f"{where}: the input {described_input(key, self._signature.inputs[key])} of signature {self._name!r} wants the "
            f"feature {feature!r}; the record has: {listed or 'none'}.{hint}",
            reason=ReasonCode.BAD_REQUESTS,
            next_step=f"Name the feature: request_spec.features: {{{key}: {near[0] if near else 'FEATURE'}}}.",
        )

    def _misfit(self, key: str, found: FeatureValues, where: str, problem: str) -> UsageError:
        feature = self._asked.features.get(key, key)
        why = f": {problem}" if problem else ""
        return UsageError(
            f"{where}: the feature {feature!r} has {found}, which do not fit the input "
            f"{described_input(key, self._signature.inputs[key])} of signature {self._name!r}{why}.",
            reason=ReasonCode.BAD_REQUESTS,
            next_step="Give examples that the signature takes, or say in request_spec (features, padding, numbers_in_strings, "
            "images) how they become its inputs.",
        )


#: The kinds of feature that a dtype takes. Whole numbers go into floats; numbers with a fraction never into integers.
_KINDS_FOR: dict[int, tuple[str, ...]] = {
    **dict.fromkeys(FLOATS, ("float", "int64")),
    **dict.fromkeys(INTEGERS, ("int64",)),
    tf.DT_STRING: ("bytes",),
}

_HINTS = {
    ("bytes", True): "request_spec.images decodes encoded images",
    ("bytes", False): "request_spec.numbers_in_strings reads numbers that stand in strings",
}


def _natural(found: FeatureValues) -> list[int]:
    if found.shape is not None:
        return list(found.shape)
    if found.lengths is None:
        return [len(found.values)]
    if len(set(found.lengths)) > 1:
        raise ValueMisfit("its steps have several lengths")
    return [len(found.lengths), found.lengths[0] if found.lengths else 0]


def _number(value: object) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return int(value) if _INTEGER.fullmatch(value) else float(value)
    except ValueError:
        raise ValueMisfit("a string in it is no number") from None


def _truth(value: object) -> bool:
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise ValueMisfit("a boolean is 0 or 1 there")
