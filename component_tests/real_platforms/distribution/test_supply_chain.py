"""The wheel's supply chain: licences, the bill of materials, code that is generated."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from typing import Any

import pytest

from component_tests.conftest import python_of
from component_tests.fakes import pythons
from component_tests.fakes.saved_models import ROOT
from component_tests.real_platforms.distribution.installed import built

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]


def tool(name: str, *arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [python_of("release"), "-m", f"tools.supply_chain.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)


def test_every_licence_is_allowed() -> None:
    done = tool("licences", "--environment", pathlib.Path(sys.prefix))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"^protobuf +\S+ +core ", done.stdout, re.M)
    assert re.search(r"^pytest +\S+ +development ", done.stdout, re.M)


def test_a_licence_that_is_not_allowed_is_told(tmp_path: pathlib.Path) -> None:
    exception = {"licence": "GPL-3.0-only", "reason": "it was so"}
    policy = {"allowed": ["BSD-3-Clause"], "means": {"MIT License": "MIT"}, "exceptions": {"build": exception}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    home = pathlib.Path(python_of("release")).parents[1]
    done = tool("licences", "--policy", tmp_path / "policy.json", "--environment", home)
    assert done.returncode == 1, done.stderr[-3000:]
    assert re.search("packaging .*: 'Apache-2.0 OR BSD-2-Clause' is not among the allowed licences", done.stdout)
    assert re.search("build .*: the exception is for 'GPL-3.0-only', and it says 'MIT", done.stdout)
    assert "is no SPDX expression, and licences.json does not say what it means" in done.stdout


@functools.cache
def bill() -> dict[str, Any]:
    output = built()[0].with_name("bill.cdx.json")
    done = tool("bill_of_materials", "--output", output, built()[0])
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(output.read_text())
    return told


def test_the_bill_of_materials_is_of_the_wheel() -> None:
    subject = bill()["metadata"]["component"]
    assert bill()["specVersion"] == "1.6"
    assert subject["name"] == "infra-validator"
    assert f"-{subject['version']}-" in built()[0].name
    digest = hashlib.sha256(built()[0].read_bytes()).hexdigest()
    assert subject["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_the_bill_of_materials_lists_what_the_wheel_brings() -> None:
    scopes = {part["name"].lower(): part["scope"] for part in bill()["components"]}
    required = {name for name, scope in scopes.items() if scope == "required"}
    assert required == {"grpcio", "protobuf", "pyyaml", "typing_extensions"}
    assert scopes.keys() - required >= {"docker", "kubernetes", "websocket-client", "rich", "hdrhistogram", "pillow"}
    locked = (ROOT / "requirements" / "wheel.lock").read_text().lower()
    for part in bill()["components"]:
        pin = rf"^{re.escape(part['name'].lower().replace('_', '-'))}=={re.escape(part['version'])}[ ;]"
        assert re.search(pin, locked, re.M), part["name"]


def test_the_bill_of_materials_names_no_place_of_this_machine() -> None:
    assert str(ROOT) not in json.dumps(bill())
    assert str(built()[0].parent) not in json.dumps(bill())


def test_make_protos_leaves_no_difference(tmp_path: pathlib.Path) -> None:
    python = pythons.python_of("3.10")  # the generator is as old as protobuf 3.20
    assert python, "there is no Python 3.10"
    generator = pathlib.Path("tools", "generate_protos.sh")
    folder = pathlib.Path("infra_validator", "protos")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / generator, tmp_path / generator)
    shutil.copytree(ROOT / folder, tmp_path / folder, ignore=lambda _, names: [n for n in names if "_pb2.py" in n])
    subprocess.run(
        [tmp_path / generator], env={**os.environ, "PYTHON": python}, check=True, capture_output=True, timeout=500
    )
    made = {path.name: path.read_text() for path in (tmp_path / folder).glob("*_pb2.py*")}
    assert made == {path.name: path.read_text() for path in (ROOT / folder).glob("*_pb2.py*")}
    with zipfile.ZipFile(built()[0]) as wheel:
        assert {name for name in wheel.namelist() if "_pb2.py" in name} == {
            f"{folder.as_posix()}/{name}" for name in made
        }
