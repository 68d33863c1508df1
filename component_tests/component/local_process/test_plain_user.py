"""A whole validation by a user without any right, in the sandbox that is required: a good model, and one of strangers."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator.specs.local_process import SANDBOX

pytestmark = pytest.mark.bubblewrap

#: Nobody's: of each process of tests its own.
USER = 200_000 + os.getpid()

_TRY = """
import sys, tempfile
from infra_validator.model_server_runners.local_process.sandbox import Sandbox
with tempfile.TemporaryDirectory() as writable:
    print(Sandbox(["/bin/true"], {}, model="/usr", directory="/usr", writable=writable).why_not())
"""


class PlainUser:
    """Runs Python as a user that has no rights and no home, but for what every user may read, and a directory of its own.

    As root: a new user, in a mount namespace in which the interpreter, its packages and this checkout are not behind a closed door.
    Otherwise: whoever runs the tests.

    Args:
      directory: its own; everything below it becomes the user's.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    def python(self, *arguments: str, processes: int = 0) -> subprocess.CompletedProcess[str]:
        """What came of it. ``processes``: the most processes and threads that the user may have; 0: no limit of ours."""
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.directory), "PYTHONPATH": str(ROOT)}
        limited = ["prlimit", f"--nproc={processes}"] if processes else []
        command = [*limited, sys.executable, *arguments]
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", str(self.directory)], check=True)
            become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]
            script = "\n".join([*self._opened(), shlex.join([*become, *command])])
            command = ["unshare", "--mount", "sh", "-ec", script]
        return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)

    def _opened(self) -> Iterator[str]:
        """Shell commands that put what is needed where it was, below directories that everybody may pass."""
        needed = sorted({os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, ROOT)})
        closed = sorted({door for path in needed if (door := _closed_door(path))})
        aside = self.directory / "aside"
        for number, path in enumerate(needed):
            place = aside / str(number)
            place.mkdir(parents=True, exist_ok=True)
            yield shlex.join(["mount", "--rbind", path, str(place)])
        for door in closed:
            yield shlex.join(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", door])
        for number, path in enumerate(needed):
            if _closed_door(path):
                yield shlex.join(["mkdir", "-p", path])
                yield shlex.join(["mount", "--rbind", str(aside / str(number)), path])


def _closed_door(path: str) -> str:
    """The topmost directory above ``path`` that not everybody may pass; empty if there is none."""
    above = [str(one) for one in reversed(pathlib.Path(path).parents)]
    return next((one for one in above if not os.stat(one).st_mode & 0o001), "")


@pytest.fixture
def user(request: pytest.FixtureRequest) -> Iterator[PlainUser]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        os.chmod(place, 0o755)
        user = PlainUser(pathlib.Path(place))
        tried = user.python("-c", _TRY)
        assert tried.returncode == 0, tried
        if problem := tried.stdout.strip():
            why = f"no sandbox for a plain user: {problem}"
            (pytest.fail if request.config.getoption("--require-platforms") else pytest.skip)(why)
        yield user


def validated(
    user: PlainUser, model: pathlib.Path, requests: dict[str, Any], *, sandbox: str = "required", processes: int = 0
) -> dict[str, Any]:
    """The verdict on a copy of the model that is the user's own."""
    work = pathlib.Path(tempfile.mkdtemp(dir=user.directory))
    shutil.copytree(model, work / "model" / "1")
    (work / "requests.json").write_text(json.dumps(requests))
    serving = {"tensorflow_serving": {}, "local_process": {"sandbox": sandbox}}
    arguments: Sequence[str] = (
        *("-m", "infra_validator", "validate", "--model", str(work / "model" / "1")),
        *("--serving-spec", json.dumps(serving), "--validation-spec", '{"num_tries": 1}'),
        *("--requests", str(work / "requests.json"), "--output", str(work / "output")),
    )
    done = user.python(*arguments, processes=processes)
    written = work / "output" / "verdict.json"
    assert written.exists(), done
    assert os.getuid() != 0 or written.stat().st_uid == USER
    verdict: dict[str, Any] = json.loads(written.read_text())
    assert all(attempt["left_behind"] == [] for attempt in verdict["serving_binaries"][0]["attempts"])
    return verdict


def test_a_good_model_is_blessed(user: PlainUser, saved_models: SavedModels) -> None:
    verdict = validated(user, saved_models.path("half_plus_two"), {"instances": [1.0, 2.0]})
    assert verdict["verdict"] == "BLESSED", verdict
    (attempt,) = verdict["serving_binaries"][0]["attempts"]
    assert attempt["restrictions"] == [SANDBOX]


def test_a_model_reads_a_file_of_the_user_only_without_it(user: PlainUser, saved_models: SavedModels) -> None:
    secret = user.directory / "secret"
    secret.write_text("a token of somebody's")
    asked = {"signature_name": "read", "inputs": {"path": str(secret)}}
    refused = validated(user, saved_models.path("hostile"), asked)
    assert (refused["verdict"], refused["reason_code"]) == ("NOT_BLESSED", "REQUEST_FAILED"), refused
    assert "No such file" in json.dumps(refused)
    assert validated(user, saved_models.path("hostile"), asked, sandbox="off")["verdict"] == "BLESSED"


@pytest.mark.parametrize("sandbox", ["off", "required"])
def test_a_model_takes_no_more_threads_than_its_user_has(
    user: PlainUser, saved_models: SavedModels, sandbox: str
) -> None:
    """The validator's count, too: what finds none left at that moment blames nobody."""
    asked = {"signature_name": "threads", "inputs": {"number": 3000}}
    verdict = validated(user, saved_models.path("hostile"), asked, sandbox=sandbox, processes=1000)
    assert (verdict["verdict"], verdict["reason_code"]) in (
        ("NOT_BLESSED", "SERVER_KILLED"),
        ("INCONCLUSIVE", "RESOURCES_EXHAUSTED"),
    ), verdict
