"""The archive that carries a model to a daemon or into a pod: what is in it, how long it is, and what is never sent."""

from __future__ import annotations

import io
import os
import pathlib
import subprocess
import tarfile

import pytest

from infra_validator.core.errors import InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.archive import Archive, list_files

SECRET = b"the executor's own credentials"


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "assets").mkdir()
    (model / "saved_model.pb").write_bytes(b"g" * 1000)
    (model / "variables" / "variables.data-00000-of-00001").write_bytes(os.urandom(700_001))
    (model / "assets" / ("ä" * 80 + "-" + "x" * 60)).write_bytes(b"")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_bytes(SECRET)
    return model


def of(model: pathlib.Path) -> Archive:
    return Archive(list_files(str(model)))


def members(archive: Archive) -> dict[str, bytes | str | None]:
    """Name to content, to a link's target, or to None for a directory."""
    data = b"".join(archive.chunks())
    assert len(data) == archive.length
    found: dict[str, bytes | str | None] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            assert member.mode == (0o755 if member.isdir() else 0o644)
            file = tar.extractfile(member) if member.isfile() else None
            found[member.name] = file.read() if file else member.linkname or None
    return found


def test_every_file_is_in_it_and_its_length_is_known(model: pathlib.Path) -> None:
    archive = of(model)
    found = members(archive)
    files = {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert {name: data for name, data in found.items() if data is not None} == files
    assert {name for name, data in found.items() if data is None} == {"assets", "variables"}
    assert archive.model_bytes == sum(map(len, files.values()))


def test_it_is_made_in_pieces_below_a_directory_and_with_other_files(model: pathlib.Path) -> None:
    archive = Archive(list_files(str(model)), "7", {"files/config": "text"})
    assert max(map(len, archive.chunks())) <= 256 * 1024
    found = members(archive)
    assert found["7"] is None
    assert found["7/saved_model.pb"] == b"g" * 1000
    assert found["files/config"] == b"text"


def test_links_inside_stay_links(model: pathlib.Path) -> None:
    (model / "again").symlink_to("variables")
    (model / "assets" / "graph.pb").symlink_to("../saved_model.pb")
    (model / "assets" / "not there yet").symlink_to("words")
    found = members(of(model))
    assert (found["again"], found["assets/graph.pb"]) == ("variables", "../saved_model.pb")
    assert found["assets/not there yet"] == "words"


def test_links_that_stay_inside_by_a_way_outside_are_written_anew(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "way back").symlink_to("model")
    (model / "assets" / "absolute").symlink_to(model / "saved_model.pb")
    (model / "assets" / "detour").symlink_to("../../way back/saved_model.pb")
    (model / "loop").symlink_to(model)
    found = members(of(model))
    assert (found["assets/absolute"], found["assets/detour"], found["loop"]) == ("../saved_model.pb",) * 2 + (".",)


def test_the_system_s_own_tar_reads_it(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (model / "again").symlink_to("variables")
    target = tmp_path / "unpacked"
    target.mkdir()
    subprocess.run(["tar", "-xof", "-", "-C", target], input=b"".join(of(model).chunks()), check=True, timeout=60)
    assert subprocess.run(["diff", "-r", model, target], timeout=60, check=False).returncode == 0
    assert (target / "again").is_symlink()


@pytest.mark.parametrize(
    ("where", "target"),
    [
        ("link", "../secret"),
        ("link", "{outside}/secret"),
        ("assets/link", "../../secret"),
        ("directory", "../secrets"),
        ("detour", "../way_out/secret"),
        ("stranger", "/etc/hostname"),
        ("nothing", "../not there"),
    ],
)
def test_a_link_that_leads_out_sends_nothing(
    model: pathlib.Path, tmp_path: pathlib.Path, where: str, target: str
) -> None:
    (tmp_path / "way_out").symlink_to(".")
    (model / where).symlink_to(target.format(outside=tmp_path))
    with pytest.raises(InfrastructureError) as caught:
        of(model)
    assert caught.value.reason is ReasonCode.MODEL_LINKS_OUTSIDE
    assert str(model / where) in caught.value.detail


@pytest.mark.parametrize("victim", ["saved_model.pb", "variables"])
def test_what_is_replaced_by_a_link_after_it_was_listed_is_not_sent(model: pathlib.Path, victim: str) -> None:
    """A model under test is untrusted, and so is who may still write to it."""
    archive = of(model)
    (model / victim).rename(model.parent / "moved")
    if victim == "variables":
        (model.parent / "secrets" / "variables.data-00000-of-00001").write_bytes(SECRET * 100)
        (model / victim).symlink_to(model.parent / "secrets")
    else:
        (model / victim).symlink_to(model.parent / "secret")
    sent: list[bytes] = []
    with pytest.raises(InfrastructureError) as caught:
        sent.extend(archive.chunks())
    assert caught.value.reason is ReasonCode.MODEL_CHANGED
    assert SECRET not in b"".join(sent)


@pytest.mark.parametrize("size", [0, 999, 1000, 1001])
def test_a_file_that_changes_is_noticed(model: pathlib.Path, size: int) -> None:
    archive = of(model)
    graph = model / "saved_model.pb"
    before = graph.stat().st_mtime_ns
    graph.write_bytes(b"x" * size)
    os.utime(graph, ns=(before, before + 1))
    with pytest.raises(InfrastructureError, match="changed while it was copied") as caught:
        list(archive.chunks())
    assert caught.value.reason is ReasonCode.MODEL_CHANGED


def test_a_pipe_is_no_file(model: pathlib.Path) -> None:
    os.mkfifo(model / "pipe")
    with pytest.raises(InfrastructureError, match="pipe") as caught:
        of(model)
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


def test_a_directory_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InfrastructureError) as caught:
        list_files(str(tmp_path / "none"))
    assert caught.value.reason is ReasonCode.MODEL_NOT_FOUND
