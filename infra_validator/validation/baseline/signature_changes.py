"""Which differences between two models' signatures break whom. The rule is docs/baseline.md's table.

Inputs may accept more and outputs may promise more; whatever else differs breaks somebody who was right before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra_validator.report.measurements import SignatureChange
from infra_validator.report.signatures import CLASSIFY, PREDICT, REGRESS, Signature, Signatures, TensorSpec


def signature_changes(expected: Signatures, found: Signatures, *, over_rest: bool) -> tuple[SignatureChange, ...]:
    """Every difference, sorted by signature, inputs before outputs.

    Args:
      expected: what callers know.
      found: the model's.
      over_rest: whether there are callers over REST: there a single input or output has no name, so a second one changes the body.
    """
    return tuple(_changes(expected, found, over_rest))


def _changes(expected: Signatures, found: Signatures, over_rest: bool) -> Iterator[SignatureChange]:
    for name in sorted({*expected, *found}):
        if name not in found:
            yield SignatureChange(name, "", "removed", True, f"Signature {name!r} is gone.")
        elif name not in expected:
            yield SignatureChange(name, "", "added", False, f"Signature {name!r} is new.")
        else:
            was, now = expected[name], found[name]
            yield from _method(name, was, now)
            yield from _Side(name, "input", over_rest).changes(was.inputs, now.inputs)
            yield from _Side(name, "output", over_rest).changes(was.outputs, now.outputs)


def _method(name: str, was: Signature, now: Signature) -> Iterator[SignatureChange]:
    if was.method != now.method:
        # TensorFlow Serving's Predict takes signatures of all three methods; Classify and Regress take their own only.
        breaking = not (was.method == PREDICT and now.method in (CLASSIFY, REGRESS))
        detail = f"Signature {name!r} has the method {now.method}, and had {was.method}."
        yield SignatureChange(name, "method", "changed", breaking, detail)


class _Side:
    """The inputs or the outputs of one signature."""

    def __init__(self, signature: str, kind: str, over_rest: bool) -> None:
        self._signature = signature
        self._kind = kind
        self._over_rest = over_rest

    def changes(self, was: Mapping[str, TensorSpec], now: Mapping[str, TensorSpec]) -> Iterator[SignatureChange]:
        for name in sorted({*was, *now}):
            if name not in now:
                yield self._change(name, "removed", True, f"is gone; it was {was[name]}")
            elif name not in was:
                yield self._added(name, now[name], alone_before=len(was) == 1)
            else:
                yield from self._differences(name, was[name], now[name])

    def _added(self, name: str, now: TensorSpec, *, alone_before: bool) -> SignatureChange:
        required = self._kind == "input" and not now.optional
        what = "must be given" if required else f"is {now}"
        rest = f"; over REST the only {self._kind} had no name, and now both have one" if alone_before else ""
        return self._change(name, "added", required or (alone_before and self._over_rest), f"is new and {what}{rest}")

    def _differences(self, name: str, was: TensorSpec, now: TensorSpec) -> Iterator[SignatureChange]:
        if (was.element_type, was.encoding) != (now.element_type, now.encoding):
            yield self._change(name, "retyped", True, f"is {now}, and was {was}")
        elif was.shape != now.shape:
            wider, narrower = _holds(now.shape, was.shape), _holds(was.shape, now.shape)
            breaking = not (wider if self._kind == "input" else narrower)
            how = "wider: " if wider else "narrower: " if narrower else ""
            yield self._change(name, "reshaped", breaking, f"is {how}{now}, and was {was}")
        if self._kind == "input" and was.optional != now.optional:
            told = "may be left out now" if now.optional else "must be given now, and could be left out"
            yield self._change(name, "changed", was.optional, told)

    def _change(self, name: str, how: str, breaking: bool, told: str) -> SignatureChange:
        detail = f"{self._kind.capitalize()} {name!r} of {self._signature!r} {told}."
        return SignatureChange(self._signature, f"{self._kind} {name}", how, breaking, detail)


def _holds(wide: tuple[int, ...] | None, narrow: tuple[int, ...] | None) -> bool:
    """Whether every tensor of the shape ``narrow`` is one of the shape ``wide``; None: any rank, -1: any size."""
    if wide is None or narrow is None:
        return wide is None
    return len(wide) == len(narrow) and all(a in (-1, b) for a, b in zip(wide, narrow, strict=True))
