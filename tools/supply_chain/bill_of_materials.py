#!/usr/bin/env python3
"""make sbom: the bill of materials of the wheel, in CycloneDX 1.6, beside the wheel in dist/.

    .venv-release/bin/python -m tools.supply_chain.bill_of_materials [--output FILE] WHEEL

The wheel is what it describes, with its SHA-256; its components are the packages that the wheel brings, and with the scope
``optional`` those of the light extras, in the versions of requirements/wheel.lock. cyclonedx-py lists them in an environment made for
it. The result is held against the published schema before it is written; the same wheel gives the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import bootstrap  # noqa: E402
from tools.supply_chain import licences  # noqa: E402

CONSTRAINTS = ROOT / "requirements" / "wheel.lock"
#: What is an environment of its own, and has a lock of its own, is left out: embedded, text, decision_forests, tfx, airflow.
LIGHT_EXTRAS = ("docker", "kubernetes", "load", "cli", "images")


class NotValid(Exception):
    """The bill does not follow the schema."""


def bill_of(wheel: pathlib.Path) -> str:
    """The bill of materials as JSON. Raises CalledProcessError and NotValid."""
    with tempfile.TemporaryDirectory() as place:
        bom, brought = _listed(wheel, pathlib.Path(place))
    (subject,) = (one for one in bom.components if canonicalize_name(one.name) == "infra-validator")
    bom.components.remove(subject)
    for one in bom.components:
        required = brought[canonicalize_name(one.name)] == "core"
        one.scope = ComponentScope.REQUIRED if required else ComponentScope.OPTIONAL
    subject.type = ComponentType.LIBRARY
    subject.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(wheel.read_bytes()).hexdigest()))
    subject.external_references.clear()  # where the wheel lay when it was installed
    bom.metadata.component = subject
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise NotValid(f"the bill of materials does not follow CycloneDX 1.6: {problem}")
    return text + "\n"


def _listed(wheel: pathlib.Path, home: pathlib.Path) -> tuple[Bom, dict[str, str]]:
    """What an environment with the wheel and its light extras holds, and by what each is brought."""
    found = bootstrap.find_uv(sys.executable)
    if found is None:
        raise SystemExit("sbom: uv cannot be had")
    python = home / "bin" / "python"
    wanted = f"infra-validator[{','.join(LIGHT_EXTRAS)}] @ {wheel.resolve().as_uri()}"
    for command in (
        [*found, "venv", "-q", "--allow-existing", "--python", sys.executable, str(home)],
        [*found, "pip", "install", "-q", "--python", str(python), "--constraint", str(CONSTRAINTS), wanted],
    ):
        subprocess.run(command, check=True)
    listing = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", str(python)]
    told = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
    return Bom.from_json(json.loads(told)), licences.brought_by(licences.distributions_of(python))


def name_of(wheel: pathlib.Path) -> str:
    """The bill's file name: as the wheel's, but for what it was built for."""
    with zipfile.ZipFile(wheel) as archive:
        (place,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = Parser().parsestr(archive.read(place).decode())
    return f"{said['Name'].replace('-', '_')}-{said['Version']}.cdx.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, help="default: beside the wheel")
    arguments = parser.parse_args()
    output = arguments.output or arguments.wheel.with_name(name_of(arguments.wheel))
    try:
        output.write_text(bill_of(arguments.wheel), encoding="utf-8")
    except (NotValid, subprocess.CalledProcessError) as error:
        print(f"sbom: {error}")
        return 1
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
