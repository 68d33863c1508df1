"""SavedModels that TensorFlow itself wrote, good and bad, and a directory of ten thousand files."""

from __future__ import annotations

import pathlib

import pytest

from component_tests.fakes.saved_models import BROKEN, GOOD, SavedModels
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.digest import model_digest
from infra_validator.saved_model.find import find_saved_model
from infra_validator.saved_model.model_files import check_model_files, notes_on

#: The broken models whose files tell; the others must be loaded to see it.
TOLD_BY_FILES = {
    "missing_variables": ReasonCode.MODEL_FILES_INCOMPLETE,
    "missing_shard": ReasonCode.MODEL_FILES_INCOMPLETE,
    "empty_pb": ReasonCode.MODEL_NOT_A_SAVED_MODEL,
    "truncated_pb": ReasonCode.MODEL_NOT_A_SAVED_MODEL,
    "garbage_pb": ReasonCode.MODEL_NOT_A_SAVED_MODEL,
    "gzip_pb": ReasonCode.MODEL_NOT_A_SAVED_MODEL,
    "no_pb": ReasonCode.MODEL_NOT_A_SAVED_MODEL,
    "other_tags": ReasonCode.TAG_SET_NOT_FOUND,
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_model_passes(saved_models: SavedModels, name: str) -> None:
    graph = check_model_files(str(saved_models.path(name)))
    assert graph.signatures
    assert find_saved_model(str(saved_models.base_path(name))).path == str(saved_models.path(name))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_is_told_as_far_as_files_tell(saved_models: SavedModels, name: str) -> None:
    path = str(saved_models.path(name))
    if name not in TOLD_BY_FILES:
        assert check_model_files(path)
        return
    with pytest.raises(AttemptFailed) as caught:
        check_model_files(path)
    assert caught.value.reason is TOLD_BY_FILES[name]
    assert path in caught.value.detail


@pytest.mark.parametrize("name", [*GOOD, *BROKEN])
def test_only_what_is_odd_gets_a_note(saved_models: SavedModels, name: str) -> None:
    if name in TOLD_BY_FILES:
        return
    notes = notes_on(check_model_files(str(saved_models.path(name))))
    said = {"missing_asset": "assets/words.txt", "keras_attribute": "model.export"}
    assert len(notes) == (name in said)
    assert all(said[name] in note for note in notes)


def test_a_text_model_says_the_same_as_its_binary_twin(saved_models: SavedModels) -> None:
    binary = check_model_files(str(saved_models.path("half_plus_two")))
    text = check_model_files(str(saved_models.path("half_plus_two_pbtxt")))
    assert text.signatures == binary.signatures
    assert (text.tags, text.restores_variables, text.assets) == (binary.tags, binary.restores_variables, binary.assets)


def test_ten_thousand_files_are_no_trouble(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    path = saved_models.copy("half_plus_two", tmp_path)
    for number in range(10_000):
        (path / f"extra_{number}").touch()
    assert check_model_files(find_saved_model(str(path)).path)
    assert model_digest(str(path)).startswith("sha256:")
