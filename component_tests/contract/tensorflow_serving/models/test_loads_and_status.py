"""Contract 2.3, 2.5, 3.7 and 4: loads and unloads, model status, metadata."""

from __future__ import annotations

import pathlib
import shutil

import pytest

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
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

pytestmark = pytest.mark.slow

X = tensor([1.0])
AVAILABLE = "AVAILABLE"


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
