"""What the model was held against: the baseline, the signatures that callers expect, and itself without a warm-up file."""

from __future__ import annotations

from infra_validator.report.formats.fields import Fields
from infra_validator.report.formats.html.limits import limits_table
from infra_validator.report.formats.html.markup import Content, Markup, element, join, mark, section, table
from infra_validator.report.formats.quantities import NOTHING, count, figures, milliseconds, octets, seconds


def baseline(measured: Fields) -> Markup | None:
    """The model beside the one in production."""
    found = measured.fields("baseline")
    if not found:
        return None
    blocks = found.number("blocks") or 0
    how = (
        f"both ran side by side, in {blocks:.0f} blocks each, in turn"
        if found.flag("interleaved")
        else "its numbers are those of an earlier verdict, from another time"
    )
    ratios = found.rows("ratios")
    return join(
        element("p", "Compared with ", element("code", found.text("baseline")), f": {how}."),
        limits_table("Ratios to the baseline", ratios) if ratios else None,
    )


def signature_changes(verdict: Fields) -> Markup | None:
    """What callers notice."""
    changes = verdict.rows("signature_changes")
    if not changes:
        return None
    rows: list[list[Content]] = [
        [
            [element("code", change.text("signature")), " ", change.text("what")],
            mark("bad", "breaks callers") if change.flag("breaking") else mark("good", "harmless"),
            change.text("kind"),
            change.text("detail"),
        ]
        for change in sorted(changes, key=lambda change: not change.flag("breaking"))
    ]
    shown = table("Changes of the signatures", ("What", "Outcome", "Change", "Detail"), rows)
    return section("signature-changes", "Changes of the signatures", shown)


def signatures(verdict: Fields) -> Markup | None:
    """What callers of the model see of it."""
    rows: list[list[Content]] = [
        [element("code", name), _tensors(signature.named("inputs")), _tensors(signature.named("outputs"))]
        for name, signature in verdict.named("signatures")
    ]
    return (
        section("signatures", "Signatures", table("Signatures", ("Name", "Inputs", "Outputs"), rows)) if rows else None
    )


def _tensors(tensors: list[tuple[str, Fields]]) -> list[Content]:
    shown: list[Content] = []
    for name, tensor in tensors:
        sizes = ", ".join("any" if size < 0 else figures(size) for size in tensor.numbers("shape"))
        shape = f"[{sizes}]" if tensor.is_list("shape") else "of any rank"
        optional = ", may be left out" if tensor.flag("optional") else ""
        shown.append(element("div", element("code", name), f" {tensor.text('dtype', 40)} {shape}{optional}"))
    return shown


def warm_up(measured: Fields) -> Markup | None:
    """The first answer and the load, with the warm-up file and without it."""
    found = measured.fields("warm_up")
    if not found:
        return None
    batches = ", ".join(figures(size) for size in found.numbers("batch_sizes"))
    holds = (
        f"{count(found.number('records'))} requests ({octets(found.number('octets'))}) for "
        f"{', '.join(found.texts('signatures')) or 'no signature'}"
        + (f"; batch sizes {batches}" if batches else "")
        + "."
    )
    rows: list[list[Content]] = []
    for name, write, with_it, without in (
        ("First answer", milliseconds, found.number("first_answer_ms"), found.number("without_ms")),
        ("Load", seconds, found.number("load_seconds"), found.number("without_seconds")),
    ):
        if with_it is not None or without is not None:
            rows.append([name, write(without), write(with_it), _gain(with_it, without)])
    heads = ("What", "Without warm-up", "With it", "Difference")
    return join(element("p", holds), table("Warm-up", heads, rows, "numbers") if rows else None)


def _gain(with_it: float | None, without: float | None) -> str:
    if not with_it or not without:
        return NOTHING
    if with_it <= without:
        return f"{figures(without / with_it)} × faster"
    return f"{figures(with_it / without)} × slower"
