"""The features of one record, whatever it was written as: tf.Example, tf.SequenceExample, or a row of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from google.protobuf import message

from infra_validator.core.wire import LENGTH, WireError, field_numbers, fields, map_entry
from infra_validator.protos import tensorflow_pb2 as tf

# Field numbers of tf.Example, tf.SequenceExample, FeatureLists and FeatureList (core/example/*.proto).
_FEATURES, _FEATURE_LISTS = 1, 2
_ENTRY, _ELEMENT = 1, 1


@dataclasses.dataclass(frozen=True)
class FeatureValues:
    """The values of one feature of a record.

    Attributes:
      kind: ``bytes``, ``float`` or ``int64``; empty where there is no value.
      values: all of them, flat.
      lengths: of a feature list, how many each of its steps has; None for a plain feature.
      shape: of a decoded image, its shape; None where only the signature tells.
    """

    kind: str
    values: Sequence[object]
    lengths: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    def __str__(self) -> str:
        what = f"{len(self.values)} {self.kind} values" if len(self.values) != 1 else f"one {self.kind} value"
        what = what if self.kind else "no value"
        return what if self.lengths is None else f"{what} in {len(self.lengths)} steps"


class NotAnExampleError(ValueError):
    """A record is not the message that it should be; the text says why."""


def example_of_record(record: bytes) -> tf.Example:
    """The tf.Example that a record holds.

    Raises:
      NotAnExampleError: it is no serialized tf.Example.
    """
    return _parsed(record, {_FEATURES}, "tf.Example", ", perhaps a tf.SequenceExample")


def features_of_example(example: tf.Example) -> dict[str, FeatureValues]:
    """The features of a tf.Example."""
    return {key: _values(feature) for key, feature in example.features.feature.items()}


def features_of_sequence_example(record: bytes) -> dict[str, FeatureValues]:
    """The features and the feature lists of a serialized tf.SequenceExample, whose context looks like an Example.

    Raises:
      NotAnExampleError: it is none.
    """
    found = features_of_example(_parsed(record, {_FEATURES, _FEATURE_LISTS}, "tf.SequenceExample", ""))
    try:
        for number, kind, start, end in fields(record):
            if number == _FEATURE_LISTS and kind == LENGTH:
                for entry_number, entry_kind, entry_start, entry_end in fields(record, start, end):
                    if entry_number == _ENTRY and entry_kind == LENGTH:
                        key, source, first, last = map_entry(record, entry_start, entry_end)
                        found[key] = _feature_list(record if source is None else source, first, last)
    except (message.DecodeError, WireError) as error:
        raise NotAnExampleError("it is no serialized tf.SequenceExample") from error
    return found


def _parsed(record: bytes, known: set[int], kind: str, perhaps: str) -> tf.Example:
    try:
        numbers = field_numbers(record)
        example = tf.Example.FromString(record)
    except (message.DecodeError, WireError) as error:
        raise NotAnExampleError(f"it is no serialized {kind}") from error
    if not numbers <= known:
        raise NotAnExampleError(f"it is no serialized {kind}: it has fields of another message{perhaps}")
    return example


def _feature_list(data: bytes, start: int, end: int) -> FeatureValues:
    steps = [
        _values(tf.Feature.FromString(data[first:last]))
        for number, kind, first, last in fields(data, start, end)
        if number == _ELEMENT and kind == LENGTH
    ]
    kinds = {step.kind for step in steps if step.kind}
    if len(kinds) > 1:
        raise WireError(f"a feature list with values of the kinds {' and '.join(sorted(kinds))}")
    values = [value for step in steps for value in step.values]
    return FeatureValues(kinds.pop() if kinds else "", values, tuple(len(step.values) for step in steps))


def _values(feature: tf.Feature) -> FeatureValues:
    kind = feature.WhichOneof("kind")
    if kind is None:
        return FeatureValues("", ())
    values = list(getattr(feature, kind).value)
    return FeatureValues(kind.removesuffix("_list") if values else "", values)
