"""``infra-validator validate`` as people run it: a process, real models, real servers, what is printed and what is left."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.core.deadline import Deadline, wait_until

LOCAL: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}
FEW = {"num_tries": 2, "max_loading_time_seconds": 60}


@pytest.fixture
def scratch(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the command makes its temporary files; empty again when it has ended."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


class Command:
    """One run of the command."""

    def __init__(self, scratch: pathlib.Path, *arguments: str) -> None:
        self._scratch = scratch
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra_validator", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        self.progress: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.progress.append(line)

    def wait_for_progress(self, words: str) -> None:
        wait_until(lambda: any(words in line for line in self.progress) or None, Deadline.after(60))

    def end(self) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) once it has ended."""
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            output = stdout.read()
        code = self.process.wait(120)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code, output, "".join(self.progress)


def validate(scratch: pathlib.Path, model: pathlib.Path | str, *more: str, spec: Any = None) -> Command:
    text = spec if isinstance(spec, str) else json.dumps(spec or LOCAL)
    return Command(scratch, "validate", "--model", str(model), "--serving-spec", text, *more)


def verdict_of(command: Command, code: int) -> dict[str, Any]:
    got, output, errors = command.end()
    assert got == code, output + errors
    assert "Traceback" not in output + errors
    result: dict[str, Any] = json.loads(output)
    return result


