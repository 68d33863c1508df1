"""Writes the tables that the code knows best: docs/specs.md and the README's reason codes. `--check` only compares."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import typing
from typing import Any

from infra_validator.core.reason_codes import Blames, ReasonCode
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec

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


def default_of(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        value = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    if value is None:
        return "unset"
    value = getattr(value, "value", value)
    if isinstance(value, (tuple, dict)) and not value:
        return "none"
    if dataclasses.is_dataclass(value):
        return "as below"
    return f"`{value}`" if value != "" else "empty"


def nested(hint: Any) -> type | None:
    for candidate in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(candidate):
            return typing.cast(type, candidate)
    return None


def spec_section(kind: type, path: str, level: int) -> list[str]:
    lines = [f"{'#' * level} {path}", "", (kind.__doc__ or "").strip().replace("\n    ", "\n"), ""]
    lines += ["| field | default | unit | meaning |", "|---|---|---|---|"]
    hints = typing.get_type_hints(kind)
    inside = []
    for field in dataclasses.fields(kind):
        meaning = field.metadata["doc"].replace("|", "\\|")
        also = field.metadata.get("alias")
        also = f" (also `{also}`)" if also else ""
        lines.append(f"| `{field.name}`{also} | {default_of(field)} | {field.metadata['unit']} | {meaning} |")
        below = nested(hints[field.name])
        if below is not None:
            inside.append((below, f"{path}.{field.name}"))
    lines.append("")
    for below, name in inside:
        lines += spec_section(below, name, level + 1)
    return lines


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
        lines += spec_section(kind, path, 2)
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
