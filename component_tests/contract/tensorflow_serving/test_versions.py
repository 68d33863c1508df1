"""Contract 2 and 4: which directories are versions, policies, loads and unloads, model status."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Sequence

import pytest
from google.protobuf import text_format

from component_tests.contract.tensorflow_serving.requests import (
    INVALID_ARGUMENT,
    MODEL,
    NOT_FOUND,
    PREDICTION,
    fails,
    predict_request,
    spec,
    status,
    tensor,
)
from component_tests.fakes.embedded_server_process import EmbeddedServerProcess, embedded_server
from component_tests.fakes.saved_models import SavedModels
from infra_validator.embedded_server.status import StatusError
from infra_validator.embedded_server.versions import aspired_versions, poll, version_of
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

X = tensor([1.0])
AVAILABLE = "AVAILABLE"


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


# --------------------------------------------------------------------------------------------- with a running server


def wait_for_status(server: EmbeddedServerProcess, name: str, expected: list[tuple[int, str, int, str]]) -> None:
    server.wait_until(lambda: status(server, spec(name)) == expected, f"the status {expected}")


def test_2_3_a_new_version_is_loaded_before_the_old_one_is_unloaded(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    saved_models.copy("half_plus_two", tmp_path / "m")
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--model_name=m") as server:
        saved_models.copy("half_plus_two_tf2", tmp_path / "m", 2)
        wait_for_status(server, "m", [(2, AVAILABLE, 0, ""), (1, "END", 0, "")])
        log = server.stderr
        loaded = log.index("Successfully loaded servable version {name: m version: 2}")
        assert loaded < log.index("Quiescing servable version {name: m version: 1}")
        assert server.predict(predict_request(spec("m"), x=X)).model_spec.version.value == 2
        with fails(NOT_FOUND, "Servable not found for request: Specific(m, 1)"):
            server.predict(predict_request(spec("m", version=1), x=X))

        shutil.rmtree(tmp_path / "m" / "2")  # the next lower one comes back, by the states START to AVAILABLE
        server.wait_until(lambda: (1, AVAILABLE, 0, "") in status(server, spec("m")), "version 1 again")
        server.wait_until(lambda: (2, "END", 0, "") in status(server, spec("m")), "the end of version 2")


def test_2_3_a_bad_new_version_leaves_the_old_one_and_is_not_tried_again(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    saved_models.copy("half_plus_two", tmp_path / "m")
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--model_name=m") as server:
        broken = saved_models.copy("no_pb", tmp_path / "m", 2)
        server.wait_until(lambda: len(status(server, spec("m"))) == 2, "version 2")
        server.wait_until(lambda: status(server, spec("m"))[0][1] == "END", "its end")
        (version, state, code, message), old = status(server, spec("m"))
        assert (version, state, code, old) == (2, "END", 5, (1, AVAILABLE, 0, ""))
        assert message == (
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
            f"`saved_model.pb`)\nSpecified file path: {broken}"
        )
        assert server.predict(predict_request(spec("m"), x=X)).model_spec.version.value == 1
        good = saved_models.path("half_plus_two_tf2") / "saved_model.pb"
        (broken / "saved_model.pb").write_bytes(good.read_bytes())
        saved_models.copy("half_plus_two", tmp_path / "m", 3)  # the next poll sees both
        server.wait_until(lambda: status(server, spec("m"))[0][:2] == (3, AVAILABLE), "version 3")
        assert (2, "END", 5, message) in status(server, spec("m"))


def test_2_3_deleting_the_only_version_unloads_it_but_deleting_the_base_path_does_not(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    saved_models.copy("half_plus_two", tmp_path / "m")
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--model_name=m") as server:
        (tmp_path / "m").rename(tmp_path / "gone")
        server.wait_until(lambda: "encountered a filesystem access error: " in server.stderr, "a failed poll")
        assert server.predict(predict_request(spec("m"), x=X)).model_spec.version.value == 1
        (tmp_path / "m").mkdir()
        wait_for_status(server, "m", [(1, "END", 0, "")])
        with fails(NOT_FOUND, "Servable not found for request: Latest(m)"):
            server.predict(predict_request(spec("m"), x=X))


def test_2_5_an_unreadable_version_fails_before_it_is_loaded(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    saved_models.copy("half_plus_two", tmp_path / "m")
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--model_name=m") as server:
        (tmp_path / "m" / "2").write_text("a file")
        server.wait_until(lambda: status(server, spec("m"))[0][:2] == (2, "END"), "the end of version 2")
        assert status(server, spec("m"))[0] == (
            2,
            "END",
            9,
            "Error while attempting to reserve resources to load servable {name: m version: 2}: "
            f"{tmp_path}/m/2; Not a directory",
        )


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("empty_pb", "NOT_FOUND", "Could not find meta graph def matching supplied tags: {{ serve }}."),
        ("other_tags", "NOT_FOUND", "Could not find meta graph def matching supplied tags: {{ serve }}."),
        ("garbage_pb", "OUT_OF_RANGE", "Read less bytes than requested"),
        ("gzip_pb", "DATA_LOSS", "Can't parse {path}/saved_model.pb as binary proto"),
        ("missing_shard", "NOT_FOUND", "{path}/variables/variables.data-00000-of-00001; No such file or directory"),
        ("truncated_shard", "OUT_OF_RANGE", "Read less bytes than requested"),
        ("unknown_op", "NOT_FOUND", "Op type not registered 'OpThatNobodyHas' in binary running on "),
    ],
)
def test_2_5_models_that_do_not_load(saved_models: SavedModels, name: str, code: str, text: str) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path(name)}", wait=False) as server:
        assert server.wait_for_exit() == 255
        expected = f"due to error: {code}: {text.format(path=saved_models.path(name))}"
        assert expected in server.stdout


def test_2_5_export_meta_is_a_session_bundle(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    (saved_models.copy("half_plus_two", tmp_path / "m") / "export.meta").write_text("")
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", wait=False) as server:
        assert server.wait_for_exit() == 255
        assert "due to error: UNIMPLEMENTED: Session Bundle is deprecated and removed." in server.stdout


def test_2_5_tags_are_a_set(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('other_tags')}", "--saved_model_tags=gpu,serve"]
    with embedded_server(*flags) as server:
        assert status(server, spec("default")) == [(1, AVAILABLE, 0, "")]


def test_2_5_the_fingerprint_does_not_matter(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    (saved_models.copy("half_plus_two_tf2", tmp_path / "m") / "fingerprint.pb").write_bytes(b"\xff\xff")
    with embedded_server(f"--model_base_path={tmp_path / 'm'}") as server:
        assert status(server, spec("default")) == [(1, AVAILABLE, 0, "")]


# ------------------------------------------------------------------------------------------------------ 4 model status


def test_4_status(server: EmbeddedServerProcess) -> None:
    assert status(server, spec("half_plus_two")) == [(1, AVAILABLE, 0, "")]
    assert status(server, spec("half_plus_two", version=1)) == [(1, AVAILABLE, 0, "")]
    assert status(server, spec("half_plus_two", label="nonsense")) == [(1, AVAILABLE, 0, "")]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (spec("nobody"), "Could not find any versions of model nobody"),
        (spec(""), "Could not find any versions of model "),
        (spec("half_plus_two", version=9), "Could not find version 9 of model half_plus_two"),
        (spec("nobody", version=9), "Could not find version 9 of model nobody"),
    ],
)
def test_4_unknown(server: EmbeddedServerProcess, asked: serving_pb2.ModelSpec, text: str) -> None:
    with fails(NOT_FOUND, text):
        status(server, asked)


def test_4_no_model_spec(server: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Missing ModelSpec"):
        status(server, None)


def test_4_ok_status_is_present_and_empty_on_the_wire(server: EmbeddedServerProcess) -> None:
    request = serving_pb2.GetModelStatusRequest(model_spec=spec("half_plus_two"))
    assert server.call(MODEL + "GetModelStatus", request) == b"\x0a\x06\x08\x01\x10\x1e\x1a\x00"


# ---------------------------------------------------------------------------------------------------- 3.7 metadata


def test_3_7_metadata(server: EmbeddedServerProcess) -> None:
    request = serving_pb2.GetModelMetadataRequest(
        model_spec=spec("half_plus_two_tf2"), metadata_field=["signature_def"]
    )
    response = server.call(PREDICTION + "GetModelMetadata", request, serving_pb2.GetModelMetadataResponse)
    assert response.model_spec == spec("half_plus_two_tf2", version=1)
    any_of_it = response.metadata["signature_def"]
    assert any_of_it.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = serving_pb2.SignatureDefMap.FromString(any_of_it.value).signature_def
    assert set(signatures) == {"serving_default", "__saved_model_init_op"}
    info = signatures["serving_default"].inputs["x"]
    assert (info.name, info.dtype, [dim.size for dim in info.tensor_shape.dim]) == ("serving_default_x:0", 1, [-1])


@pytest.mark.parametrize(
    ("model_spec", "fields", "text"),
    [
        (None, ["signature_def"], "Missing ModelSpec"),
        (spec("nobody"), [], "GetModelMetadataRequest must specify at least one metadata_field"),
        (spec("nobody"), ["signature_def", "z"], "Metadata field z is not supported"),
        (spec(""), ["signature_def"], "ModelSpec has no name specified."),
    ],
)
def test_3_7_refused(
    server: EmbeddedServerProcess, model_spec: serving_pb2.ModelSpec | None, fields: list[str], text: str
) -> None:
    request = serving_pb2.GetModelMetadataRequest(model_spec=model_spec, metadata_field=fields)
    with fails(INVALID_ARGUMENT, text):
        server.call(PREDICTION + "GetModelMetadata", request)


def test_3_7_unknown_model(server: EmbeddedServerProcess) -> None:
    request = serving_pb2.GetModelMetadataRequest(model_spec=spec("nobody"), metadata_field=["signature_def"])
    with fails(NOT_FOUND, "Servable not found for request: Latest(nobody)"):
        server.call(PREDICTION + "GetModelMetadata", request)
