"""The wheel in an empty environment: what comes with it, its programs, its data, its types."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from component_tests.fakes.rich_reports import blessed
from component_tests.real_platforms.distribution.installed import Environment, environment

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def core() -> Iterator[Environment]:
    with environment() as made:
        yield made


def test_it_brings_four_packages_and_no_more(core: Environment) -> None:
    names = "import importlib.metadata as m; print(*sorted(d.name.lower() for d in m.distributions()))"
    assert core.python(names).split() == ["grpcio", "infra-validator", "protobuf", "pyyaml", "typing_extensions"]


def test_no_test_comes_with_it(core: Environment) -> None:
    top = "import importlib.metadata as m; print(*{str(f).split('/')[0] for f in m.files('infra-validator')})"
    assert {name.partition("-")[0] for name in core.python(top).split()} <= {"infra_validator", "..", "__pycache__"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("infra-validator", "--help"), "usage: infra-validator COMMAND"),
        (("infra-validator", "validate", "--help"), "usage: infra-validator validate"),
        (("python", "-m", "infra_validator", "--help"), "usage: infra-validator COMMAND"),
        (("tfs_model_status_probe", "--help"), "-addr"),
    ],
    ids=["command", "validate", "module", "probe"],
)
def test_its_programs_run(core: Environment, command: tuple[str, ...], said: str) -> None:
    done = core.run(*command)
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_extra_that_is_missing_is_named(core: Environment) -> None:
    done = core.run("infra-validator", "gc", "--docker")
    assert done.returncode == 3, done.stderr
    assert "infra-validator[docker]" in done.stdout + done.stderr


def test_a_page_is_made_with_its_style_and_script(core: Environment, tmp_path: pathlib.Path) -> None:
    verdict = tmp_path / "verdict.json"
    verdict.write_text(blessed().to_json())
    done = core.run("infra-validator", "report", verdict)
    assert done.returncode == 0, done.stderr
    assert "<style>" in done.stdout
    assert done.stdout.rstrip().endswith("</html>")


def test_its_data_is_there(core: Environment) -> None:
    read = (
        "import importlib.resources as r, json; p = r.files('infra_validator')\n"
        "json.loads((p / 'report' / 'verdict.schema.json').read_text())\n"
        "print((p / 'py.typed').is_file(), sum(f.name.endswith('.proto') for f in (p / 'protos').iterdir()) > 3)"
    )
    assert core.python(read) == "True True"


def test_its_types_are_seen(core: Environment, tmp_path: pathlib.Path) -> None:
    """mypy takes the types of an installed package where it has a py.typed only."""
    (tmp_path / "theirs.py").write_text("from infra_validator import validate\nvalidate(1)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", core.program("python"), "theirs.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1
    assert 'Argument 1 to "validate" has incompatible type "int"' in done.stdout
    assert "py.typed" not in done.stdout
