"""The pages in a real browser: at three widths, dark and light, with nothing asked of a network, nothing on the console, nothing that
axe-core finds, and a search that works.

Screenshots are kept in ``.cache/screenshots``, to be looked at.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from component_tests.fakes.chromium import Page, chromium
from component_tests.fakes.rich_reports import every_kind, rejected
from component_tests.fakes.saved_models import ROOT
from component_tests.unit.report.formats.test_html import HOSTILE, with_every_text
from infra_validator.report.formats.every_format import FORMATS

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

_AXE = "axe-core@4.10.2"
_SHOTS = ROOT / ".cache" / "screenshots"
_WIDTHS = (360, 768, 1280)
_SCHEMES = ("light", "dark")
_AXE_OPTIONS = json.dumps({"resultTypes": ["violations"]})


def data(report: Any) -> Any:
    return json.loads(report.to_json())


def hostile() -> Any:
    return with_every_text(data(rejected()), " ".join(HOSTILE))


def pages() -> dict[str, str]:
    """The pages by their names: one for each kind of verdict, one of several, and one of a hostile verdict."""
    kinds = {name: data(report) for name, report in every_kind().items()}
    made = {name: FORMATS["html"].of_one(told) for name, told in kinds.items()}
    made["history"] = FORMATS["html"].of_several([(f"{name}/verdict.json", told) for name, told in kinds.items()])
    made["hostile"] = FORMATS["html"].of_one(hostile())
    return made


NAMES = (*every_kind(), "history", "hostile")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A directory with the pages."""
    directory = tmp_path_factory.mktemp("pages")
    for name, page in pages().items():
        (directory / f"{name}.html").write_text(page, encoding="utf-8")
    _SHOTS.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's script, fetched once with npm."""
    directory = ROOT / ".cache" / "axe-core"
    script = directory / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        directory.mkdir(parents=True, exist_ok=True)
        command = [
            "npm",
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(directory),
            _AXE,
        ]
        subprocess.run(command, check=True, timeout=240)
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.mark.parametrize("name", NAMES)
def test_a_page_opens_at_every_width_without_a_word_on_the_console_or_the_network(
    name: str, folder: pathlib.Path, page: Page
) -> None:
    url = (folder / f"{name}.html").as_uri()
    for width in _WIDTHS:
        for scheme in _SCHEMES:
            page.look(width, scheme)
            page.requests.clear()
            page.complaints.clear()
            page.open(url)
            page.screenshot(_SHOTS / f"{name}-{width}-{scheme}.png")
            assert page.complaints == []
            assert [asked for asked in page.requests if not asked.startswith("data:")] == [url]
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert paper == {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 23, 26)"}[scheme]


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_no_violation(name: str, folder: pathlib.Path, page: Page, axe: str) -> None:
    for width, scheme in ((360, "dark"), (1280, "light")):
        page.look(width, scheme)
        page.open((folder / f"{name}.html").as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        page.evaluate(axe + "; undefined")
        found = page.evaluate(f"axe.run(document, {_AXE_OPTIONS})")
        told = [f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]
        assert told == []


def test_a_log_is_folded_and_searched(folder: pathlib.Path, page: Page) -> None:
    page.look(1280, "light")
    page.open((folder / "rejected.html").as_uri())
    assert page.evaluate("[...document.querySelectorAll('details.log')].some(one => one.open)") is False
    page.evaluate(
        "(() => { const log = document.querySelector('details.log'); log.open = true;"
        " const box = log.querySelector('input'); box.value = 'restoring 5'; box.dispatchEvent(new Event('input')); })()"
    )
    shown = page.evaluate("document.querySelector('details.log pre').textContent")
    assert "Restoring 5:" in shown
    assert "Restoring 59:" in shown
    assert "Restoring 4:" not in shown
    assert page.evaluate("document.querySelector('details.log mark').textContent") == "Restoring 5"
    assert page.evaluate("document.querySelector('details.log output').textContent") == "11 lines"


def test_a_page_can_be_used_by_keyboard(folder: pathlib.Path, page: Page) -> None:
    page.look(1280, "light")
    page.open((folder / "rejected.html").as_uri())
    reached = set()
    for _ in range(60):
        for kind in ("keyDown", "keyUp"):
            page.command("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"DIV", "SUMMARY"} <= reached  # tables that scroll, logs that unfold


def test_a_page_works_without_scripts(folder: pathlib.Path, page: Page) -> None:
    page.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open((folder / "rejected.html").as_uri())
        page.screenshot(_SHOTS / "rejected-without-scripts.png")
    finally:
        page.command("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate("document.querySelector('.search').hidden") is True
    assert "Restoring 59:" in page.evaluate("document.querySelector('details.log pre').textContent")


def test_a_page_is_printed_on_white_and_nothing_is_cut_off(folder: pathlib.Path, page: Page) -> None:
    page.look(794, "dark", print_=True)
    page.open((folder / "rejected.html").as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(page.command("Page.printToPDF", printBackground=True)["data"]) > 10_000


def test_a_report_in_a_notebook_shows_in_its_frame(folder: pathlib.Path, page: Page) -> None:
    (folder / "notebook.html").write_text(
        f"<!doctype html><html lang=en><title>n</title><body>{rejected()._repr_html_()}</body></html>", encoding="utf-8"
    )
    page.look(1280, "light")
    page.complaints.clear()
    page.open((folder / "notebook.html").as_uri())
    page.screenshot(_SHOTS / "notebook.png")
    assert page.complaints == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
