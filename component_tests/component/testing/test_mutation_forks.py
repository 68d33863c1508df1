"""What judges mutants (``make mutants``) sees a fault in a module, and sees none where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from component_tests.fakes.saved_models import ROOT

FILE = "infra_validator/core/states.py"
TESTS = ["component_tests/unit/core/test_states.py"]


def judged(*sources: str) -> list[dict[str, Any]]:
    """What becomes of the tests with each of these sources of the module."""
    tasks = [{"file": FILE, "source": source, "tests": TESTS, "cpu_seconds": 60, "seconds": 200} for source in sources]
    done = subprocess.run(
        [sys.executable, "-m", "tools.mutation.forks"],
        input="\n".join(map(json.dumps, tasks)),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_fault_is_seen_and_only_a_fault() -> None:
    sound = (ROOT / FILE).read_text()
    faulty = sound.replace('SCHEDULED = "Scheduled"', 'SCHEDULED = "Planned"')
    fine, killed, broken = judged(sound, faulty, "import nowhere\n")
    assert fine["outcome"] == "survived", fine["output"]
    assert killed["outcome"] == "killed"
    assert "Planned" in killed["output"]
    assert broken["outcome"] == "killed"
    assert (ROOT / FILE).read_text() == sound
