"""The page: its parts in order, its style and its one small script, with a policy that lets a browser load and run nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
from collections.abc import Callable, Mapping
from typing import Any

from infra_validator.report.formats.fields import Fields, Room, last_attempt
from infra_validator.report.formats.html import compared, environment, latency, limits, memory, summary, timeline
from infra_validator.report.formats.html.markup import Content, Markup, element, join, mark, raw, section

_FRAME_HEIGHT = 720  # pixels, in a notebook

#: The most that a page may weigh, in octets; a verdict that has more to say is cut.
MOST_OCTETS = 1_000_000
_ROOMS = (
    Room(),
    Room(400, 60, 80_000, 20_000),
    Room(160, 16, 20_000, 4_000),
    Room(60, 4, 4_000, 1_000),
    Room(20, 2, 400, 100),
)
_COLOURS = {"good": "#1a7f4b", "bad": "#b3261e", "unsure": "#8f5b00", "none": "#5c6670"}


def html(verdict: Mapping[str, Any]) -> str:
    """``report.html`` of a verdict.

    Args:
      verdict: the data of a ``verdict.json`` of any version.
    """
    return in_room(lambda room: _report(Fields(verdict, room)))


def in_room(make: Callable[[Room], Markup]) -> str:
    """A page that weighs no more than it may: with everything, or with as much as there is room for."""
    page = ""
    for room in _ROOMS:
        page = make(room)
        if len(page) < MOST_OCTETS and len(page.encode()) < MOST_OCTETS:
            break
    return str(page)


def document(title: str, outcome: str, *content: Content) -> Markup:
    """A whole document."""
    style, script = asset("style.css"), asset("search.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    icon = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='4' "
        f"fill='{_COLOURS[outcome].replace('#', '%23')}'/%3E%3C/svg%3E"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("link", rel="icon", href=icon),
        element("style", raw(style)),
    )
    body = element("body", element("main", *content), element("script", raw(script)))
    return Markup(f"<!doctype html>\n{element('html', head, body, lang='en')}\n")


@functools.cache
def asset(name: str) -> str:
    """A file of the page's own."""
    return importlib.resources.files(__package__).joinpath("assets").joinpath(name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _report(verdict: Fields) -> Markup:
    outcome, word = summary.outcome_of(verdict)
    parts = [
        summary.warnings(verdict),
        summary.evidence(verdict),
        limits.limits(verdict),
        compared.signature_changes(verdict),
        timeline.timeline(verdict),
        *_measured(verdict),
        compared.signatures(verdict),
        environment.what_was_run(verdict),
        environment.logs(verdict),
    ]
    name = verdict.text("model_name", 120) or "model"
    return document(f"{word}: {name}", outcome, summary.head(verdict), parts, _foot(verdict))


def _measured(verdict: Fields) -> list[Markup]:
    """What was measured, for each serving binary that was measured."""
    binaries = [binary for binary in verdict.rows("serving_binaries") if last_attempt(binary).fields("measurements")]
    if len(verdict.rows("serving_binaries")) == 1:
        return [part for binary in binaries for part in _of_binary(0, binary, level=2)]
    found = [_of_binary(number, binary, level=3) for number, binary in enumerate(binaries)]
    parts = [(binary, part) for binary, part in zip(binaries, found, strict=True) if part]
    together = []
    for number, (binary, part) in enumerate(parts):
        outcome, word = summary.outcome_of(binary)
        advisory = " · advisory" if binary.flag("advisory") else ""
        title = [
            binary.text("label").partition("@")[0],
            " ",
            mark(outcome, word),
            element("span", advisory, class_="aside") if advisory else None,
        ]
        together.append(section(f"binary-{number}", join(title), part))
    return together


def _of_binary(number: int, binary: Fields, level: int) -> list[Markup]:
    attempt = last_attempt(binary)
    measured = attempt.fields("measurements")
    parts = (
        ("latency", "Latency", latency.latency(measured, level + 1)),
        ("baseline", "Baseline", compared.baseline(measured)),
        ("memory", "Memory", memory.memory(measured, attempt)),
        ("warm-up", "Warm-up", compared.warm_up(measured)),
    )
    return [section(f"{name}-{number}", title, part, level=level) for name, title, part in parts if part]


def _foot(verdict: Fields) -> Markup:
    return element("footer", element("p", f"Made by {verdict.text('tool', 80) or 'infra-validator'}."))


def framed(verdict: Mapping[str, Any]) -> str:
    """``report.html`` of a verdict as a frame that may run the page's own script and do nothing else."""
    frame = element(
        "iframe",
        srcdoc=html(verdict),
        sandbox="allow-scripts",
        title="Report of an infrastructure validation",
        width="100%",
        height=_FRAME_HEIGHT,
        frameborder="0",
    )
    return element("div", frame)  # IPython warns of a text that begins with a frame
