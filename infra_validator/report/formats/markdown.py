"""``summary.md``: the verdict for a pull request, or for the summary that a CI system shows of a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infra_validator.report.formats.characters import one_line
from infra_validator.report.formats.fields import Fields, Room, last_attempt
from infra_validator.report.formats.figures_of_verdict import figures_of
from infra_validator.report.formats.quantities import in_unit, milliseconds, octets, seconds

_ROOM = Room(text=600, rows=50, log=0)
_SIGNS = {"BLESSED": "✅", "NOT_BLESSED": "❌", "INCONCLUSIVE": "⚠️"}
_WORDS = {"BLESSED": "blessed", "NOT_BLESSED": "not blessed", "INCONCLUSIVE": "could not be tested"}
_OUTCOMES = {
    "kept": "✅ kept",
    "exceeded": "❌ exceeded",
    "not_measured": "⚠️ not measured",
    "passed": "✅ passed",
    "failed": "❌ failed",
    "not_applicable": "not applicable",
}
_SPECIAL = re.compile(r"[\\`*\[\]<>#|~@!&$]|(?<!\w)_|_(?!\w)|:(?=//|[\w+-]+:)")


def plain(text: str) -> str:
    """Text in one line in which nothing is Markdown, HTML, a mention or a link."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", one_line(text))


def markdown(verdict: Mapping[str, Any]) -> str:
    """``summary.md`` of one verdict."""
    told = Fields(verdict, _ROOM)
    word = told.text("verdict")
    lines = [f"### {_title(told)}", ""]
    if told.text("reason"):
        code = told.text("reason_code")
        lines += [(f"**{plain(code)}** · " if code and code != word else "") + plain(told.text("reason")), ""]
    if told.text("next_step") and word != "BLESSED":
        lines += [f"**Next step:** {plain(told.text('next_step'))}", ""]
    lines += [f"> ⚠️ {plain(warning)}\n" for warning in told.texts("warnings")]
    lines += _binaries(told) + _limits(told) + _changes(told) + _checks(told)
    about = [f"model {plain(told.text('model'))}", plain(told.text("model_digest")), plain(told.text("tool"))]
    lines += [f"<sub>{' · '.join(filter(None, about))}</sub>"]
    return "\n".join(lines) + "\n"


def markdown_of_several(verdicts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """One table of several verdicts: (a name for it, its data)."""
    rows = []
    all_told = ((name, Fields(verdict, _ROOM)) for name, verdict in verdicts)
    for name, told in sorted(all_told, key=lambda one: one[1].text("started_at")):
        found = figures_of(told)
        rows.append(
            (
                plain(told.text("started_at")[:16].replace("T", " ") or name),
                _title(told),
                plain(told.text("reason_code")),
                milliseconds(found.p99_ms),
                seconds(found.load_seconds),
                octets(found.memory_bytes),
                octets(found.model_bytes),
            )
        )
    heads = ("started", "verdict", "reason", "p99", "load", "memory", "model")
    return "\n".join(["### Verdicts", "", *_table(heads, rows)]) + "\n"


def _title(told: Fields) -> str:
    word = told.text("verdict")
    name = plain(told.text("model_name") or told.text("model") or "the model")
    return f"{_SIGNS.get(word, '')} {name}: {_WORDS.get(word, plain(word))}".strip()


def _binaries(told: Fields) -> list[str]:
    rows = []
    for binary in told.rows("serving_binaries"):
        measured = last_attempt(binary).fields("measurements")
        found = figures_of(told, binary)
        advisory = " (advisory)" if binary.flag("advisory") else ""
        word = binary.text("verdict")
        rows.append(
            (
                plain(binary.text("label").partition("@")[0]),
                f"{_SIGNS.get(word, '')} {_WORDS.get(word, plain(word))}{advisory}",
                seconds(found.load_seconds),
                milliseconds(found.p99_ms),
                octets(measured.fields("memory").number("peak_bytes")),
            )
        )
    return [*_table(("serving binary", "verdict", "load", "p99", "peak memory"), rows), ""] if rows else []


def _limits(told: Fields) -> list[str]:
    rows = []
    for row in sorted(told.rows("limits"), key=lambda row: row.text("outcome") == "kept"):
        unit = row.text("unit")
        bound = "at most" if row.flag("at_most") else "at least"
        notes = ["" if row.flag("decides") else "(advisory)", "within the noise" if row.flag("within_noise") else ""]
        outcome = " ".join(filter(None, (_OUTCOMES.get(row.text("outcome"), plain(row.text("outcome"))), *notes)))
        binary = row.text("binary").partition("@")[0]
        name = plain(row.text("name")) + (f"<br>{plain(binary)}" if binary else "")
        rows.append(
            (
                name,
                plain(in_unit(row.number("measured"), unit)),
                plain(f"{bound} {in_unit(row.number('limit'), unit)}"),
                outcome,
            )
        )
    return [*_table(("limit", "measured", "allowed", "outcome"), rows), ""] if rows else []


def _changes(told: Fields) -> list[str]:
    rows = [
        (
            plain(f"{row.text('signature')} {row.text('what')}"),
            plain(row.text("kind")),
            "❌ breaks callers" if row.flag("breaking") else "✅ harmless",
            plain(row.text("detail")),
        )
        for row in told.rows("signature_changes")
    ]
    return [*_table(("signature", "change", "outcome", "detail"), rows), ""] if rows else []


def _checks(told: Fields) -> list[str]:
    checks = told.fields("evidence").rows("checks")
    if not checks:
        return []
    failed = sum(check.text("outcome") == "failed" for check in checks)
    rows = [
        (
            plain(check.text("name").replace("_", " ")),
            _OUTCOMES.get(check.text("outcome"), plain(check.text("outcome"))),
            plain(check.text("detail")),
        )
        for check in sorted(checks, key=lambda check: check.text("outcome") != "failed")
    ]
    title = f"{len(checks)} checks" + (f", {failed} failed" if failed else "")
    return [
        f"<details><summary>{title}</summary>",
        "",
        *_table(("check", "outcome", "detail"), rows),
        "",
        "</details>",
        "",
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
