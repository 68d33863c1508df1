"""What is in the wheel and the sdist, what they say of themselves, and that the same files give the same wheel."""

from __future__ import annotations

import email.message
import email.parser
import os
import pathlib
import subprocess
import tarfile
import zipfile

import pytest

from component_tests.conftest import python_of
from component_tests.fakes.saved_models import ROOT
from component_tests.real_platforms.distribution.installed import built

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]


def names_in_wheel() -> set[str]:
    return set(zipfile.ZipFile(built()[0]).namelist())


def metadata() -> email.message.Message:
    with zipfile.ZipFile(built()[0]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(wheel.read(name).decode())


def tracked(folder: str) -> set[str]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", folder], check=True, capture_output=True, text=True)
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_holds_the_package_all_of_it_and_nothing_else() -> None:
    package = {name for name in names_in_wheel() if ".dist-info/" not in name}
    assert package == tracked("infra_validator")


def test_the_sdist_builds_the_same_wheel(tmp_path: pathlib.Path) -> None:
    """``built`` makes the wheel of the sdist; this one is made of the checkout's files."""
    with tarfile.open(built()[1]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked("infra_validator") | {"pyproject.toml", "README.md", "LICENSE"} <= inside
    subprocess.run(["git", "clone", "-q", ROOT, tmp_path / "clone"], check=True)
    for name in tracked("."):
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / name).write_bytes((ROOT / name).read_bytes())
    command = [
        python_of("release"),
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        str(tmp_path),
        str(tmp_path / "clone"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    (wheel,) = tmp_path.glob("*.whl")
    assert content(wheel) == content(built()[0])


def content(wheel: pathlib.Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_two_builds_give_the_same_bytes(tmp_path: pathlib.Path) -> None:
    """Of another folder, at another time, by another user's umask, with another hash seed."""
    command = [python_of("release"), str(ROOT / "tools" / "build_distribution.py"), "--output", str(tmp_path / "again")]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TMPDIR": str(tmp_path), "TZ": "Asia/Tokyo"}
    subprocess.run(command, check=True, capture_output=True, env=environment, umask=0o077, timeout=240)
    (wheel,) = (tmp_path / "again").glob("*.whl")
    assert wheel.read_bytes() == built()[0].read_bytes()


def test_twine_has_nothing_to_complain_of() -> None:
    done = subprocess.run(
        [python_of("release"), "-m", "twine", "check", "--strict", *built()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_says_what_an_index_shows() -> None:
    said = metadata()
    assert said["License-Expression"] == "Apache-2.0"
    assert said["License-File"] == "LICENSE"
    assert said["Requires-Python"] in (">=3.10,<3.14", "<3.14,>=3.10")
    classifiers = said.get_all("Classifier") or []
    assert not [one for one in classifiers if one.startswith("License ::")]  # the expression says it
    for version in ("3.10", "3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in classifiers
    assert {one.partition(",")[0] for one in said.get_all("Project-URL") or []} >= {
        "Documentation",
        "Changelog",
        "Issues",
    }
