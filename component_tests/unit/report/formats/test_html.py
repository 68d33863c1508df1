"""``report.html``: what is in it, that nothing in a verdict becomes markup, and how much it weighs."""

from __future__ import annotations

import base64
import hashlib
import html.parser as html_parser
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from component_tests.fakes.rich_reports import blessed, could_not_test, every_kind, rejected
from infra_validator.report.formats.every_format import FORMATS
from infra_validator.report.formats.html.page import MOST_OCTETS, asset, html

ROOT = pathlib.Path(__file__).parents[4]

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "</style><style>body{display:none}",
    "]]><!--",
    "-->",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "a\x00b\x08c\x7fd\x85e",
    "\u202egnp.exe",
    "\ud800 lone \udfff",
    "{{ template }} ${x} %s",
    "javascript:alert(1)",
    "\ufffe\uffff",
]

VOID = {"meta", "link", "br", "input"}


class Reader(html_parser.HTMLParser):
    """Reads a page as strictly as HTML can be read: every element is closed, ids are there once."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def read(page: str) -> Reader:
    """The page, read; fails where something in it is not the page's own."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    names = [tag for tag, _ in reader.elements]
    assert (names.count("script"), names.count("style")) == (1, 1)
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(names)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src")]
        if tag == "a":
            assert re.match(r"[./#]", attributes["href"] or "")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]", page)
    assert len(page.encode()) < MOST_OCTETS
    return reader


def data(report: Any) -> Any:
    return json.loads(report.to_json())


@pytest.mark.parametrize("kind", sorted(every_kind()))
def test_verdict_reason_and_next_step_come_first(kind: str) -> None:
    report = every_kind()[kind]
    text = " ".join(" ".join(read(html(data(report))).texts).split())
    word = {"BLESSED": "Blessed", "NOT_BLESSED": "Not blessed", "INCONCLUSIVE": "Inconclusive"}[report.verdict.value]
    places = [text.index(word), text.index(report.sentence), text.index("What it rests on")]
    if not report.blessed:
        places.insert(2, text.index(str(report.to_dict()["next_step"])))
    assert places == sorted(places)
    assert report.model in text


def test_everything_that_was_measured_is_shown() -> None:
    report = rejected()
    text = " ".join(read(html(data(report))).texts)
    for title in (
        "Limits",
        "Changes of the signatures",
        "Timeline",
        "Latency",
        "Baseline",
        "Memory",
        "Warm-up",
        "What was run",
    ):
        assert title in text
    measured = report.serving_binaries[0].measurements
    assert measured is not None
    for limit in measured.limits:
        assert limit.name in text
        assert limit.detail in text
    for check in report.serving_binaries[0].evidence.checks:
        assert check.detail in text
    digest = report.serving_binaries[0].image_digest
    assert digest.startswith("sha256:")
    for shown in (
        digest,
        "Linux 6.1.0",
        "32 GiB",
        "3.11.9",
        "latency while the load ran",
        "Restoring 59: <vars & ops>",
    ):
        assert shown.lower() in text.lower()


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else() -> None:
    page = html(data(blessed()))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src &#x27;none&#x27;" in policy
    for name, directive in (("style.css", "style-src"), ("search.js", "script-src")):
        digest = base64.b64encode(hashlib.sha256(asset(name).encode()).digest()).decode()
        assert f"{directive} &#x27;sha256-{digest}&#x27;;" in policy
        assert asset(name) in page
    assert "http://www.w3.org" in page  # the icon's namespace: the only address, and nothing is asked for there
    assert len(re.findall(r"https?://", page)) == 1


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text)[:24])
@pytest.mark.parametrize("kind", ["rejected", "could_not_test"])
def test_nothing_in_a_verdict_becomes_markup(kind: str, hostile: str) -> None:
    told = with_every_text(data(every_kind()[kind]), hostile)
    read(html(told))
    read(FORMATS["html"].of_several([(f"{hostile}/verdict.json", told), (hostile, told)]))


