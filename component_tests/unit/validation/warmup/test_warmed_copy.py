"""The copy of a model with its warm-up file: what it holds, who may read it, and that it can be taken back."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from infra_validator.core.errors import InfrastructureError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.digest import model_digest
from infra_validator.validation.warmup.warmed_copy import LocalWarmedCopy

FILE = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    """A model with a link inside, a link that leads out, an empty directory and a warm-up file."""
    model = tmp_path / "model"
    for folder in ("variables", "assets", "assets.extra"):
        (model / folder).mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "elsewhere").write_bytes(b"x" * (3 << 20))
    (model / "variables" / "variables.index").symlink_to(tmp_path / "elsewhere")
    (model / "assets.extra" / "other").symlink_to("../saved_model.pb")
    (model / FILE).write_bytes(b"old")
    return model


def write_new(path: str) -> None:
    pathlib.Path(path).write_bytes(b"new")


def files(directory: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_it_holds_the_model_and_the_new_file(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with LocalWarmedCopy(str(tmp_path / "a" / "b"), str(model)) as copy:
        digest = copy.write(str(model), write_new, lambda: None)
        copy.keep()
    written = tmp_path / "a" / "b"
    assert files(written) == {**files(model), FILE: b"new"}
    assert not any(path.is_symlink() for path in written.rglob("*"))
    assert (written / "assets").is_dir()
    assert digest == copy.digest(lambda: None) == model_digest(str(written))


def test_who_may_read_the_model_may_read_the_copy(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (model / "saved_model.pb").chmod(0o444)
    (model / "variables").chmod(0o555)
    before = os.umask(0o077)
    try:
        copy = LocalWarmedCopy(str(tmp_path / "new"), str(model))
        copy.write(str(model), write_new, lambda: None)
    finally:
        os.umask(before)
        (model / "variables").chmod(0o755)
    mode = {
        name: stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) for name in ("", "saved_model.pb", "variables")
    }
    assert mode == {"": 0o755, "saved_model.pb": 0o644, "variables": 0o755}
    assert stat.S_IMODE((tmp_path / "new" / FILE).stat().st_mode) & 0o044 == 0o044


@pytest.mark.parametrize("there", [True, False], ids=["an empty directory", "a new one"])
def test_all_of_it_can_be_taken_back(model: pathlib.Path, tmp_path: pathlib.Path, there: bool) -> None:
    if there:
        (tmp_path / "new").mkdir()
    with LocalWarmedCopy(str(tmp_path / "new" if there else tmp_path / "new" / "below"), str(model)) as copy:
        copy.write(str(model), write_new, lambda: None)
    assert (tmp_path / "new").exists() == there
    assert not there or list((tmp_path / "new").iterdir()) == []
    assert files(model)[FILE] == b"old"
    copy.remove()


def test_what_ends_the_copying_leaves_nothing(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def fail() -> None:
        raise InfrastructureError(ReasonCode.INTERRUPTED)

    with pytest.raises(InfrastructureError), LocalWarmedCopy(str(tmp_path / "new"), str(model)) as copy:
        copy.write(str(model), write_new, fail)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("directory", "given", "said"),
    [
        ("model/assets", "model", "lies in the model"),
        ("model", "model", "lies in the model"),
        (".", "model", "already"),
        ("new", "gs://bucket/model", "is not on this machine"),
    ],
)
def test_a_directory_that_will_not_do(
    model: pathlib.Path, tmp_path: pathlib.Path, directory: str, given: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        LocalWarmedCopy(str(tmp_path / directory), given if "://" in given else str(tmp_path / given))
    assert not (tmp_path / "new").exists()


def test_a_place_where_nobody_may_write(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for place in ("/proc/new", str(model / "saved_model.pb" / "new")):
        with pytest.raises(InfrastructureError) as caught:
            LocalWarmedCopy(place, str(tmp_path / "elsewhere"), "--make-warmup")
        assert caught.value.reason is ReasonCode.OUTPUT_NOT_WRITABLE
        assert f"--make-warmup {place}: " in caught.value.detail
