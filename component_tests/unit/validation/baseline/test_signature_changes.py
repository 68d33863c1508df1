"""Which differences between signatures break whom."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.report.measurements import SignatureChange
from infra_validator.report.signatures import CLASSIFY, PREDICT, REGRESS, Signature, TensorSpec
from infra_validator.validation.baseline.signature_changes import signature_changes

X = TensorSpec("float", (-1, 3))
BEFORE = Signature(PREDICT, {"x": X}, {"y": X})

Shape = tuple[int, ...] | None


def changed(now: Signature, before: Signature = BEFORE, *, over_rest: bool = False) -> list[tuple[str, str, bool]]:
    changes = signature_changes({"s": before}, {"s": now}, over_rest=over_rest)
    assert all(change.signature == "s" and change.detail.endswith(".") for change in changes)
    return [(change.what, change.kind, change.breaking) for change in changes]


def with_input(**inputs: TensorSpec) -> Signature:
    return Signature(PREDICT, {"x": X, **inputs}, {"y": X})


def with_output(**outputs: TensorSpec) -> Signature:
    return Signature(PREDICT, {"x": X}, {"y": X, **outputs})


# What breaks callers that were right before, and what does not. docs/baseline.md has the same table in words.
DIFFERENCES = {
    "nothing": (BEFORE, []),
    "another name for the same type": (with_input(x=TensorSpec("DT_FLOAT", (-1, 3))), []),
    "input added": (with_input(z=X), [("input z", "added", True)]),
    "input added that has a default": (with_input(z=TensorSpec("float", (), True)), [("input z", "added", False)]),
    "input removed": (Signature(PREDICT, {}, {"y": X}), [("input x", "removed", True)]),
    "input retyped": (with_input(x=TensorSpec("double", (-1, 3))), [("input x", "retyped", True)]),
    "input sparse": (with_input(x=TensorSpec("float", (-1, 3), False, "sparse")), [("input x", "retyped", True)]),
    "input may be left out": (with_input(x=TensorSpec("float", (-1, 3), True)), [("input x", "changed", False)]),
    "input wider": (with_input(x=TensorSpec("float", (-1, -1))), [("input x", "reshaped", False)]),
    "input of any rank": (with_input(x=TensorSpec("float", None)), [("input x", "reshaped", False)]),
    "input narrower": (with_input(x=TensorSpec("float", (1, 3))), [("input x", "reshaped", True)]),
    "input of another size": (with_input(x=TensorSpec("float", (-1, 4))), [("input x", "reshaped", True)]),
    "input of another rank": (with_input(x=TensorSpec("float", (-1,))), [("input x", "reshaped", True)]),
    "output added": (with_output(z=X), [("output z", "added", False)]),
    "output removed": (Signature(PREDICT, {"x": X}, {}), [("output y", "removed", True)]),
    "output retyped": (with_output(y=TensorSpec("double", (-1, 3))), [("output y", "retyped", True)]),
    "output narrower": (with_output(y=TensorSpec("float", (1, 3))), [("output y", "reshaped", False)]),
    "output wider": (with_output(y=TensorSpec("float", (-1, -1))), [("output y", "reshaped", True)]),
    "output of any rank": (with_output(y=TensorSpec("float", None)), [("output y", "reshaped", True)]),
    "output of another rank": (with_output(y=TensorSpec("float", (3,))), [("output y", "reshaped", True)]),
    "method": (Signature("other", {"x": X}, {"y": X}), [("method", "changed", True)]),
    "method classify, was predict": (Signature(CLASSIFY, {"x": X}, {"y": X}), [("method", "changed", False)]),
    "two at once": (
        Signature(REGRESS, {"a": X}, {"y": X}),
        [("method", "changed", False), ("input a", "added", True), ("input x", "removed", True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_differs_and_whether_it_breaks(name: str) -> None:
    now, expected = DIFFERENCES[name]
    assert changed(now) == expected


def test_a_signature_that_is_gone_breaks_and_a_new_one_does_not() -> None:
    changes = signature_changes({"old": BEFORE}, {"new": BEFORE}, over_rest=False)
    assert changes == (
        SignatureChange("new", "", "added", False, "Signature 'new' is new."),
        SignatureChange("old", "", "removed", True, "Signature 'old' is gone."),
    )


def test_an_input_that_must_be_given_again_breaks_who_left_it_out() -> None:
    before = with_input(x=TensorSpec("float", (-1, 3), True))
    assert changed(BEFORE, before) == [("input x", "changed", True)]


def test_over_rest_a_second_output_changes_the_answer_of_a_signature_that_had_one() -> None:
    assert changed(with_output(z=X), over_rest=True) == [("output z", "added", True)]
    optional = TensorSpec("float", (), True)
    assert changed(with_input(z=optional), over_rest=True) == [("input z", "added", True)]
    two = with_output(b=X)
    assert changed(with_output(b=X, z=X), two, over_rest=True) == [("output z", "added", False)]


def test_the_sentences_name_what_was_and_what_is() -> None:
    (change,) = signature_changes({"s": BEFORE}, {"s": with_input(x=TensorSpec("int64", None))}, over_rest=False)
    assert change.detail == "Input 'x' of 's' is int64 of any rank, and was float [-1, 3]."


SIZES = (0, 1, 2, 3)
EVERY_SHAPE = [shape for rank in range(3) for shape in itertools.product(SIZES, repeat=rank)]
shapes = st.one_of(st.none(), st.lists(st.sampled_from((-1, 1, 2)), max_size=2).map(tuple))


def fits(shape: tuple[int, ...], declared: Shape) -> bool:
    if declared is None:
        return True
    return len(shape) == len(declared) and all(b in (-1, a) for a, b in zip(shape, declared, strict=True))


@given(was=shapes, now=shapes)
def test_a_shape_breaks_exactly_where_some_tensor_is_not_taken_any_more_or_not_promised_any_more(
    was: Shape, now: Shape
) -> None:
    before = Signature(PREDICT, {"x": TensorSpec("float", was)}, {"y": TensorSpec("float", was)})
    after = Signature(PREDICT, {"x": TensorSpec("float", now)}, {"y": TensorSpec("float", now)})
    broken = {what for what, _, breaking in changed(after, before) if breaking}
    taken_before = [shape for shape in EVERY_SHAPE if fits(shape, was)]
    returned_now = [shape for shape in EVERY_SHAPE if fits(shape, now)]
    assert ("input x" in broken) == any(not fits(shape, now) for shape in taken_before)
    assert ("output y" in broken) == any(not fits(shape, was) for shape in returned_now)
