"""Pinned packages held against advisories: what is found, in which forms, and that what cannot be read is no pass."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest

from tools.supply_chain.advisory_excerpt import excerpt
from tools.supply_chain.vulnerabilities import ACCEPTED, EXCERPT, main

SERVED = {"ecosystem": "PyPI", "name": "Served_Thing"}


def test_no_pinned_package_has_an_advisory_that_is_not_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "It is an excerpt" in said


def advisory(*events: dict[str, str], **more: Any) -> dict[str, Any]:
    affected = {"package": SERVED, "ranges": [{"type": "ECOSYSTEM", "events": list(events)}], **more}
    return {"id": "OSV-1", "aliases": ["CVE-1"], "summary": "bad", "affected": [affected]}


@pytest.mark.parametrize(
    ("record", "hit"),
    [
        (advisory({"introduced": "0"}, {"fixed": "1.10"}), True),
        (advisory({"introduced": "0"}, {"fixed": "1.9"}), False),
        (advisory({"introduced": "2"}, {"fixed": "3"}, {"introduced": "0"}, {"fixed": "1.2"}), False),
        (advisory({"introduced": "0"}, {"last_affected": "1.9"}), True),
        (advisory({"introduced": "0"}, {"last_affected": "1.8"}), False),
        (advisory({"introduced": "1.9.post1"}), False),
        (advisory(versions=["1.9"]), True),
        (advisory({"introduced": "0"}, {"fixed": "no version"}), True),
        ({**advisory({"introduced": "0"}), "withdrawn": "2024-01-01T00:00:00Z"}, False),
    ],
)
@pytest.mark.parametrize("form", ["json", "yaml", "zip"])
def test_an_advisory_is_found(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], record: dict[str, Any], hit: bool, form: str
) -> None:
    other = {"id": "OSV-2", "affected": [{"package": {"ecosystem": "PyPI", "name": "other"}, "versions": ["1"]}]}
    database = tmp_path / "database"
    database.mkdir()
    (database / f"1.{'yaml' if form == 'yaml' else 'json'}").write_text(json.dumps(record))
    (database / "2.json").write_text(json.dumps(other))
    if form == "zip":
        database = pathlib.Path(shutil.make_archive(str(tmp_path / "all"), "zip", database))
    (tmp_path / "my.lock").write_text("served-thing==1.9 \\\n    --hash=sha256:00\n")
    assert main(["--advisories", str(database), str(tmp_path / "my.lock")]) == int(hit)
    assert ("my.lock: served-thing 1.9: OSV-1 CVE-1" in capsys.readouterr().out) is hit


def test_an_excerpt_has_names_and_ranges_of_locked_packages(tmp_path: pathlib.Path) -> None:
    ranges = [{"type": "GIT", "events": []}, {"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    packages: dict[str, dict[str, Any]] = {
        "PyYAML": {"ranges": ranges, "versions": ["1"]},
        "idna": {"versions": ["1"]},
        "no-such-package": {},
    }
    for number, (name, said) in enumerate(packages.items()):
        affected = {"package": {"ecosystem": "PyPI", "name": name}, **said}
        record = {"id": f"OSV-{number}", "aliases": ["CVE-1"], "details": "words", "affected": [affected]}
        (tmp_path / f"{number}.json").write_text(json.dumps(record))
    idna, yaml = excerpt(tmp_path)
    assert yaml == {
        "id": "OSV-0",
        "aliases": ["CVE-1"],
        "affected": [{"package": {"ecosystem": "PyPI", "name": "pyyaml"}, "ranges": ranges[1:]}],
    }
    assert idna["affected"] == [{"package": {"ecosystem": "PyPI", "name": "idna"}, "versions": ["1"]}]


def test_what_came_later_names_its_source() -> None:
    told = json.loads(EXCERPT.read_text())
    assert len(told["database"].rpartition(" ")[2]) == 40
    assert all(one["references"][0]["url"].startswith("https://") for one in told["later"])


@pytest.mark.parametrize("wrong", ["{", "[]", "{}", None])
def test_a_database_that_cannot_be_read_is_no_pass(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], wrong: str | None
) -> None:
    if wrong is not None:
        (tmp_path / "all.json").write_text(wrong)
    assert main(["--advisories", str(tmp_path / "all.json")]) == 2
    assert "nothing was checked" in capsys.readouterr().out


def test_an_acceptance_that_nothing_needs_is_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    accepted = {**json.loads(ACCEPTED.read_text()), "CVE-0 in main.lock": "it was so"}
    (tmp_path / "accepted.json").write_text(json.dumps(accepted))
    assert main(["--accepted", str(tmp_path / "accepted.json")]) == 1
    assert "accepted without a finding: CVE-0 in main.lock" in capsys.readouterr().out