def servers_of(scratch: pathlib.Path) -> list[int]:
    """The processes that have to do with a command's temporary files."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(scratch).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def nothing_left(scratch: pathlib.Path, seconds: float = 10) -> None:
    wait_until(lambda: (not servers_of(scratch) and not list(scratch.iterdir())) or None, Deadline.after(seconds))


@pytest.fixture
def requests_file(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "requests.json"
    file.write_text('{"instances": [1.0, 2.0]}')
    return file


def test_a_good_model_is_blessed(
    saved_models: SavedModels, scratch: pathlib.Path, requests_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "out"
    command = validate(
        scratch,
        saved_models.path("half_plus_two"),
        "--requests",
        str(requests_file),
        "--format",
        "json",
        "--output",
        str(output),
    )
    result = verdict_of(command, 0)
    assert (result["verdict"], result["reason_code"]) == ("BLESSED", "BLESSED")
    (binary,) = result["serving_binaries"]
    assert binary["attempts"][0]["requests_sent"] >= 1
    assert [phase["name"] for phase in binary["phases"]] == ["prepare", "start", "schedule", "load", "query", "stop"]
    assert "embedded" in binary["label"]
    assert json.loads((output / "verdict.json").read_text()) == result
    assert list(output.glob("*.log"))
    nothing_left(scratch)


def test_text_is_one_word_for_a_model_that_answered_and_progress_is_on_stderr(
    saved_models: SavedModels, scratch: pathlib.Path, requests_file: pathlib.Path
) -> None:
    code, output, progress = validate(
        scratch, saved_models.path("half_plus_two"), "--requests", str(requests_file)
    ).end()
    assert (code, output) == (0, "BLESSED\n")
    assert "load ok" in progress


def test_a_model_that_was_only_loaded_says_so_in_the_last_line(
    saved_models: SavedModels, scratch: pathlib.Path
) -> None:
    code, output, _ = validate(scratch, saved_models.path("half_plus_two")).end()
    assert code == 0
    first, last = output.splitlines()
    assert first.startswith("The model was loaded; no request was sent to it.")
    assert "--requests" in first
    assert "--generate" in first
    assert last == "BLESSED (loaded only: no request was sent)"


@pytest.mark.parametrize(
    "more",
    [
        ["--require-requests"],
        ["--validation-spec", '{"require_requests": true}'],
        ["--request-spec", '{"tensorflow_serving": {"signature_names": ["serving_default"]}}'],
    ],
    ids=str,
)
def test_something_to_ask_and_nothing_to_ask_it_with_is_wrong_usage(
    saved_models: SavedModels, scratch: pathlib.Path, more: list[str]
) -> None:
    code, output, progress = validate(scratch, saved_models.path("half_plus_two"), *more).end()
    assert (code, progress) == (2, "")
    assert "BAD_SPEC" in output
    assert "--requests" in output


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("missing_variables", "MODEL_FILES_INCOMPLETE"),
        ("truncated_pb", "MODEL_NOT_A_SAVED_MODEL"),
        ("unknown_op", "OP_NOT_REGISTERED"),
    ],
)
def test_a_model_that_cannot_be_served_is_not_blessed(
    saved_models: SavedModels, scratch: pathlib.Path, model: str, code: str
) -> None:
    result = verdict_of(validate(scratch, saved_models.path(model), "--format", "json"), 1)
    assert (result["verdict"], result["reason_code"]) == ("NOT_BLESSED", code)
    assert result["reason"]
    assert result["next_step"]
    nothing_left(scratch)


def test_an_unknown_signature_is_found_before_anything_is_started(
    saved_models: SavedModels, scratch: pathlib.Path, requests_file: pathlib.Path
) -> None:
    asked = json.dumps({"tensorflow_serving": {"signature_names": ["no_such"]}})
    command = validate(
        scratch,
        saved_models.path("half_plus_two"),
        *("--requests", str(requests_file), "--request-spec", asked, "--format", "json"),
    )
    result = verdict_of(command, 1)
    assert result["reason_code"] == "SIGNATURE_NOT_FOUND"
    assert result["serving_binaries"][0]["attempts"] == []


def test_a_model_that_lacks_its_variables_at_the_first_request_is_warned_of(
    saved_models: SavedModels, scratch: pathlib.Path
) -> None:
    model = saved_models.path("keras_attribute")
    result = verdict_of(validate(scratch, model, "--format", "json"), 0)
    (warning,) = result["warnings"]
    assert "model.export" in warning
    result = verdict_of(validate(scratch, model, "--generate", "--format", "json"), 1)
    assert result["reason_code"] == "REQUEST_FAILED"
    assert "Could not find variable" in result["reason"]


def test_the_server_decides_whether_a_missing_asset_matters(saved_models: SavedModels, scratch: pathlib.Path) -> None:
    result = verdict_of(validate(scratch, saved_models.path("missing_asset"), "--format", "json"), 1)
    assert result["reason_code"] == "MODEL_LOAD_FAILED"
    assert "assets/words.txt" in result["warnings"][0]


def test_only_signatures_that_are_asked_must_exist(
    saved_models: SavedModels, scratch: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    model = saved_models.copy("half_plus_two", tmp_path / "model")
    graph = (model / "saved_model.pb").read_bytes()
    (model / "saved_model.pb").write_bytes(graph.replace(b"serving_default", b"predict_b_only_"))
    file = tmp_path / "f.json"
    file.write_text('{"signature_name": "predict_b_only_", "instances": [1.0]}')
    assert verdict_of(validate(scratch, model, "--requests", str(file), "--format", "json"), 0)
    file.write_text("1.0")
    result = verdict_of(validate(scratch, model, "--requests", str(file), "--format", "json"), 1)
    assert result["reason_code"] == "SIGNATURE_NOT_FOUND"


def test_requests_are_made_up_where_there_are_none(
    saved_models: SavedModels, scratch: pathlib.Path, requests_file: pathlib.Path
) -> None:
    model = saved_models.path("two_inputs")
    names = ["matmul", "scalar", "serving_default"]  # not "uneven", whose outputs have other rows than its inputs
    asked = json.dumps({"tensorflow_serving": {"signature_names": names}, "batch_sizes": [2]})
    result = verdict_of(validate(scratch, model, "--generate", "--request-spec", asked, "--format", "json"), 0)
    assert result["evidence"]["source"] == "generated"
    assert result["evidence"]["signatures_not_asked"] == ["uneven"]
    assert result["evidence"]["requests"] == 3
    asked = json.dumps({"tensorflow_serving": {"signature_names": ["*"]}, "batch_sizes": [2]})
    result = verdict_of(validate(scratch, model, "--generate", "--request-spec", asked, "--format", "json"), 1)
    assert result["reason_code"] == "ANSWER_TYPE_DIFFERS"
    code, output, _ = validate(scratch, model, "--generate", "--requests", str(requests_file)).end()
    assert code == 2
    assert "--generate and --requests are both given" in output
    texts = saved_models.path("vocabulary")
    assert "takes strings" in verdict_of(validate(scratch, texts, "--generate", "--format", "json"), 2)["reason"]
    asked = json.dumps({"generate": {"texts": {"text": ["apple"]}}})
    assert (
        verdict_of(validate(scratch, texts, "--request-spec", asked, "--format", "json"), 0)["evidence"]["requests"]
        == 1
    )
    nothing_left(scratch)


def test_a_numpy_archive_is_a_file_of_requests(
    saved_models: SavedModels, scratch: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    numpy.savez(tmp_path / "f.npz", a=numpy.ones((3, 2)), b=numpy.ones((3, 2)))
    asked = json.dumps({"tensorflow_serving": {"signature_names": ["serving_default", "scalar"]}})
    command = validate(
        scratch,
        saved_models.path("two_inputs"),
        *("--requests", str(tmp_path / "f.npz"), "--request-spec", asked, "--format", "json"),
    )
    assert verdict_of(command, 0)["evidence"]["signatures_asked"] == ["serving_default", "scalar"]


@pytest.mark.parametrize(
    ("change", "exit_code", "reason"),
    [
        ({"model": "/does/not/exist"}, 3, "MODEL_NOT_FOUND"),
        ({"spec": {"tensorflow_serving": {}}}, 2, "BAD_SPEC"),
        ({"spec": "{"}, 2, "BAD_SPEC"),
        ({"spec": "missing.json"}, 2, "BAD_SPEC"),
        ({"spec": {**LOCAL, "model_name": "a/b"}}, 2, "BAD_SPEC"),
        ({"spec": {**LOCAL, "local_process": {"binary_path": "/does/not/exist"}}}, 3, "BINARY_NOT_FOUND"),
        ({"spec": {**LOCAL, "local_process": {"binary_path": "/"}}}, 3, "BINARY_NOT_EXECUTABLE"),
        ({"spec": {**LOCAL, "local_process": {"binary_path": "/bin/false"}}}, 1, "SERVER_EXITED"),
        ({"more": ["--validation-spec", '{"num_tries": -1}']}, 2, "BAD_SPEC"),
        ({"more": ["--request-spec", '{"num_example": 1}']}, 2, "BAD_SPEC"),
        ({"more": ["--requests", "/does/not/exist"]}, 2, "BAD_REQUESTS"),
        ({"more": ["--output", "/proc/no/such"]}, 3, "OUTPUT_NOT_WRITABLE"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_with_the_right_exit_code(
    saved_models: SavedModels, scratch: pathlib.Path, change: dict[str, Any], exit_code: int, reason: str
) -> None:
    model = change.get("model", saved_models.path("half_plus_two"))
    command = validate(scratch, model, "--format", "json", *change.get("more", []), spec=change.get("spec"))
    result = verdict_of(command, exit_code)
    assert result["reason_code"] == reason
    assert result["verdict"] == ("NOT_BLESSED" if exit_code == 1 else "INCONCLUSIVE")
    assert result["next_step"]
    nothing_left(scratch)


@pytest.mark.parametrize(
    "arguments",
    [[], ["validate"], ["validate", "--model", "x"], ["no-such-command"], ["validate", "--format", "xml"]],
    ids=str,
)
def test_wrong_usage_is_2_and_explains_itself(scratch: pathlib.Path, arguments: list[str]) -> None:
    code, output, errors = Command(scratch, *arguments).end()
    assert code == 2
    assert "usage:" in output + errors or "INCONCLUSIVE WRONG_USAGE: " in output
    assert "Traceback" not in errors


def test_a_dry_run_starts_nothing(saved_models: SavedModels, scratch: pathlib.Path) -> None:
    command = validate(scratch, saved_models.path("half_plus_two"), "--dry-run", "--format", "json")
    plan = verdict_of(command, 0)
    assert plan["platform"] == "local_process"
    assert len(plan["serving_binaries"]) == 1
    assert list(scratch.iterdir()) == []


def small_disk(folder: pathlib.Path, option: str) -> Iterator[pathlib.Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def full_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system with no room for a byte."""
    for folder in small_disk(tmp_path / "full", "size=4k"):
        (folder / "file").write_bytes(b"x" * 4096)
        yield folder


