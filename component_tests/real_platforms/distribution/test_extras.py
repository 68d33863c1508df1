"""Each extra alone and all of them together: installed where that takes seconds, resolved alone where it is gigabytes.

``tfx``, ``airflow`` and ``decision_forests`` are only resolved here. ``make test`` runs in what ``tfx`` brings at TFX 1.16,
``make test-tfx-next`` at 1.21, ``make test-airflow`` in what ``airflow`` brings, a row of ``make test-matrix`` in what
``decision_forests`` brings.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import zipfile
from email.parser import Parser

import pytest

from component_tests.real_platforms.distribution.installed import built, environment, uv

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]

#: Extra -> what it is for, as Python that fails without it.
INSTALLED = {
    "images": "import PIL.Image",
    "load": "import infra_validator.validation.load.load_generator",
    "cli": "import infra_validator.cli.progress.drawing",
    "docker": "import infra_validator.model_server_runners.local_docker.runner",
    "kubernetes": "import infra_validator.model_server_runners.kubernetes.runner",
}
RESOLVED = ("embedded", "text", "decision_forests", "tfx", "airflow")


def resolved(extras: str, *how: str, into: pathlib.Path) -> dict[str, str]:
    """Package -> version of what pip would install for these extras, as uv finds it."""
    (into / "wanted.in").write_text(f"infra-validator[{extras}] @ {built()[0].as_uri()}\n")
    command = [uv(), "pip", "compile", "-q", "--no-annotate", "--no-header", *how, str(into / "wanted.in")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.M))


def test_every_other_extra_has_a_solution(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(built()[0]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        said = Parser().parsestr(wheel.read(name).decode())
    provided = {extra.replace("-", "_") for extra in said.get_all("Provides-Extra") or []}
    assert provided >= {*INSTALLED, *RESOLVED}
    for extra in sorted(provided - {*INSTALLED, *RESOLVED}):
        for python in ("3.10", "3.13"):
            assert resolved(extra, "--python-version", python, into=tmp_path)


@pytest.mark.parametrize("extra", sorted(INSTALLED))
def test_an_extra_alone_brings_what_it_is_for(extra: str) -> None:
    with environment(extra) as made:
        made.python(INSTALLED[extra])
        missing = [
            other for other in INSTALLED if other != extra and made.run("python", "-c", INSTALLED[other]).returncode
        ]
    assert missing  # it is this extra that brings it


def test_the_light_extras_together_agree() -> None:
    with environment(*INSTALLED) as made:
        made.python("\n".join(INSTALLED.values()))
        assert made.run("infra-validator", "validate", "--help").returncode == 0


@pytest.mark.parametrize(
    ("extras", "how", "expected"),
    [
        ("embedded", ("--python-version", "3.10"), {"tensorflow": "2.21"}),
        ("embedded,text", ("--python-version", "3.13"), {"tensorflow": "2.21", "tensorflow-text": "2.21"}),
        ("decision_forests", ("--python-version", "3.10"), {"tensorflow-decision-forests": "1."}),
        ("airflow", ("--python-version", "3.12"), {"apache-airflow": "2."}),
        ("tfx", ("--python-version", "3.10"), {"tfx": "1.16", "tensorflow": "2.16"}),
        ("tfx", ("--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_39"), {"tfx": "1.21"}),
        (
            ",".join([*INSTALLED, *RESOLVED]),
            ("--python-version", "3.10"),
            {"tfx": "1.16", "tensorflow": "2.16", "tensorflow-text": "2.16", "apache-airflow": "2.", "docker": "7."},
        ),
    ],
    ids=["embedded", "text", "decision_forests", "airflow", "tfx on 3.10", "tfx on 3.13", "all"],
)
def test_the_heavy_extras_have_a_solution(
    tmp_path: pathlib.Path, extras: str, how: tuple[str, ...], expected: dict[str, str]
) -> None:
    found = resolved(extras, *how, into=tmp_path)
    assert {
        name: version for name, version in found.items() if name in expected and version.startswith(expected[name])
    }.keys() == (expected.keys()), found