def with_every_text(value: Any, text: str) -> Any:
    """The same data with ``text`` for every text that it holds, the words that choose a drawing included."""
    if isinstance(value, dict):
        return {key: with_every_text(inside, text) for key, inside in value.items()}
    if isinstance(value, list):
        return [with_every_text(inside, text) for inside in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("piece", ["x" * 99 + "\n", "&<>\n", "\x1b[", "\x1b]", "\u202e", "\ud800", "\U0001f600"])
def test_ten_megabytes_of_log_leave_a_page_that_opens(piece: str) -> None:
    told = data(blessed())
    told["serving_binaries"][0]["attempts"][0]["server_log_tail"] = piece * (10_000_000 // len(piece)) + "\nthe end"
    assert "the end" in "".join(read(html(told)).texts)


def test_a_verdict_of_any_size_leaves_a_page_that_opens() -> None:
    told = data(rejected())
    told["reason"] = "y" * 3_000_000
    told["warnings"] = ["&" * 10_000] * 5_000
    told["limits"] *= 2_000
    told["serving_binaries"] *= 300
    read(html(told))


def words_of_verdicts() -> list[str]:
    """The names of fields that a verdict has, and words that it holds."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.update(value)
            for inside in value.values():
                look(inside)
        elif isinstance(value, list):
            for inside in value[:3]:
                look(inside)
        elif isinstance(value, str) and len(value) < 40:
            found.add(value)

    for report in every_kind().values():
        look(data(report))
    return sorted(found)


WORDS = words_of_verdicts()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(HOSTILE + WORDS),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inside, max_size=6),
    max_leaves=30,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(WORDS), ANYTHING, max_size=12))
def test_any_json_makes_a_page(told: Any) -> None:
    read(html(told))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_verdict_in_which_anything_was_replaced_makes_a_page(chosen: st.DataObject) -> None:
    told = data(rejected())
    for _ in range(chosen.draw(st.integers(1, 4))):
        at = told
        while True:
            key = chosen.draw(st.sampled_from(sorted(at)) if isinstance(at, dict) else st.integers(0, len(at) - 1))
            inside = at[key]
            if isinstance(inside, (dict, list)) and inside and chosen.draw(st.integers(0, 4)):
                at = inside
                continue
            at[key] = chosen.draw(ANYTHING)
            break
    for form in FORMATS.values():
        form.of_one(told)
        form.of_several([("a", told), ("b", told)])
    read(html(told))


def test_a_trend_tells_each_verdict_and_links_to_its_report() -> None:
    runs = [(f"runs/{day}/verdict.json", data(could_not_test(day) if day == 2 else blessed(day))) for day in range(5)]
    reader = read(FORMATS["html"].of_several(runs))
    links = [attributes["href"] for tag, attributes in reader.elements if tag == "a"]
    assert links == [f"./runs/{day}/report.html" for day in (4, 3, 2, 1, 0)]
    text = " ".join(reader.texts)
    for title in ("5 verdicts", "p99", "Load", "Memory of the server", "files"):
        assert title in text


def test_old_verdicts_make_pages() -> None:
    old = {
        "schema_version": 1,
        "verdict": "NOT_BLESSED",
        "reason_code": "LOAD_FAILED",
        "reason": "It did not load.",
        "serving_binaries": [
            {"label": "b", "verdict": "NOT_BLESSED", "server_log_tail": "the last words", "phases": []}
        ],
    }
    assert "the last words" in "".join(read(html(old)).texts)


def test_the_signatures_are_told_with_their_types_and_shapes() -> None:
    told = data(blessed())
    told["signatures"]["classify"]["inputs"]["inputs"]["shape"] = None
    text = " ".join(" ".join(read(html(told)).texts).split())
    assert "classify inputs string of any rank classes string [any, 12] scores float [any, 12]" in text
    assert "country string [any], may be left out" in text


def test_without_the_package_for_histograms_the_percentiles_are_shown() -> None:
    program = (
        "import sys\n"
        "from component_tests.fakes.rich_reports import blessed\n"
        "verdict = blessed().to_dict()\n"
        "for name in [name for name in sys.modules if name.split('.')[0] == 'hdrh']:\n    sys.modules[name] = None\n"
        "from infra_validator.report.formats.html.page import html\n"
        "page = html(verdict)\n"
        "print('p99' in page, '<svg' in page)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "True"]