@pytest.fixture
def nearly_full_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system with room for one more entry: enough for Python to call it a place for temporary files."""
    yield from small_disk(tmp_path / "nearly_full", "nr_inodes=2")


def test_a_full_disk_for_the_output_is_found_first(
    saved_models: SavedModels, scratch: pathlib.Path, full_disk: pathlib.Path
) -> None:
    command = validate(scratch, saved_models.path("half_plus_two"), "--output", str(full_disk), "--format", "json")
    assert verdict_of(command, 3)["reason_code"] == "OUTPUT_NOT_WRITABLE"


def test_a_full_disk_for_the_temporary_files_is_not_the_models_fault(
    saved_models: SavedModels, nearly_full_disk: pathlib.Path
) -> None:
    result = verdict_of(validate(nearly_full_disk, saved_models.path("half_plus_two"), "--format", "json"), 3)
    assert result["verdict"] == "INCONCLUSIVE"
    assert result["reason_code"] == "NO_SPACE"
    assert list(nearly_full_disk.iterdir()) == []


HANG = """#!/bin/sh
exec sleep 600
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("phase", ["load", "query"])
def test_a_signal_cleans_up_in_every_phase(
    saved_models: SavedModels,
    scratch: pathlib.Path,
    tmp_path: pathlib.Path,
    number: signal.Signals,
    code: int,
    phase: str,
) -> None:
    command = held_in(phase, saved_models, scratch, tmp_path)
    command.process.send_signal(number)
    command.process.send_signal(number)
    got, output, errors = command.end()
    assert got == code, output + errors
    assert "Traceback" not in output + errors
    nothing_left(scratch)


@pytest.mark.parametrize("phase", ["load", "query"])
def test_kill_9_leaves_nothing(
    saved_models: SavedModels, scratch: pathlib.Path, tmp_path: pathlib.Path, phase: str
) -> None:
    command = held_in(phase, saved_models, scratch, tmp_path)
    command.process.kill()
    command.end()
    nothing_left(scratch)


def held_in(phase: str, saved_models: SavedModels, scratch: pathlib.Path, tmp_path: pathlib.Path) -> Command:
    """A validation that stays in a phase until it is told to end."""
    if phase == "load":
        hang = tmp_path / "hang.sh"
        hang.write_text(HANG)
        hang.chmod(0o755)
        spec = {**LOCAL, "local_process": {"binary_path": str(hang)}}
        command = validate(scratch, saved_models.path("half_plus_two"), spec=spec)
        command.wait_for_progress("schedule ok")
        return command
    slow = tmp_path / "slow.json"
    slow.write_text('{"inputs": {"seconds": 120.0}}')
    command = validate(scratch, saved_models.path("slow"), "--requests", str(slow))
    command.wait_for_progress("load ok")
    return command
