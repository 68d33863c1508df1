"""The archive that carries a model into a pod: what is in it, how long it is, and what cannot be sent."""

from __future__ import annotations

import io
import os
import pathlib
import tarfile

import pytest

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.kubernetes.connection.upload import Archive


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "assets").mkdir()
    (model / "saved_model.pb").write_bytes(b"g" * 1000)
    (model / "variables" / "variables.data-00000-of-00001").write_bytes(os.urandom(700_001))
    (model / "assets" / ("ä" * 80 + "-" + "x" * 60)).write_bytes(b"")
    return model


def unpacked(archive: Archive) -> dict[str, bytes | None]:
    data = b"".join(archive.chunks())
    assert len(data) == archive.length
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found: dict[str, bytes | None] = {}
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            found[member.name] = file.read() if file else None
        return found


def test_every_file_is_in_it_and_its_length_is_known(model: pathlib.Path) -> None:
    archive = Archive(str(model))
    found = unpacked(archive)
    files = {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert {name: data for name, data in found.items() if data is not None} == files
    assert {name for name, data in found.items() if data is None} == {"assets", "variables"}
    assert archive.model_bytes == sum(map(len, files.values()))


def test_links_are_followed_and_loops_are_not(model: pathlib.Path) -> None:
    (model / "again").symlink_to(model / "variables")
    (model / "linked.pb").symlink_to(model / "saved_model.pb")
    (model / "variables" / "back").symlink_to(model)
    found = unpacked(Archive(str(model)))
    assert found["linked.pb"] == found["saved_model.pb"]
    assert found["again/variables.data-00000-of-00001"] == found["variables/variables.data-00000-of-00001"]
    assert not [name for name in found if "back" in name]


def test_a_link_to_nothing_is_no_model(model: pathlib.Path) -> None:
    (model / "assets" / "gone").symlink_to(model / "nothing")
    with pytest.raises(InfrastructureError) as caught:
        Archive(str(model))
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE
    assert "gone" in caught.value.detail


def test_a_directory_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InfrastructureError) as caught:
        Archive(str(tmp_path / "none"))
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


@pytest.mark.parametrize("size", [999, 1001])
def test_a_file_that_changes_its_size_is_noticed(model: pathlib.Path, size: int) -> None:
    archive = Archive(str(model))
    (model / "saved_model.pb").write_bytes(b"x" * size)
    with pytest.raises(InfrastructureError, match="changed its size"):
        list(archive.chunks())
