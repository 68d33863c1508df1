"""Writes the tables that the code knows best: docs/specs.md and the README's reason codes. `--check` only compares."""

from __future__ import annotations

import pathlib
import sys

from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.reader import documented

ROOT = pathlib.Path(__file__).parents[1]
BEGIN, END = "<!-- reason codes: written by tools/write_docs.py -->", "<!-- end of reason codes -->"
OUTCOMES = {
    Blames.NOBODY: "BLESSED",
    Blames.MODEL: "NOT_BLESSED",
    Blames.INFRASTRUCTURE: "INCONCLUSIVE",
    Blames.USAGE: "INCONCLUSIVE",
}


def reason_table() -> str:
    rows = ["| code | outcome | tried again | what happened | next step |", "|---|---|---|---|---|"]
    for code in ReasonCode:
        again = "yes" if code.heals else "no"
        rows.append(f"| `{code.name}` | {OUTCOMES[code.blames]} | {again} | {code.sentence} | {code.next_step} |")
    return "\n".join(rows)


def specs_page() -> str:
    lines = [
        "# Specs: every field, default and unit",
        "",
        "Written by `tools/write_docs.py` from the data classes in `infra_validator/specs/`.",
        "",
        "A spec is given as a TFX proto, a dict, JSON or YAML text, or the path of a JSON or YAML file. Field names are TFX's, in",
        "snake_case or camelCase. Unknown fields, wrong types and numbers out of range are errors that name the field, before",
        "anything is started.",
        "",
    ]
    for kind, path in (
        (ServingSpec, "serving_spec"),
        (ValidationSpec, "validation_spec"),
        (RequestSpec, "request_spec"),
    ):
        lines += documented(kind, path)
    return "\n".join(lines).rstrip() + "\n"


def readme_with_table(readme: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{reason_table()}\n\n{END}{after}"


def main() -> int:
    readme = ROOT / "README.md"
    wanted = {
        ROOT / "docs" / "specs.md": specs_page(),
        readme: readme_with_table(readme.read_text(encoding="utf-8")),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run python tools/write_docs.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
