"""Files looked at twice: what counts as the same, and what does not."""

from __future__ import annotations

import hashlib
import os
import pathlib
import sys
import threading
from collections.abc import Callable

import pytest

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.saved_model.digest import model_digest
from infra_validator.saved_model.unchanged import Unchanged

LONG_AGO = 1_000_000_000


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "the_same").symlink_to("saved_model.pb")
    return folder


def taken(model: pathlib.Path, **others: pathlib.Path) -> Unchanged:
    """The first look, with everything read."""
    unchanged = Unchanged(str(model), {name: str(path) for name, path in others.items()})
    wait_until(lambda: unchanged.read or None, Deadline.after(30))
    return unchanged


def test_what_nobody_touched_is_the_same_and_has_the_models_digest(model: pathlib.Path) -> None:
    unchanged = taken(model)
    assert unchanged.what_changed() == ""
    assert unchanged.digest() == model_digest(str(model))


def other_bytes(model: pathlib.Path) -> None:
    (model / "saved_model.pb").write_bytes(b"Graph")


def other_bytes_with_the_old_times(model: pathlib.Path) -> None:
    file = model / "saved_model.pb"
    before = file.stat()
    file.write_bytes(b"Graph")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_in_its_place(model: pathlib.Path) -> None:
    (model / "new").write_bytes(b"Graph")
    (model / "new").replace(model / "saved_model.pb")


def one_more(model: pathlib.Path) -> None:
    (model / "one_more").write_bytes(b"")


def one_less(model: pathlib.Path) -> None:
    (model / "variables" / "variables.index").unlink()


def all_gone(model: pathlib.Path) -> None:
    model.rename(model.with_name("moved"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_bytes, "saved_model.pb has another content"),
        (other_bytes_with_the_old_times, "saved_model.pb has another content"),
        (another_file_in_its_place, "saved_model.pb has another content"),
        (one_more, "one_more is new"),
        (one_less, "variables/variables.index is gone"),
        (all_gone, "does not exist"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_kind_of_change_is_found(model: pathlib.Path, change: Callable[[pathlib.Path], None], said: str) -> None:
    unchanged = taken(model)
    change(model)
    assert said in unchanged.what_changed()


def test_a_file_that_was_only_touched_is_the_same(model: pathlib.Path) -> None:
    unchanged = taken(model)
    os.utime(model / "saved_model.pb", (LONG_AGO, LONG_AGO))
    assert unchanged.what_changed() == ""


def test_files_that_a_spec_names_count_and_are_called_by_their_field(
    model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    config = tmp_path / "models.config"
    config.write_text("a")
    unchanged = taken(model, field=config, absent=tmp_path / "absent")
    assert unchanged.what_changed() == ""
    config.write_text("b")
    assert unchanged.what_changed() == f"field ({config}) has another content"
    assert unchanged.digest() == model_digest(str(model))


def test_the_digest_does_not_depend_on_how_many_files_are_read_at_once(tmp_path: pathlib.Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * (3 << 20))
    large = model_digest(str(tmp_path))
    names = sorted(os.listdir(tmp_path))
    whole = hashlib.sha256()
    for name in names:
        content = hashlib.sha256((tmp_path / name).read_bytes()).digest()
        whole.update(len(name).to_bytes(8, "big") + name.encode() + content)
    assert large == f"sha256:{whole.hexdigest()}"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_reading_stands_back_behind_the_server_that_starts(tmp_path: pathlib.Path) -> None:
    read_at: list[int] = []

    class Watched(Unchanged):
        def _read_one(self, path: str) -> bytes:
            read_at.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super()._read_one(path)

    (tmp_path / "saved_model.pb").write_bytes(b"x" * (9 << 20))
    (tmp_path / "more").write_bytes(b"y")
    done = threading.Event()
    with Watched(str(tmp_path), {}) as unchanged:
        unchanged.when_read(done.set)
        assert done.wait(60)
    assert len(read_at) == 2
    assert min(read_at) >= min(os.getpriority(os.PRIO_PROCESS, 0) + 1, 19)  # 19: nothing is behind that
