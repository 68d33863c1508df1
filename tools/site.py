"""Hooks of the documentation site (mkdocs.yml): pages made of the files beside ``docs/`` and of the code, and links between them.

- Overview, How it works, Contributing and Changelog are README.md, ARCHITECTURE.md, CONTRIBUTING.md and CHANGELOG.md.
- Reason codes come from ``core/reason_codes.py``, How it works shows the folders as tools/map.py finds them.
- A page ends with the files of ``configs/`` that it names, to be copied.
- Pages of ``docs/`` that mkdocs.yml does not list stand in its last part.
"""

from __future__ import annotations

import pathlib
import posixpath
import re
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mkdocs.structure.files import File, Files  # noqa: E402

from tools.map import rows  # noqa: E402
from tools.write_docs import BEGIN, END, reason_table  # noqa: E402

#: Page of the site -> the file of the repository that it is made of.
MADE_OF = {
    "index.md": "README.md",
    "how_it_works.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_DIAGRAM = re.compile(r"```mermaid\n.*?```", re.S)
_CONFIG = re.compile(r"`(configs/[\w./-]+\.yaml)`")


def on_config(config: Any) -> Any:
    """Add the pages that the navigation does not name to its last part."""
    text = str(config["nav"])
    named = {*re.findall(r"[\w/]+\.md", text), *MADE_OF}
    found = sorted(path.name for path in pathlib.Path(config["docs_dir"]).glob("*.md"))
    (last,) = config["nav"][-1].values()
    last[:0] = [name for name in found if name not in named]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    for page, source in MADE_OF.items():
        files.append(File.generated(config, page, content=page_of(source)))
    text = f"# Reason codes\n\nThe codes are stable: never renamed, never reused.\n\n{reason_table()}\n"
    files.append(File.generated(config, "reason_codes.md", content=text))
    return files


def page_of(source: str) -> str:
    """A file of the repository as a page: the tables and diagrams that the site has elsewhere or cannot draw are replaced."""
    text = (ROOT / source).read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    if begin:
        text = (
            before
            + "[All reason codes](docs/reason_codes.md), with what happened and the next step."
            + rest.partition(END)[2]
        )
    return _DIAGRAM.sub(lambda _: "```text\n" + "\n".join(rows()) + "\n```", text)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files into links between pages, and show the files that the page names."""
    name = page.file.src_uri
    source = MADE_OF.get(name, f"docs/{name}")
    markdown = _LINK.sub(
        lambda found: f"[{found[1]}]({link(found[2], source)})" if link(found[2], source) else found[1], markdown
    )
    named = [path for path in dict.fromkeys(_CONFIG.findall(markdown)) if (ROOT / path).is_file()]
    if not named:
        return markdown
    shown = [f'??? example "{path}"\n\n    ```yaml\n{_indented((ROOT / path).read_text())}    ```\n' for path in named]
    return markdown.rstrip() + "\n\n## The files\n\n" + "\n".join(shown)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def link(target: str, source: str) -> str:
    """Where a link of the file ``source`` leads on the site; empty if the site has no such page."""
    if re.match(r"[a-z]+:|#", target):
        return target
    path, _, anchor = target.partition("#")
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if (inside, anchor) == ("README.md", "reason-codes"):
        return "reason_codes.md"
    pages = {file: page for page, file in MADE_OF.items()}
    page = pages.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else "")
    return f"{page}#{anchor}" if page and anchor else page
