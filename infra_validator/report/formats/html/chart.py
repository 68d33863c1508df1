"""Small charts as SVG: scales, axes, lines. They follow the page's colours and stretch with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

from infra_validator.report.formats.html.markup import Content, Markup, element, join, number

WIDTH, HEIGHT = 420.0, 232.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 12.0, 12.0, 40.0
_LETTER = 6.6  # how wide one is, about

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Axis:
    """Which numbers stand on an axis.

    Attributes:
      low, high: its ends.
      ticks: the numbers that are written.
      write: how.
      title: what they are.
      place: where a number lies between the ends, from 0 to 1; for other than even scales.
    """

    low: float
    high: float
    ticks: Sequence[float]
    write: Callable[[float], str]
    title: str = ""
    place: Callable[[float], float] | None = None

    def share(self, value: float) -> float:
        """Where a number lies between the ends, from 0 to 1."""
        if self.place is not None:
            return self.place(value)
        return (value - self.low) / (self.high - self.low)


def even_axis(
    low: float,
    high: float,
    write: Callable[[float], str],
    title: str = "",
    step_of: int = 10,
    *,
    ends_there: bool = False,
) -> Axis:
    """An axis with evenly written round numbers.

    Args:
      low, high: what must fit.
      write: how a number is written.
      title: what they are.
      step_of: 10 for round decimal numbers, 2 for powers of two.
      ends_there: whether the axis ends with ``high``, and not with the next round number.
    """
    if not high > low:
        high = low + (abs(low) or 1.0)
    step = (high - low) / 4
    scale = float(step_of) ** math.floor(math.log(step, step_of))
    factors = (1, 2, 2.5, 5, 10) if step_of == 10 else (1, 2)
    step = next((scale * factor for factor in factors if scale * factor >= step * 0.999), scale * step_of)
    low = math.floor(low / step) * step
    count = max(1, math.ceil(round((high - low) / step, 6)))
    ticks = [low + i * step for i in range(count + 1)]
    if ends_there:
        return Axis(low, high, [tick for tick in ticks if tick <= high], write, title)
    return Axis(low, ticks[-1], ticks, write, title)


class Chart:
    """One chart.

    Args:
      x, y: its axes.
      label: what it shows, in one sentence with its numbers: it is all that somebody who does not see it is told.
    """

    def __init__(self, x: Axis, y: Axis, label: str) -> None:
        self._x = x
        self._y = y
        self._label = label
        self._drawn: list[Markup] = []

    def at(self, x: float, y: float) -> Point:
        """Where a pair of numbers lies in the drawing."""
        across = min(1.0, max(0.0, self._x.share(x)))
        up = min(1.0, max(0.0, self._y.share(y)))
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    def line(self, points: Sequence[Point], class_: str = "line") -> None:
        """Join points."""
        if points:
            self._drawn.append(element("polyline", points=_written(self.at(x, y) for x, y in points), class_=class_))

    def area(self, points: Sequence[Point], class_: str = "area") -> None:
        """Fill what lies under points."""
        if points:
            corners = [(points[0][0], self._y.low), *points, (points[-1][0], self._y.low)]
            self._drawn.append(element("polygon", points=_written(self.at(x, y) for x, y in corners), class_=class_))

    def band(self, left: float, right: float, class_: str = "band") -> None:
        """Shade a stretch of the x axis."""
        (x, top), (end, bottom) = self.at(left, self._y.high), self.at(right, self._y.low)
        if end > x:
            self._drawn.append(element("rect", x=x, y=top, width=end - x, height=bottom - top, class_=class_))

    def bar(self, left: float, right: float, top: float, class_: str = "bar", title: str = "") -> None:
        """A bar from the x axis up."""
        (x, y), (end, bottom) = self.at(left, top), self.at(right, self._y.low)
        shape = {"x": x + 0.4, "y": y, "width": max(0.6, end - x - 0.8), "height": max(0.0, bottom - y)}
        self._drawn.append(element("rect", element("title", title) if title else None, class_=class_, **shape))

    def level(self, y: float, class_: str, word: str = "") -> None:
        """A line over the whole width, with a word on it."""
        (left, height), (right, _) = self.at(self._x.low, y), self.at(self._x.high, y)
        self._drawn.append(element("line", x1=left, y1=height, x2=right, y2=height, class_=class_))
        if word:
            above = height - 5 if height > _TOP + 14 else height + 13
            self._drawn.append(element("text", word, x=right - 2, y=above, text_anchor="end", class_="word"))

    def upright(self, x: float, class_: str, word: str = "") -> None:
        """A line over the whole height, with a word at its top."""
        (across, bottom), (_, top) = self.at(x, self._y.low), self.at(x, self._y.high)
        self._drawn.append(element("line", x1=across, y1=bottom, x2=across, y2=top, class_=class_))
        if word:
            right = across > WIDTH * 0.7
            self._drawn.append(
                element(
                    "text",
                    word,
                    x=across + (-4 if right else 4),
                    y=top + 10,
                    text_anchor="end" if right else None,
                    class_="word",
                )
            )

    def whisker(self, x: float, low: float, high: float) -> None:
        """The ends of an interval."""
        (across, bottom), (_, top) = self.at(x, low), self.at(x, high)
        left, lower, upper = number(across - 3), number(bottom), number(top)
        path = f"M{number(across)} {lower}V{upper}M{left} {upper}h6M{left} {lower}h6"
        self._drawn.append(element("path", d=path, class_="whisker"))

    def dot(self, x: float, y: float, title: str, class_: str = "dot") -> None:
        """A point that tells its numbers when it is pointed at."""
        across, up = self.at(x, y)
        self._drawn.append(element("circle", element("title", title), cx=across, cy=up, r=3.2, class_=class_))

    def word(self, x: float, y: float, word: str, anchor: str = "start", dx: float = 6, dy: float = -6) -> None:
        """A word beside a point."""
        across, up = self.at(x, y)
        self._drawn.append(
            element("text", word, x=across + dx, y=max(_TOP + 8, up + dy), text_anchor=anchor, class_="word")
        )

    def drawn(self) -> Markup:
        """The chart."""
        return element(
            "svg",
            self._axes(),
            self._drawn,
            class_="chart",
            viewBox=f"0 0 {number(WIDTH)} {number(HEIGHT)}",
            role="img",
            aria_label=self._label,
        )

    def _axes(self) -> Content:
        parts: list[Markup] = []
        for tick in self._y.ticks:
            (left, height), (right, _) = self.at(self._x.low, tick), self.at(self._x.high, tick)
            parts.append(element("line", x1=left, y1=height, x2=right, y2=height, class_="grid"))
            parts.append(element("text", self._y.write(tick), x=left - 6, y=height + 4, text_anchor="end"))
        for tick in self._x.ticks:
            across, bottom = self.at(tick, self._y.low)
            word = self._x.write(tick)
            ends = across + len(word) * _LETTER / 2 > WIDTH
            parts.append(
                element(
                    "text", word, x=WIDTH if ends else across, y=bottom + 16, text_anchor="end" if ends else "middle"
                )
            )
        left, bottom = self.at(self._x.low, self._y.low)
        right, _ = self.at(self._x.high, self._y.low)
        parts.append(element("line", x1=left, y1=bottom, x2=right, y2=bottom, class_="axis"))
        parts.append(
            element("text", self._x.title, x=(left + right) / 2, y=HEIGHT - 4, text_anchor="middle", class_="title")
        )
        return join(parts)


def figure(caption: Content, *content: Content) -> Markup:
    """A drawing with what it is."""
    return element("figure", element("figcaption", caption), *content)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the lines of a chart are: (class of the line, name)."""
    samples = [
        element("li", element("span", class_=f"sample {class_}", aria_hidden="true"), name) for class_, name in entries
    ]
    return element("ul", samples, class_="legend")


def _written(points: Iterable[Point]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)
