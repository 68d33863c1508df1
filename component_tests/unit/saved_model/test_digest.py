"""The digest that a blessing is sealed with: names and content, and nothing else."""

from __future__ import annotations

import hashlib
import os
import pathlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.digest import (
    content_of,
    contents,
    digest_of,
    file_digests,
    model_digest,
    model_files,
    model_size,
)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "data").write_bytes(b"w" * 3)
    return tmp_path


def expected(files: dict[str, bytes]) -> str:
    """As docs and verifiers of other languages compute it: of each file, by name, the name's length, the name, its sha256."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(len(name.encode()).to_bytes(8, "big") + name.encode() + hashlib.sha256(files[name]).digest())
    return f"sha256:{whole.hexdigest()}"


def test_names_and_contents_make_the_digest(model: pathlib.Path) -> None:
    (model / "assets").mkdir()  # empty: it does not count
    assert model_files(str(model)) == {
        "saved_model.pb": str(model / "saved_model.pb"),
        "variables/data": str(model / "variables" / "data"),
    }
    assert model_digest(str(model)) == expected({"variables/data": b"www", "saved_model.pb": b"graph"})
    assert model_size(str(model)) == 8


def test_the_order_of_the_files_does_not_count() -> None:
    one, two = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()
    assert digest_of({"b": two, "a": one}) == digest_of({"a": one, "b": two}) == expected({"a": b"1", "b": b"2"})


def test_what_is_no_file_is_refused_before_anything_is_opened(
    model: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of a pipe waits for its writer, and a device may never end."""
    monkeypatch.chdir(model)  # a socket's path is short

    def listen() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("it")

    made: dict[str, Callable[[], None]] = {
        "a named pipe": lambda: os.mkfifo("it"),
        "a socket": listen,
        "a device": lambda: os.symlink("/dev/zero", "it"),
    }
    for called, make in made.items():
        make()
        with pytest.raises(AttemptFailed, match=f"it is {called}, not a file") as caught:
            model_digest(str(model))
        assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL
        os.unlink("it")
    assert model_size(str(model)) == 8


def test_directories_lie_within_one_another_only_so_deep(model: pathlib.Path) -> None:
    deep = model.joinpath(*["d"] * 100)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    assert len(model_files(str(model))) == 3
    (deep / "e").mkdir()
    with pytest.raises(AttemptFailed) as caught:
        model_digest(str(model))
    assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL
    assert caught.value.detail == f"More than 100 directories lie within one another, {'d/' * 50}..."
    assert caught.value.next_step == "Remove it, or export the model again."


def test_a_link_to_nothing_is_left_to_whoever_reads_it(model: pathlib.Path) -> None:
    (model / "dangling").symlink_to("nowhere")
    assert set(model_files(str(model))) == {"dangling", "saved_model.pb", "variables/data"}


def test_a_link_counts_as_what_it_points_at_and_a_circle_is_an_error(model: pathlib.Path) -> None:
    (model / "link").symlink_to(model / "variables")
    assert model_files(str(model))["link/data"] == str(model / "link" / "data")
    (model / "variables" / "up").symlink_to(model)
    with pytest.raises(InfrastructureError, match="leads back to itself") as caught:
        model_digest(str(model))
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE
    # The first link of the circle is named, and nothing beyond it was looked at.
    named = [f"{model}/{way}/up is a symbolic link that leads back to itself." for way in ("link", "variables")]
    assert caught.value.detail in named


def test_what_is_not_there_is_an_error_but_for_those_who_only_count(tmp_path: pathlib.Path) -> None:
    (tmp_path / "there").write_bytes(b"12345")
    gone = str(tmp_path / "gone")
    with pytest.raises(InfrastructureError):
        content_of(gone)
    with pytest.raises(InfrastructureError):
        model_digest(gone)
    assert file_digests({"x": gone, "y": str(tmp_path / "there")}) == {
        "y": f"sha256:{hashlib.sha256(b'12345').hexdigest()}"
    }
    (tmp_path / "dangling").symlink_to(gone)
    assert model_size(str(tmp_path)) == 5


def test_a_file_of_several_chunks_is_read_whole_and_can_be_left_between_two(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(range(256)) * (10 << 10))  # 2.5 MiB
    gone_on: list[int] = []
    assert content_of(str(file), lambda: gone_on.append(1)) == hashlib.sha256(file.read_bytes()).digest()
    assert len(gone_on) == 3

    def leave() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        content_of(str(file), leave)


def test_large_files_are_read_side_by_side_with_the_same_outcome(tmp_path: pathlib.Path) -> None:
    files = {}
    for name in ("a", "b", "c"):
        files[name] = str(tmp_path / name)
        (tmp_path / name).write_bytes(name.encode() * (3 << 20))
    assert contents(files) == {name: content_of(path) for name, path in files.items()}
    assert contents(files, read=lambda path: path.encode()) == {name: path.encode() for name, path in files.items()}


def threads_that_read(files: dict[str, str], together: int = 1) -> set[str]:
    """The threads in which files are read; ``together`` must be at it at once."""
    barrier, names = threading.Barrier(together), set()

    def read(path: str) -> bytes:
        barrier.wait(60)
        names.add(threading.current_thread().name)
        return path.encode()

    assert contents(files, read) == {name: path.encode() for name, path in files.items()}
    return names


def sparse(path: pathlib.Path, size: int) -> str:
    with path.open("wb") as file:
        file.truncate(size)
    return str(path)


def test_four_threads_read_where_there_is_enough_for_them(tmp_path: pathlib.Path) -> None:
    mine = threading.current_thread().name
    files = {str(number): sparse(tmp_path / str(number), 1 << 20) for number in range(8)}  # 8 MiB in all
    assert all(name.startswith("digest") for name in threads_that_read(files, together=4))
    sparse(tmp_path / "7", (1 << 20) - 1)
    assert threads_that_read(files) == {mine}
    assert threads_that_read({"one": sparse(tmp_path / "one", 16 << 20)}) == {mine}


def test_no_more_than_four_threads_read(tmp_path: pathlib.Path) -> None:
    """Each is held up until the last file waits for its turn: whoever would begin a fifth thread has begun it then."""
    looked: list[str] = []  # at the sizes, and at the files to read
    all_on_their_way = threading.Event()

    class Given(dict[str, str]):
        def values(self) -> Any:
            yield from super().values()
            looked.append("to the end")
            if len(looked) == 2:
                all_on_their_way.set()

    names: set[str] = set()

    def read(path: str) -> bytes:
        assert all_on_their_way.wait(60)
        names.update(thread.name for thread in threading.enumerate() if thread.name.startswith("digest"))
        return b""

    contents(Given({str(number): sparse(tmp_path / str(number), 2 << 20) for number in range(8)}), read)
    assert len(names) == 4


def test_a_file_that_is_gone_hides_no_size_of_those_after_it(tmp_path: pathlib.Path) -> None:
    files = {"gone": str(tmp_path / "gone"), "a": sparse(tmp_path / "a", 8 << 20), "b": sparse(tmp_path / "b", 1)}
    assert all(name.startswith("digest") for name in threads_that_read(files))


def test_a_path_that_no_file_can_have_is_an_error() -> None:
    with pytest.raises(InfrastructureError) as caught:
        model_files("a\0b")
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE
