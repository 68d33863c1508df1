"""``summary.md``: what a reviewer reads in a pull request, and nothing that a name could make of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from component_tests.fakes.rich_reports import blessed, could_not_test, every_kind, rejected
from component_tests.unit.report.formats.test_html import HOSTILE, with_every_text
from infra_validator.report.formats.markdown import markdown, markdown_of_several, plain


def data(report: Any) -> Any:
    return json.loads(report.to_json())


def test_the_verdict_the_reason_and_the_limits_can_be_read() -> None:
    lines = markdown(data(rejected())).splitlines()
    assert lines[0] == "### ❌ taxi: not blessed"
    assert "**LIMIT_EXCEEDED** · The model does not keep a limit of validation_spec.limits." in lines[2]
    assert lines[4].startswith("**Next step:** Look at what was measured")
    assert (
        "| latency.p99 (serving_default, batch size 1)<br>tensorflow/serving:2.19.0 | 7.9 ms | at most 5 ms | ❌ exceeded |"
        in lines
    )
    assert "<details><summary>5 checks, 1 failed</summary>" in lines


@pytest.mark.parametrize("kind", sorted(every_kind()))
def test_every_row_of_a_table_has_the_cells_of_its_head(kind: str) -> None:
    tables_are_whole(markdown(data(every_kind()[kind])))


@pytest.mark.parametrize(
    "hostile", [*HOSTILE, "a|b", "@somebody #1 **x** [a](b) `c`", "line\nline"], ids=lambda text: ascii(text)[:24]
)
def test_hostile_texts_stay_texts(hostile: str) -> None:
    text = markdown(with_every_text(data(rejected()), hostile))
    tables_are_whole(text)
    assert set(re.findall(r"</?\w+", text)) <= {
        "<br",
        "<sub",
        "</sub",
        "<details",
        "</details",
        "<summary",
        "</summary",
    }
    assert not re.search(r"[@`\[\]]", text)


def test_words_with_underscores_stay_readable() -> None:
    assert plain("serving_default: a_b 1:2") == "serving_default: a_b 1:2"
    assert plain("_x_ https://a :tada:") == "&#95;x&#95; https&#58;//a &#58;tada:"


def test_several_are_one_table_in_the_order_of_time() -> None:
    runs = [(str(day), data(could_not_test(day) if day == 1 else blessed(day))) for day in (2, 0, 1)]
    lines = markdown_of_several(runs).splitlines()
    assert [line.split(" | ")[1] for line in lines[4:]] == [
        "✅ taxi: blessed",
        "⚠️ taxi: could not be tested",
        "✅ taxi: blessed",
    ]
    tables_are_whole("\n".join(lines))


def tables_are_whole(text: str) -> None:
    width = 0
    for line in text.splitlines():
        cells = line.count("|") - 1 if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells
