"""docs/probe.md says what the code does: its table of exit codes, its flags, its example of JSON."""

from __future__ import annotations

import json
import pathlib
import re

from infra_validator.probe import exit_codes
from infra_validator.probe.json_output import dumps
from infra_validator.probe.settings import usage_text
from infra_validator.probe.sidecar.server import Flags

TEXT = (pathlib.Path(__file__).parents[3] / "docs" / "probe.md").read_text()


def test_the_table_of_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert {int(code): (name, when) for code, name, when in rows} == exit_codes.TABLE


def test_every_flag_is_told_and_every_flag_told_exists() -> None:
    flags = set(re.findall(r"^  -(\S+)", usage_text("probe"), re.MULTILINE))
    table = TEXT[TEXT.index("## Flags") : TEXT.index("### Which version counts")]
    told = set(re.findall(r"^\|? ?`--?([a-z-]+)`|(?<=, )`--?([a-z-]+)`", table, re.MULTILINE))
    assert {one or other for one, other in told} == flags
    sidecar = {flag.name for flag in Flags().all()}
    everywhere = set(re.findall(r"`--?([a-z][a-z-]+)[`= ]", TEXT)) - {"flag", "help"}
    assert everywhere <= flags | sidecar


def test_the_example_of_json_is_what_comes() -> None:
    example = re.search(r'^    (\{"addr".*?\}\]\}\]\})$', TEXT, re.MULTILINE | re.DOTALL)
    assert example is not None
    text = " ".join(line.strip() for line in example[1].splitlines())
    assert dumps(json.loads(text)) == text
