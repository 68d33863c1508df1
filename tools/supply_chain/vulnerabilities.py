#!/usr/bin/env python3
"""make vulnerabilities: every pinned package of every lock file, held against an advisory database on this disk.

    .venv-release/bin/python -m tools.supply_chain.vulnerabilities [--advisories PATH] [LOCK ...]

No service is asked. ``--advisories`` is a database in OSV's form: a folder or a zip of JSON or YAML records, such as OSV's PyPI dump
or a checkout of PyPA's advisory database, or one JSON file with a list of records. The default is requirements/advisories.json, an
excerpt for what the lock files name, pinned to a commit (tools/supply_chain/advisory_excerpt.py).

What is found and taken all the same stands in requirements/accepted_advisories.json with its reason. Exits with 1 for a finding that
is not, and for an acceptance without a finding.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXCERPT = ROOT / "requirements" / "advisories.json"
ACCEPTED = ROOT / "requirements" / "accepted_advisories.json"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Normalised name of a package -> its advisories, each with the part of it that is about this package.
Database = dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]]


class NotUsable(Exception):
    """A database that cannot be read, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A pinned package that an advisory is about."""

    lock: str
    package: str
    version: str
    names: tuple[str, ...]
    fixed: tuple[str, ...]
    summary: str

    def __str__(self) -> str:
        fixed = f"fixed in {', '.join(self.fixed)}" if self.fixed else "not fixed"
        said = f": {self.summary}" if self.summary else ""
        return f"{self.lock}: {self.package} {self.version}: {' '.join(self.names)} ({fixed}){said}"


def pins(lock: pathlib.Path) -> list[tuple[str, str]]:
    """(normalised name, version) of everything that a lock file pins."""
    found = map(_PIN.match, lock.read_text(encoding="utf-8").splitlines())
    return [(str(canonicalize_name(one[1])), one[2]) for one in found if one]


def read(path: pathlib.Path) -> Database:
    """The database at ``path``. Raises NotUsable."""
    database: Database = collections.defaultdict(list)
    try:
        for name, text in _files(path):
            told = json.loads(text) if name.endswith(".json") else yaml.load(text, Loader=_LOADER)
            for record in (*told.get("advisories", [told]), *told.get("later", ())):
                if record.get("withdrawn"):
                    continue
                for affected in record.get("affected", ()):
                    package = affected.get("package", {})
                    if package.get("ecosystem") == "PyPI":
                        database[str(canonicalize_name(package["name"]))].append((record, affected))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, zipfile.BadZipFile) as error:
        raise NotUsable(f"{path} is no database in OSV's form: {type(error).__name__}: {error}") from error
    if not database:
        raise NotUsable(f"{path} holds no advisory about a package of PyPI")
    return database


def _files(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    kinds = (".json", ".yaml", ".yml")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(kinds):
                    yield name, archive.read(name).decode()
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in kinds and ".git" not in file.parts and ".github" not in file.parts:
                yield file.name, file.read_text(encoding="utf-8")
    else:
        yield path.name, path.read_text(encoding="utf-8")


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether an advisory's ``affected`` is about a version: it is listed, or lies in a range of OSV's events."""
    if version in affected.get("versions", ()):
        return True
    return any(
        _in_range(Version(version), one.get("events", ()))
        for one in affected.get("ranges", ())
        if one.get("type") == "ECOSYSTEM"
    )


def _in_range(version: Version, events: Sequence[Mapping[str, Any]]) -> bool:
    told = [(Version(str(at)), kind) for event in events for kind, at in event.items() if kind != "limit"]
    inside = False
    for at, kind in sorted(told, key=lambda one: one[0]):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def findings(locks: Iterable[pathlib.Path], database: Database) -> list[Finding]:
    """What the database says of everything that is pinned."""
    found = []
    for lock in locks:
        for name, version in pins(lock):
            for record, affected in database.get(name, ()):
                try:
                    hit = is_affected(version, affected)
                except InvalidVersion:
                    hit = True  # a range that cannot be read says nothing good
                if hit:
                    ranges = [one for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM"]
                    events = [event for one in ranges for event in one.get("events", ())]
                    fixed = tuple(str(event["fixed"]) for event in events if "fixed" in event)
                    summary = record.get("summary") or str(record.get("details", "")).strip().partition("\n")[0]
                    names = (record["id"], *record.get("aliases", ()))
                    found.append(Finding(lock.name, name, version, names, fixed, summary[:100]))
    return found


def main(arguments_given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--advisories", type=pathlib.Path, default=EXCERPT)
    parser.add_argument("--accepted", type=pathlib.Path, default=ACCEPTED)
    parser.add_argument("locks", nargs="*", type=pathlib.Path, metavar="LOCK")
    arguments = parser.parse_args(arguments_given)
    locks = arguments.locks or sorted((ROOT / "requirements").glob("*.lock"))
    try:
        database = read(arguments.advisories)
    except NotUsable as error:
        print(f"vulnerabilities: nothing was checked: {error}")
        return 2
    accepted = json.loads(arguments.accepted.read_text(encoding="utf-8"))
    found = findings(locks, database)
    left, used = [], set()
    for one in found:
        keys = {f"{name} in {one.lock}" for name in one.names} & accepted.keys()
        used |= keys
        print(f"{one}", *(f"   accepted: {accepted[key]}" for key in sorted(keys)[:1]))
        if not keys:
            left.append(one)
    pinned = {name for lock in locks for name, _ in pins(lock)}
    records = {record["id"] for entries in database.values() for record, _ in entries}
    print(
        f"\nvulnerabilities: {len(locks)} lock files, {len(pinned)} packages, {len(pinned & database.keys())} of which the database "
        f"knows ({len(records)} advisories in {arguments.advisories.name}); {len(found)} findings, {len(left)} not accepted"
    )
    if arguments.advisories == EXCERPT:
        told = json.loads(EXCERPT.read_text(encoding="utf-8"))
        print(f"  It is an excerpt (known until {told['known_until']}): of the other packages it says nothing.")
        for key in sorted(accepted.keys() - used) if not arguments.locks else ():
            print(f"  accepted without a finding: {key}")
            return 1
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
