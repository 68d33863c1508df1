"""The documentation site: built strictly, without any network, with every page, and looked at in Chromium."""

from __future__ import annotations

import contextlib
import functools
import html.parser
import http.server
import os
import pathlib
import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest
import yaml

from component_tests.conftest import python_of
from component_tests.fakes.chromium import chromium
from component_tests.fakes.saved_models import ROOT
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.reason_codes import ReasonCode

pytestmark = [pytest.mark.docs, pytest.mark.slow, pytest.mark.timeout(900)]

_SHOTS = ROOT / ".cache" / "screenshots"
_SECONDS = 600


def build(source: pathlib.Path, site: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """The site of the tree ``source``, made in a network namespace that holds nothing where the machine lets us have one."""
    command = [python_of("docs"), "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    if os.geteuid() == 0 and shutil.which("unshare"):
        command = ["unshare", "--net", *command]
    return subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=_SECONDS, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT, directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


class Loaded(html.parser.HTMLParser):
    """What a page loads by itself: scripts, styles, images."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag in ("script", "img", "iframe") and known.get("src"):
            self.found.append(str(known["src"]))
        if tag == "link" and known.get("href"):
            self.found.append(str(known["href"]))


def test_every_page_is_there(site: pathlib.Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert {path.stem for path in site.glob("*.html")} >= pages | {
        "index",
        "reason_codes",
        "how_it_works",
        "contributing",
        "changelog",
    }
    codes = (site / "reason_codes.html").read_text()
    assert [code.name for code in ReasonCode if f"<code>{code.name}</code>" not in codes] == []


def test_the_order_of_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    parts = [next(iter(part)) for part in nav]
    order = ["Tutorial", "Coming from TFX", "Platforms", "Reference", "Extending", "Security", "How it works"]
    assert [part for part in parts if part in order] == order
    platforms = next(part["Platforms"] for part in nav if "Platforms" in part)
    assert platforms == ["local_process.md", "docker.md", "kubernetes.md", "address.md"]


def test_pages_load_nothing_from_elsewhere(site: pathlib.Path) -> None:
    for page in site.glob("*.html"):
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert [address for address in loaded.found if "//" in address] == [], page.name


def test_the_ready_files_are_shown_where_they_are_named(site: pathlib.Path) -> None:
    page = (site / "ci.html").read_text()
    for file in ("configs/ci/github_actions.yaml", "configs/argo/analysis_template.yaml"):
        assert f"<summary>{file}</summary>" in page
    assert "actions/upload-artifact" in page


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "component_tests", "benchmarks", "pipelines"))
    (tree / "docs" / "verdict.md").write_text("# Verdict\n\n[nowhere](nowhere.md) and [nothing](limits.md#nothing)\n")
    done = build(tree, tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere.md" in done.stdout + done.stderr
    assert "#nothing" in done.stdout + done.stderr


@pytest.mark.chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_in_a_browser(site: pathlib.Path, tmp_path: pathlib.Path, width: int, scheme: str) -> None:
    """Screenshots are kept in ``.cache/screenshots``, to be looked at."""
    _SHOTS.mkdir(parents=True, exist_ok=True)
    with chromium(tmp_path) as page:
        page.look(width, scheme)
        for name in ("index", "ci", "reason_codes", "how_it_works", "security"):
            page.requests.clear()
            page.open((site / f"{name}.html").as_uri())
            page.screenshot(_SHOTS / f"site-{name}-{width}-{scheme}.png")
            assert [asked for asked in page.requests if not asked.startswith(("file:", "data:", "blob:"))] == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            wanted = {"light": "default", "dark": "slate"}[scheme]
            assert page.evaluate("document.body.dataset.mdColorScheme") == wanted


@contextlib.contextmanager
def served(site: pathlib.Path) -> Iterator[str]:
    """The site on a web server: a page from a file may start no worker, and the search is one."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.chromium
def test_the_search_finds_what_is_asked(site: pathlib.Path, tmp_path: pathlib.Path) -> None:
    found = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.href)"
    with served(site) as address, chromium(tmp_path) as page:
        page.look(1280, "light")
        page.open(f"{address}/index.html")
        page.evaluate("document.querySelector('[data-md-component=search-query]').focus()")
        page.command("Input.insertText", text="SERVER_EXITED")
        links = wait_until(lambda: page.evaluate(found) or None, Deadline.after(60))
        assert any("reason_codes.html" in link for link in links), links
        assert [asked for asked in page.requests if not asked.startswith((address, "data:", "blob:"))] == []
