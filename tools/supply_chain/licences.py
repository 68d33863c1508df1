#!/usr/bin/env python3
"""make licences: under which licence everything in an environment stands, held against requirements/licences.json.

    .venv-release/bin/python -m tools.supply_chain.licences [--environment .venv]

What a package says of itself is read by pip-licenses: its SPDX expression, else its classifiers, else its free text, which ``means``
translates. Of an expression with OR one side must be allowed, of one with AND both. Whatever is not allowed needs an exception with
its reason, and an exception holds for the licence that it names alone. Exits with 1 if anything is left.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
POLICY = ROOT / "requirements" / "licences.json"
PACKAGE = "infra-validator"
_SPDX = get_spdx_licensing()


@dataclasses.dataclass(frozen=True)
class Package:
    """A package of an environment.

    Attributes:
      licence: what it says of itself, in pip-licenses' words.
      comes_with: ``core``, the extras of the wheel that bring it, or ``development``.
    """

    name: str
    version: str
    licence: str
    comes_with: str = "development"


@dataclasses.dataclass(frozen=True)
class Policy:
    """requirements/licences.json.

    Attributes:
      allowed: SPDX identifiers.
      means: what packages call a licence -> its SPDX expression.
      exceptions: a package's normalised name -> the licence that it is known to have, and the reason why it is taken.
    """

    allowed: frozenset[str]
    means: Mapping[str, str]
    exceptions: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: pathlib.Path = POLICY) -> Policy:
        told = json.loads(path.read_text(encoding="utf-8"))
        return cls(frozenset(told["allowed"]), told["means"], told["exceptions"])

    def complaint(self, package: Package) -> str:
        """What is wrong with a package's licence; empty if nothing is."""
        exception = self.exceptions.get(canonicalize_name(package.name))
        if exception is not None:
            if exception["licence"] == package.licence:
                return ""
            return f"the exception is for {exception['licence']!r}, and it says {package.licence!r}"
        for part in package.licence.split("; "):  # several classifiers: each of them has to be allowed
            try:
                expression = _SPDX.parse(self.means.get(part, part), validate=True)
            except ExpressionError:
                return f"{part!r} is no SPDX expression, and licences.json does not say what it means"
            if not self._allows(expression):
                return f"{part!r} is not among the allowed licences"
        return ""

    def _allows(self, expression: Any) -> bool:
        if isinstance(expression, _SPDX.OR):
            return any(map(self._allows, expression.args))
        if isinstance(expression, _SPDX.AND):
            return all(map(self._allows, expression.args))
        return str(expression) in self.allowed


def packages(python: pathlib.Path) -> list[Package]:
    """Everything in the environment of ``python``. Raises CalledProcessError."""
    command = [sys.executable, "-m", "piplicenses", "--python", str(python), "--from=mixed", "--format=json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    brought = brought_by(distributions_of(python))
    made = [
        Package(one["Name"], one["Version"], one["License"], brought.get(canonicalize_name(one["Name"]), "development"))
        for one in listed
    ]
    return sorted(made, key=lambda one: (one.comes_with != "core", one.comes_with == "development", one.name.lower()))


def distributions_of(python: pathlib.Path) -> Iterable[importlib.metadata.Distribution]:
    """The metadata of everything in the environment of ``python``."""
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", place], check=True, capture_output=True, text=True).stdout.strip()
    return importlib.metadata.distributions(path=[found])


def brought_by(distributions: Iterable[importlib.metadata.Distribution]) -> dict[str, str]:
    """Normalised name -> ``core`` or the extras of the wheel that bring it."""
    known = {str(canonicalize_name(one.metadata["Name"])): one for one in distributions}
    if PACKAGE not in known:
        return {}
    extras = known[PACKAGE].metadata.get_all("Provides-Extra") or []
    core = _reached(known, PACKAGE, "")
    brought: dict[str, str] = {}
    for extra in (one for one in extras if one != "dev"):
        for name in _reached(known, PACKAGE, extra) - core:
            brought[name] = f"{brought[name]}, {extra}" if name in brought else extra
    return {**brought, **dict.fromkeys(core, "core")}


def _reached(known: Mapping[str, importlib.metadata.Distribution], name: str, extra: str) -> set[str]:
    """What a package with an extra of it requires, and so on, as far as it is installed."""
    done: set[tuple[str, str]] = set()
    todo = [(name, extra)]
    while todo:
        one = todo.pop()
        if one in done or one[0] not in known:
            continue
        done.add(one)
        for text in known[one[0]].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": one[1]}):
                needed = str(canonicalize_name(requirement.name))
                todo += [(needed, wanted) for wanted in ("", *requirement.extras)]
    return {one for one, _ in done}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", type=pathlib.Path, default=ROOT / ".venv", help="a virtual environment")
    parser.add_argument("--policy", type=pathlib.Path, default=POLICY)
    arguments = parser.parse_args()
    policy = Policy.read(arguments.policy)
    all_of_them = packages(arguments.environment / "bin" / "python")
    for one in all_of_them:
        excepted = policy.exceptions.get(canonicalize_name(one.name))
        because = f"   exception: {excepted['reason']}" if excepted else ""
        print(f"{one.name:<36} {one.version:<18} {one.comes_with:<28} {one.licence}{because}")
    complaints = [f"{one.name} {one.version}: {said}" for one in all_of_them if (said := policy.complaint(one))]
    print(
        f"\nlicences: {len(all_of_them)} packages, {len(complaints)} with a licence that is not allowed",
        *complaints,
        sep="\n  ",
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
