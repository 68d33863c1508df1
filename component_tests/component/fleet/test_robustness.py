"""What goes wrong around a fleet: servers that crash and lie, models that vanish, a fleet that is killed, a disk that is full."""

from __future__ import annotations

import collections
import json
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

from component_tests.component.cli.test_command_line import Command, nothing_left
from component_tests.component.cli.test_command_line import scratch as scratch
from component_tests.component.fleet.test_validate_fleet import SPEC, fleet_of, states, verdicts
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import UsageError, Verdict, validate_fleet
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.reason_codes import ReasonCode

MODEL = "half_plus_two_tf2"
REQUESTS = [{"inputs": {"x": [1.0, 2.0, 5.0]}}]

#: A server's mode, and what becomes of the model that it serves.
SERVERS = {
    "good": ("BLESSED", "BLESSED"),
    "ignores_sigterm": ("BLESSED", "BLESSED"),
    "forks": ("BLESSED", "BLESSED"),
    "exits_1": ("NOT_BLESSED", "SERVER_EXITED"),
    "segfault": ("NOT_BLESSED", "SERVER_KILLED"),
    "dies_at_predict": ("NOT_BLESSED", "SERVER_EXITED"),
    "lies_nan": ("NOT_BLESSED", "ANSWER_NOT_FINITE"),
    "lies_garbage": ("NOT_BLESSED", "ANSWER_UNREADABLE"),
    "lies_wrong_dtype": ("NOT_BLESSED", "ANSWER_TYPE_DIFFERS"),
}


