"""HTML that is put together from elements: text is always escaped, so nothing that a verdict quotes becomes markup."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

from infra_validator.report.formats.characters import printable


class Markup(str):
    """Text that is HTML already. Made by this file only."""


Content: TypeAlias = "str | Markup | Iterable[Content] | None"

_EMPTY = frozenset({"meta", "link", "br", "input"})


def text(value: str) -> Markup:
    """Text as HTML."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(value), quote=False))


def element(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Args:
      name: of the element.
      content: text, elements, or sequences of them; None is nothing.
      attributes: ``_`` in a name stands for ``-``, and is dropped at the end; None and False: no such attribute; True: one without a
        value.
    """
    begin = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if name in _EMPTY:
        return Markup(begin)
    return Markup(f"{begin}{join(*content)}</{name}>")


def join(*content: Content) -> Markup:
    """Contents one after another."""
    parts: list[str] = []
    for part in content:
        if part is None:
            continue
        parts.append(text(part) if isinstance(part, str) else join(*part))
    return Markup("".join(parts))


def raw(trusted: str) -> Markup:
    """HTML, CSS or a script that is written in this package. Never anything that was read."""
    return Markup(trusted)


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, str):
        return f' {name}="{html.escape(printable(value))}"'
    return f' {name}="{number(value)}"'


def number(value: float) -> str:
    """A number as SVG reads it, in few characters."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value != int(value) else str(int(value))


def scrolling(label: str, *content: Content) -> Markup:
    """Something wide that scrolls inside itself, by keyboard as well."""
    return element("div", *content, class_="scroll", role="group", aria_label=label, tabindex="0")


def table(label: str, heads: Iterable[Content], rows: Iterable[Iterable[Content]], class_: str = "words") -> Markup:
    """A table whose first column heads its rows. On a phone each row of a table of ``words`` is a block of its own, one of ``numbers``
    scrolls; the roles are what such blocks would lose otherwise."""
    heads = list(heads)
    labels = [head if isinstance(head, str) and not isinstance(head, Markup) else None for head in heads]
    head = element("tr", [element("th", cell, scope="col", role="columnheader") for cell in heads], role="row")
    body = []
    for row in rows:
        first, *others = row
        cells = [
            element("td", cell, role="cell", data_label=name) if cell else element("td", role="cell")
            for name, cell in zip(labels[1:], others, strict=True)
        ]
        body.append(element("tr", element("th", first, scope="row", role="rowheader"), cells, role="row"))
    caption = element("caption", label, class_="unseen")
    parts = (element("thead", head, role="rowgroup"), element("tbody", body, role="rowgroup"))
    return scrolling(label, element("table", caption, *parts, class_=class_, role="table"))


def section(name: str, title: str, *content: Content, level: int = 2) -> Markup:
    """A part of the page with a heading; ``name`` is its address."""
    heading = element(f"h{level}", title, id=f"{name}-title")
    if level > 2:  # parts of parts are no landmarks: those have names of their own
        return element("div", heading, *content, id=name, class_="part")
    return element("section", heading, *content, id=name, aria_labelledby=f"{name}-title")


def mark(outcome: str, word: str) -> Markup:
    """An outcome by colour, shape and word. ``outcome``: good, bad, unsure or none."""
    return element("span", _SHAPES[outcome], element("span", word), class_=f"mark {outcome}")


def _shape(outline: str, inside: str) -> Markup:
    drawn = f'<path class="outline" d="{outline}"></path><path class="inside" d="{inside}"></path>'
    return Markup(f'<svg class="shape" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{drawn}</svg>')


_SHAPES = {
    "good": _shape("M8 .5a7.5 7.5 0 1 0 0 15a7.5 7.5 0 0 0 0-15z", "M4.4 8.3l2.5 2.5l4.8-5.2"),
    "bad": _shape("M5 .5h6l4.5 4.500v6l-4.500 4.500h-6l-4.500-4.500v-6z", "M5.300 5.300l5.400 5.400M10.700 5.300l-5.400 5.400"),
    "unsure": _shape("M8 .8l7.500 13.900h-15z", "M8 5.600v4.300M8 12v.6"),
    "none": _shape("M2.500 2.500h11v11h-11z", "M5 8h6"),
}  # fmt: skip
