#!/usr/bin/env python3
"""Writes requirements/advisories.json again: of an advisory database, what is about packages that a lock file names.

    .venv-release/bin/python -m tools.supply_chain.advisory_excerpt CHECKOUT

CHECKOUT is a git checkout of PyPA's advisory database; the excerpt names its commit. Of each advisory only names and ranges of versions
are taken. What the excerpt lists under ``later``, each with its source, is kept.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from tools.supply_chain.vulnerabilities import EXCERPT, ROOT, pins, read


def excerpt(database: pathlib.Path) -> list[dict[str, Any]]:
    """The advisories about locked packages, in the order of the packages' names and their own."""
    known = read(database)
    locked = {name for lock in sorted((ROOT / "requirements").glob("*.lock")) for name, _ in pins(lock)}
    return [
        {"id": record["id"], "aliases": sorted(record.get("aliases", ())), "affected": [_ranges(name, affected)]}
        for name in sorted(locked & known.keys())
        for record, affected in sorted(known[name], key=lambda one: str(one[0]["id"]))
    ]


def _ranges(name: str, affected: Mapping[str, Any]) -> dict[str, Any]:
    """Which versions of a package: ranges, or a list of versions where there is no range."""
    ranges = [
        {"type": "ECOSYSTEM", "events": one["events"]}
        for one in affected.get("ranges", ())
        if one.get("type") == "ECOSYSTEM"
    ]
    said = {"ranges": ranges} if ranges else {"versions": list(affected.get("versions", ()))}
    return {"package": {"ecosystem": "PyPI", "name": name}, **said}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=pathlib.Path)
    checkout = parser.parse_args().checkout
    log = ["git", "-C", str(checkout), "log", "-1", "--format=%H %cs"]
    commit, date = subprocess.run(log, check=True, capture_output=True, text=True).stdout.split()
    old = json.loads(EXCERPT.read_text(encoding="utf-8"))
    lines = ",\n".join(f"    {json.dumps(one)}" for one in excerpt(checkout))
    later = ",\n".join(f"    {json.dumps(one)}" for one in old["later"])
    head = {
        "about": "Of PyPA's advisory database the names and ranges of what is about locked packages; later ones with their sources "
        "(tools/supply_chain/advisory_excerpt.py).",
        "database": f"PyPA's advisory database, commit {commit}",
        "known_until": f"{date}; of later ones those that are listed",
    }
    EXCERPT.write_text(
        "{\n"
        + "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
        + f'  "advisories": [\n{lines}\n  ],\n  "later": [\n{later}\n  ]\n}}\n',
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