def program(directory: pathlib.Path, mode: str) -> str:
    """A serving binary that misbehaves; it writes a line to ``<mode>.started`` each time."""
    path = directory / f"server_{mode}"
    server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", mode])
    started = shlex.quote(str(directory / f"{mode}.started"))
    path.write_text(f'#!/bin/sh\necho x >> {started}\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
    path.chmod(0o755)
    return str(path)


def on(binary: str) -> dict[str, Any]:
    return {
        "tensorflow_serving": {},
        "local_process": {"binary_path": binary},
        "model_name": "m",
    }


def test_a_server_that_crashes_or_lies_is_one_line(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    (tmp_path / "requests.json").write_text(json.dumps(REQUESTS))
    model = str(saved_models.path(MODEL))
    entries = [{"model": model, "name": mode, "serving_spec": on(program(tmp_path, mode))} for mode in SERVERS]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    report = validate_fleet(
        tmp_path / "list.json",
        SPEC,
        {"num_tries": 1, "stop_grace_seconds": 1},
        requests=str(tmp_path / "requests.json"),
        at_once=3,
    )
    assert {line.name: (line.verdict.value, line.reason_code) for line in report.models} == SERVERS
    assert report.verdict is Verdict.NOT_BLESSED


@pytest.mark.parametrize("output", [False, True], ids=["kept nowhere", "kept"])
def test_a_model_that_vanishes_is_no_verdict_and_the_others_go_on(
    saved_models: SavedModels, tmp_path: pathlib.Path, output: bool
) -> None:
    for name in ("a", "b", "c"):
        shutil.copytree(saved_models.base_path("half_plus_two"), tmp_path / "models" / name)

    def after_the_first(line: str) -> None:
        if line.startswith("[1/3]"):
            shutil.rmtree(tmp_path / "models" / "b")

    kept = tmp_path / "out" if output else None
    report = validate_fleet(tmp_path / "models", SPEC, at_once=1, output=kept, on_progress=after_the_first)
    assert [(line.name, line.verdict.value, line.reason_code) for line in report.models] == [
        ("a", "BLESSED", "BLESSED"),
        ("b", "INCONCLUSIVE", "MODEL_NOT_FOUND"),
        ("c", "BLESSED", "BLESSED"),
    ]
    if kept is not None:
        assert verdicts(fleet_of(kept))["b"] == ("INCONCLUSIVE", "MODEL_NOT_FOUND")


def test_two_directories_of_one_name_are_told_apart_or_refused(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    for team in ("eu", "us"):
        shutil.copytree(saved_models.base_path("half_plus_two"), tmp_path / team / "fare")
    with pytest.raises(UsageError) as caught:
        validate_fleet(tmp_path / "*" / "fare", SPEC, output=tmp_path / "out")
    assert f"{tmp_path}/us/fare: the name 'fare' is taken by {tmp_path}/eu/fare" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_in_a_list_is_named_before_anything_starts(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(saved_models.base_path("half_plus_two"), tmp_path / "good")
    (tmp_path / "file").write_text("no directory")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "spec.yaml").write_bytes(b"\xff\xfe")
    entries = [
        "good",
        "file",
        "dangling",
        {"model": "good", "name": "a", "serving_spec": "none.yaml"},
        {"model": "good", "name": "b", "serving_spec": "spec.yaml"},
        {"model": "good", "name": "c", "validation_spec": {"num_tries": 0}},
    ]
    listed = tmp_path / "list.yaml"
    listed.write_text("".join(f"- {json.dumps(entry)}\n" for entry in entries))
    with pytest.raises(UsageError) as caught:
        validate_fleet(listed, SPEC, output=tmp_path / "out")
    for line in range(2, 7):
        assert f"list.yaml:{line}" in str(caught.value)
    assert "list.yaml:1" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    listed.write_bytes(b"- good\n- \xff\n")
    with pytest.raises(UsageError, match="cannot be read"):
        validate_fleet(listed, SPEC)


@pytest.mark.parametrize("field", ["requests", "golden"])
def test_a_file_that_is_not_there_is_named_before_anything_starts(
    saved_models: SavedModels, tmp_path: pathlib.Path, field: str
) -> None:
    model, listed = str(saved_models.path("half_plus_two")), tmp_path / "list.yaml"
    listed.write_text(f"- {model}\n- {{model: {model}, name: b, {field}: none.json}}\n")
    with pytest.raises(UsageError, match=rf"list\.yaml:2\.{field}: there is no file .*/none\.json"):
        validate_fleet(listed, SPEC, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_fleet_that_is_ended_leaves_nothing_and_asks_nothing_again(
    saved_models: SavedModels, tmp_path: pathlib.Path, scratch: pathlib.Path, number: signal.Signals
) -> None:
    """Four models are decided when two others hang; the fleet is ended, and resumed with servers that do not hang."""
    (tmp_path / "requests.json").write_text(json.dumps(REQUESTS))
    model, mute = str(saved_models.path(MODEL)), program(tmp_path, "mute")
    decided = ["good", "lies_nan", "exits_1", "segfault"]
    entries = [{"model": model, "name": mode, "serving_spec": on(program(tmp_path, mode))} for mode in decided]
    hanging = [{"model": model, "name": name, "serving_spec": on(mute)} for name in ("x", "y", "z")]
    listed, output = tmp_path / "list.json", tmp_path / "out"
    listed.write_text(json.dumps([*entries, *hanging]))
    fixed = ["--models", str(listed), "--serving-spec", SPEC, "--requests", str(tmp_path / "requests.json")]
    fixed += [
        "--validation-spec",
        '{"num_tries": 1, "stop_grace_seconds": 1, "max_loading_time_seconds": 600}',
        "--output",
        str(output),
    ]
    command = Command(scratch, "validate", *fixed, "--at-once", "2")
    kept = [output / "models" / name / "fingerprint" for name in decided]
    wait_until(lambda: all(one.is_file() for one in kept) or None, Deadline.after(120))
    started = tmp_path / "mute.started"
    wait_until(lambda: (started.exists() and started.read_text() == "x\nx\n") or None, Deadline.after(120))
    command.process.send_signal(number)
    code, _, errors = command.end()
    assert code == (-number if number is signal.SIGKILL else 128 + number), errors
    nothing_left(scratch, 30)
    assert (output / "fleet.json").is_file() is (number is not signal.SIGKILL)  # a report that is there is whole

    (tmp_path / "server_mute").write_text((tmp_path / "server_good").read_text())
    ended = Command(scratch, "validate", *fixed, "--resume").end()
    assert ended[0] == 1, ended[2]
    told = fleet_of(output)
    assert verdicts(told) == {**{name: SERVERS[name] for name in decided}, **dict.fromkeys("xyz", SERVERS["good"])}
    assert collections.Counter(states(told).values()) == {"kept": 4, "validated": 3}
    for mode in ("lies_nan", "exits_1", "segfault"):
        assert (tmp_path / f"{mode}.started").read_text() == "x\n", mode
    assert (tmp_path / "good.started").read_text() == "x\n" * 4  # once for itself, and for x, y and z
    assert list(output.rglob(".*")) == []  # nothing half written
    nothing_left(scratch, 30)


FULL = """
import json, os, pathlib, subprocess, sys
output, models, spec = sys.argv[1:]
pathlib.Path(output).mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", output], check=True)
from infra_validator.cli.validate import main

code = main(["--models", models, "--serving-spec", spec, "--generate", "--quiet", "--at-once", "1", "--output", output])
os.remove(f"{output}/filler") if os.path.exists(f"{output}/filler") else None
names = sorted(str(path.relative_to(output)) for path in pathlib.Path(output).rglob("verdict.json"))
print(json.dumps({"code": code, "verdicts": names, "whole": os.path.exists(f"{output}/fleet.json")}))
"""


def in_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    """Run with mounts of its own, so that nothing of them is left."""
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "--user", *command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_disk_that_gets_full_is_said_and_no_verdict_is_half_there(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    if in_namespace("true").returncode != 0:
        pytest.skip("no namespace with mounts of its own can be made here")
    for number in range(12):
        shutil.copytree(saved_models.base_path("half_plus_two"), tmp_path / "models" / f"m{number:02}")
    ended = in_namespace(sys.executable, "-c", FULL, str(tmp_path / "out"), str(tmp_path / "models"), SPEC)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last["code"] == 3
    assert "OUTPUT_NOT_WRITABLE" in ended.stdout
    assert "No space left on device" in ended.stdout
    assert 0 < len(last["verdicts"]) < 12
    assert not last["whole"]


def test_a_model_whose_directory_cannot_be_made_is_its_own_line(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(saved_models.base_path("half_plus_two"), tmp_path / "models" / name)
    output = tmp_path / "out"
    (output / "models").mkdir(parents=True)
    (output / "models" / "a").write_text("in the way")
    report = validate_fleet(tmp_path / "models", SPEC, output=output)
    assert [line.reason_code for line in report.models] == [ReasonCode.OUTPUT_NOT_WRITABLE.name, "BLESSED"]
    assert fleet_of(output)["verdict"] == "INCONCLUSIVE"
