"""Contract 2.1 and 2.2: which children of a base path are versions, and which a policy asks for."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import pytest
from google.protobuf import text_format

from infra_validator.embedded_server.models.versions import aspired_versions, poll
from infra_validator.embedded_server.status import StatusError
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.saved_model.versions import version_of


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("0", 0),
        ("1", 1),
        ("00000123", 123),
        ("-5", -5),
        ("+5", 5),
        (" 7 ", 7),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("1.0", None),
        ("v1", None),
        ("0x1", None),
        ("1_tmp", None),
        ("latest", None),
        (".1", None),
        ("", None),
        ("\u0663", None),
    ],
)
def test_2_1_names_of_version_directories(name: str, version: int | None) -> None:
    assert version_of(name) == version


def model(base_path: pathlib.Path, policy: str = "") -> serving_pb2.ModelConfig:
    config = serving_pb2.ModelConfig(name="m", base_path=str(base_path))
    text_format.Parse(policy, config)
    return config


def children(base_path: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
    for name in names:
        (base_path / name).mkdir()
    return base_path


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", {3}),
        ("model_version_policy { latest {} }", {3}),
        ("model_version_policy { latest { num_versions: 0 } }", {3}),
        ("model_version_policy { latest { num_versions: 2 } }", {2, 3}),
        ("model_version_policy { latest { num_versions: 9 } }", {0, 2, 3}),
        ("model_version_policy { all {} }", {0, 2, 3}),
        ("model_version_policy { specific { versions: 0 versions: 2 versions: 7 } }", {0, 2}),
        ("model_version_policy { specific {} }", set()),
    ],
)
def test_2_2_policies(tmp_path: pathlib.Path, policy: str, expected: set[int]) -> None:
    base = children(tmp_path, ["0", "2", "003", "tmp_4", "x"])
    assert set(aspired_versions(model(base, policy))) == expected


def test_2_1_of_two_names_with_one_value_the_last_wins(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = children(tmp_path, ["1", "001"])
    assert aspired_versions(model(base)) == {1: str(base / "1")}
    expected = (
        f"] Duplicate version directories detected. Version 1 will be loaded from {base}/1, {base}/001 will be ignored."
    )
    assert expected in capsys.readouterr().err


def test_2_1_plain_files_and_links_count(tmp_path: pathlib.Path) -> None:
    (tmp_path / "7").write_text("")
    (tmp_path / "6").symlink_to(children(tmp_path, ["elsewhere"]) / "elsewhere")
    assert set(aspired_versions(model(tmp_path, "model_version_policy { all {} }"))) == {6, 7}


def test_2_2_specific_versions_take_the_plain_name_first(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = children(tmp_path, ["0042"])
    config = model(base, "model_version_policy { specific { versions: 42 versions: 43 } }")
    assert aspired_versions(config) == {42: str(base / "0042")}
    assert (
        "] Version 43 of servable m, which was requested to be served as a 'specific' version in the servable's version "
        "policy, was not found in the file system" in capsys.readouterr().err
    )


def test_2_2_no_versions_and_no_base_path_are_said(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert aspired_versions(model(tmp_path)) == {}
    assert (
        f"] No versions of servable m found under base path {tmp_path}. Did you forget to name your leaf directory as a "
        "number (eg. '/1/')?" in capsys.readouterr().err
    )
    gone = tmp_path / "gone"
    with pytest.raises(StatusError, match=f"Could not find base path {gone} for servable m with error NOT_FOUND"):
        aspired_versions(model(gone))


def test_2_2_one_missing_base_path_stops_the_whole_poll(tmp_path: pathlib.Path) -> None:
    good = children(tmp_path, ["1"])
    assert poll({"a": model(good), "b": model(tmp_path / "gone")}) is None
    assert poll({"a": model(good)}) == {"a": {1: str(good / "1")}}
