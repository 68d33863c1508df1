"""SavedModels made by hand: what is read of them, and every way in which one is bad."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.wire import varint
from infra_validator.protos import tensorflow_pb2
from infra_validator.saved_model.digest import model_digest
from infra_validator.saved_model.find import find_saved_model
from infra_validator.saved_model.graph import read_graph
from infra_validator.saved_model.model_files import check_model_files, notes_on


def saved_model(
    *ops: str, tags: tuple[str, ...] = ("serve",), restores: bool = True, asset: str = ""
) -> tensorflow_pb2.SavedModel:
    model = tensorflow_pb2.SavedModel(saved_model_schema_version=1)
    graph = model.meta_graphs.add()
    graph.meta_info_def.tags.extend(tags)
    for number, op in enumerate(ops):
        graph.graph_def.node.add(name=f"node_{number}", op=op)
    if restores:
        graph.saver_def.restore_op_name = "restore"
    if asset:
        graph.asset_file_def.add(filename=asset)
    signature = graph.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["x"].dtype = tensorflow_pb2.DT_FLOAT
    return model


def write(folder: pathlib.Path, model: tensorflow_pb2.SavedModel, *files: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"content")
    return str(folder)


INDEX = "variables/variables.index"
SHARD = "variables/variables.data-00000-of-00001"


# ------------------------------------------------------------------------------------------------------- reading


def test_tags_signatures_variables_and_assets_are_read(tmp_path: pathlib.Path) -> None:
    graph = read_graph(write(tmp_path, saved_model("Const", "VarHandleOp", asset="words.txt")))
    assert graph.tags == {"serve"}
    assert list(graph.signatures) == ["serving_default"]
    assert graph.signatures["serving_default"].inputs["x"].dtype == tensorflow_pb2.DT_FLOAT
    assert graph.restores_variables
    assert graph.assets == ("words.txt",)


@pytest.mark.parametrize("op", ["VarHandleOp", "VariableV2", "Variable", "MutableHashTableV2"])
def test_operations_with_state_need_a_checkpoint(tmp_path: pathlib.Path, op: str) -> None:
    assert read_graph(write(tmp_path, saved_model("Const", op))).restores_variables


def test_a_variable_that_nothing_restores_needs_no_checkpoint(tmp_path: pathlib.Path) -> None:
    assert not read_graph(write(tmp_path, saved_model("VariableV2", restores=False))).restores_variables


def test_constants_need_no_checkpoint(tmp_path: pathlib.Path) -> None:
    assert not read_graph(write(tmp_path, saved_model("Const", "HashTableV2", "Mul"))).restores_variables


def test_a_pbtxt_is_read_with_fields_that_are_not_ours(tmp_path: pathlib.Path) -> None:
    text = text_format.MessageToString(saved_model("VarHandleOp"))
    text = text.replace(
        'op: "VarHandleOp"', 'op: "VarHandleOp" attr { key: "shape" value { shape { dim { size: 2 } } } }'
    )
    (tmp_path / "saved_model.pbtxt").write_text(text)
    assert read_graph(str(tmp_path)).restores_variables


def test_a_pb_wins_over_a_pbtxt(tmp_path: pathlib.Path) -> None:
    (tmp_path / "saved_model.pbtxt").write_text("garbage")
    assert read_graph(write(tmp_path, saved_model())).tags == {"serve"}


def test_the_graph_with_just_the_tags_asked_for_is_read(tmp_path: pathlib.Path) -> None:
    model = saved_model(tags=("serve", "gpu"))
    model.MergeFrom(saved_model("VarHandleOp", tags=("serve",)))
    path = write(tmp_path, model)
    assert read_graph(path, ["serve"]).restores_variables
    assert not read_graph(path, ["gpu", "serve"]).restores_variables


def test_assets_of_old_exports_are_in_a_collection(tmp_path: pathlib.Path) -> None:
    model = saved_model()
    packed = model.meta_graphs[0].collection_def["saved_model_assets"].any_list.value.add()
    packed.value = tensorflow_pb2.AssetFileDef(filename="old.txt").SerializeToString()
    assert read_graph(write(tmp_path, model)).assets == ("old.txt",)


def test_signatures_are_chosen_by_name(tmp_path: pathlib.Path) -> None:
    graph = read_graph(write(tmp_path, saved_model()))
    assert list(graph.signatures_named(["serving_default"])) == ["serving_default"]
    with pytest.raises(AttemptFailed, match="no signature 'score'; it has: 'serving_default'") as caught:
        graph.signatures_named(["score"])
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_FOUND


def test_a_big_constant_is_not_read_into_memory(tmp_path: pathlib.Path) -> None:
    """The constant is a hole in the file: reading it would show, since the limit below is smaller than it."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = 1 << 30
    node = b"\x0a\x01c\x12\x05Const\x2a" + varint(size)  # name, op, and the head of one attribute
    graph = b"\x0a" + varint(len(node) + size) + node
    meta = saved_model().meta_graphs[0].SerializeToString()
    meta_graph = meta + b"\x12" + varint(len(graph) + size) + graph
    with open(tmp_path / "saved_model.pb", "wb") as file:
        file.write(b"\x12" + varint(len(meta_graph) + size) + meta_graph)
        file.truncate(file.tell() + size)
    assert not check_model_files(str(tmp_path)).restores_variables
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


# ------------------------------------------------------------------------------------------------------ complete


def test_a_complete_model_passes(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, saved_model("VarHandleOp", asset="words.txt"), INDEX, SHARD, "assets/words.txt")
    assert check_model_files(path).path == path


def test_a_model_without_variables_needs_no_directory_for_them(tmp_path: pathlib.Path) -> None:
    assert check_model_files(write(tmp_path, saved_model("Const")))


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ([], "no variables directory"),
        ([SHARD], "no variables/variables.index"),
        ([INDEX], "an index but no variables.data-"),
        (
            [INDEX, "variables/variables.data-00000-of-00003", "variables/variables.data-00002-of-00003"],
            "00001-of-00003",
        ),
    ],
)
def test_each_missing_file_is_named(tmp_path: pathlib.Path, files: list[str], named: str) -> None:
    with pytest.raises(AttemptFailed, match=named) as caught:
        check_model_files(write(tmp_path, saved_model("VarHandleOp", asset="words.txt"), *files))
    assert caught.value.reason is ReasonCode.MODEL_FILES_INCOMPLETE


def test_a_missing_asset_is_a_note_and_the_server_decides(tmp_path: pathlib.Path) -> None:
    graph = check_model_files(write(tmp_path, saved_model("VarHandleOp", asset="words.txt"), INDEX, SHARD))
    (note,) = notes_on(graph)
    assert "names assets/words.txt, which" in note
    write(tmp_path, saved_model("VarHandleOp", asset="words.txt"), "assets/words.txt")
    assert notes_on(graph) == ()


def function_model(*set_by_restore: str) -> tensorflow_pb2.SavedModel:
    """A graph as TensorFlow 2 writes it: a function that reads the variables a and b, and one that restores some."""
    model = saved_model()
    meta_graph = model.meta_graphs[0]
    for name in ("a", "b"):
        meta_graph.graph_def.node.add(name=name, op="VarHandleOp")
    meta_graph.graph_def.node.add(name="served", op="StatefulPartitionedCall", input=["x", "a", "^b"])
    meta_graph.graph_def.node.add(name="StatefulPartitionedCall_2", op="StatefulPartitionedCall", input=set_by_restore)
    meta_graph.saver_def.restore_op_name = "StatefulPartitionedCall_2"
    meta_graph.signature_def["serving_default"].outputs["y"].name = "served:0"
    return model


def test_variables_that_nothing_sets_are_found(tmp_path: pathlib.Path) -> None:
    graph = read_graph(write(tmp_path, function_model("a")))
    assert graph.unset_variables == ("b",)
    (note,) = notes_on(graph)
    assert "Could not find variable" in note
    assert "model.export" in note
    assert read_graph(write(tmp_path, function_model("a", "b"))).unset_variables == ()


@pytest.mark.parametrize("op", ["AssignVariableOp", "StatefulPartitionedCall"])
def test_what_an_initializer_sets_is_set(tmp_path: pathlib.Path, op: str) -> None:
    model = function_model("a")
    meta_graph = model.meta_graphs[0]
    meta_graph.graph_def.node.add(name="set", op=op, input=["b", "x"])
    meta_graph.graph_def.node.add(name="init", op="NoOp", input=["^set"])
    meta_graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "init"
    assert read_graph(write(tmp_path, model)).unset_variables == ()
    (tmp_path / "saved_model.pb").unlink()
    (tmp_path / "saved_model.pbtxt").write_text(text_format.MessageToString(function_model("a")))
    assert read_graph(str(tmp_path)).unset_variables == ("b",)


def test_a_link_to_a_file_that_is_gone_is_a_missing_file(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, saved_model("VarHandleOp"), INDEX)
    (tmp_path / SHARD).symlink_to("gone")
    with pytest.raises(AttemptFailed, match="symbolic link") as caught:
        check_model_files(path)
    assert caught.value.reason is ReasonCode.MODEL_FILES_INCOMPLETE


# ----------------------------------------------------------------------------------------------------------- bad


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "is empty"),
        (
            saved_model("VarHandleOp").SerializeToString()[:-10],
            "damaged or no SavedModel: field 2 is cut off: the data ends 10 bytes early",
        ),
        (b"\x08\x01", "holds no graph at all"),
        (bytes(range(7, 256)) * 10, "damaged"),
        (b"\x1f\x8b\x08\x00rest", "gzip-compressed"),
        (b"node { name: 'x' }\n" * 10, "is text, not a SavedModel"),
        (b"<Error><Code>AccessDenied</Code></Error>", "is text, not a SavedModel"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "is a pointer of Git LFS"),
        (b"\xff" * 40, "damaged"),
        (b"\x00\x00\x00", "damaged"),
        (b"\x12\x03\x0a\x01\xff", "damaged"),
    ],
)
def test_a_file_that_is_no_saved_model_is_told(tmp_path: pathlib.Path, content: bytes, named: str) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(AttemptFailed, match=named) as caught:
        check_model_files(str(tmp_path))
    assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL


@pytest.mark.parametrize("content", [b"", b"garbage {", b"\xff\xfe"])
def test_a_bad_pbtxt_is_told(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "saved_model.pbtxt").write_bytes(content)
    with pytest.raises(AttemptFailed) as caught:
        check_model_files(str(tmp_path))
    assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL


def test_every_truncation_is_told(tmp_path: pathlib.Path) -> None:
    whole = saved_model("Const", "VarHandleOp", asset="a").SerializeToString()
    for length in range(len(whole)):
        (tmp_path / "saved_model.pb").write_bytes(whole[:length])
        with pytest.raises(AttemptFailed) as caught:
            check_model_files(str(tmp_path))
        assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_damage_makes_another_error_than_ours(tmp_path: pathlib.Path, data: st.DataObject) -> None:
    damaged = bytearray(saved_model("Const", "VarHandleOp", asset="a").SerializeToString())
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "saved_model.pb").write_bytes(damaged)
    with contextlib.suppress(AttemptFailed, InfrastructureError):
        check_model_files(str(tmp_path))


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything; the tests often run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", [".", "saved_model.pb", "variables", SHARD, "assets/words.txt"])
def test_missing_permission_is_told_with_the_user(closed: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to others
        folder = pathlib.Path(name) / "model"
        path = write(folder, saved_model("VarHandleOp", asset="words.txt"), INDEX, SHARD, "assets/words.txt")
        pathlib.Path(name).chmod(0o755)
        (folder / closed).chmod(0)
        with as_nobody(), pytest.raises(InfrastructureError, match="Permission denied") as caught:
            check_model_files(find_saved_model(path).path)
        (folder / closed).chmod(0o755)
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE
    assert "(as user " in caught.value.detail


def test_unknown_tags_name_the_known_ones(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, saved_model(tags=("serve", "gpu")))
    with pytest.raises(AttemptFailed, match=r"tagged \{serve\}; it has: \{gpu, serve\}") as caught:
        check_model_files(path)
    assert caught.value.reason is ReasonCode.TAG_SET_NOT_FOUND


def test_a_path_that_is_not_there_is_not_the_models_fault(tmp_path: pathlib.Path) -> None:
    for call in (find_saved_model, check_model_files, model_digest):
        with pytest.raises(InfrastructureError, match="does not exist") as caught:
            call(str(tmp_path / "nowhere"))
        assert caught.value.reason is ReasonCode.MODEL_NOT_FOUND


def test_a_remote_path_says_what_to_do() -> None:
    with pytest.raises(InfrastructureError) as caught:
        find_saved_model("gs://bucket/model")
    assert "Copy the model" in caught.value.next_step


def test_a_dangling_link_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(InfrastructureError, match="is a symbolic link to") as caught:
        find_saved_model(str(tmp_path / "link"))
    assert caught.value.reason is ReasonCode.MODEL_NOT_FOUND


def test_a_link_to_itself_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for call in (find_saved_model, check_model_files):
        with pytest.raises(InfrastructureError, match="leads back to itself") as caught:
            call(str(tmp_path / "loop"))
        assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


def test_a_graph_file_that_links_to_itself_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "saved_model.pb").symlink_to("saved_model.pb")
    with pytest.raises(InfrastructureError) as caught:
        check_model_files(find_saved_model(str(tmp_path)).path)
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


@pytest.mark.parametrize("unreadable", ["saved_model.pb", SHARD, "assets/words.txt"])
def test_what_cannot_be_read_is_told(tmp_path: pathlib.Path, unreadable: str) -> None:
    """A directory in the file's place cannot be read by anybody, root included."""
    path = write(tmp_path, saved_model("VarHandleOp", asset="words.txt"), INDEX, SHARD, "assets/words.txt")
    (tmp_path / unreadable).unlink()
    (tmp_path / unreadable).mkdir()
    with pytest.raises(InfrastructureError, match=unreadable) as caught:
        check_model_files(path)
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


def test_a_file_in_the_models_place_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model").write_text("I am a file")
    for call in (find_saved_model, check_model_files):
        with pytest.raises(AttemptFailed, match="is a file, not a directory") as caught:
            call(str(tmp_path / "model"))
        assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL


@pytest.mark.parametrize("name", ["a b", "ü🙂", "..x", "-x", "a\nb"])
def test_odd_names_of_directories_are_no_trouble(tmp_path: pathlib.Path, name: str) -> None:
    path = write(tmp_path / name, saved_model("VarHandleOp"), INDEX, SHARD)
    assert check_model_files(find_saved_model(path).path).path == path


def test_a_name_that_no_file_can_have_is_told() -> None:
    with pytest.raises(InfrastructureError) as caught:
        find_saved_model("a\0b")
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


# ------------------------------------------------------------------------------------------------------- finding


def test_the_directory_itself_is_found(tmp_path: pathlib.Path) -> None:
    found = find_saved_model(write(tmp_path, saved_model()))
    assert (found.path, found.note) == (str(tmp_path), "")


def test_the_highest_version_of_a_base_path_is_found(tmp_path: pathlib.Path) -> None:
    for version in ("2", "10", "9"):
        write(tmp_path / version, saved_model())
    (tmp_path / "99_tmp").mkdir()
    found = find_saved_model(str(tmp_path))
    assert found.path == str(tmp_path / "10")
    assert "base path" in found.note


@pytest.mark.parametrize("newest", ["0011", "+11", " 11"])
def test_versions_are_read_as_the_server_reads_them(tmp_path: pathlib.Path, newest: str) -> None:
    for version in ("9", newest):
        write(tmp_path / version, saved_model())
    assert find_saved_model(str(tmp_path)).path == str(tmp_path / newest)


def test_a_version_directory_beside_the_model_is_said(tmp_path: pathlib.Path) -> None:
    write(tmp_path, saved_model())
    assert find_saved_model(str(tmp_path)).warning == ""
    write(tmp_path / "0001", saved_model())
    found = find_saved_model(str(tmp_path))
    assert found.path == str(tmp_path)
    assert "beside it the version directory 0001, which is not" in found.warning


@pytest.mark.parametrize("name", ["model.keras", "weights.h5"])
def test_a_keras_file_is_said_by_name(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).touch()
    for path, said in ((tmp_path, f"but the Keras file {name}"), (tmp_path / name, "is a Keras file")):
        with pytest.raises(AttemptFailed, match=said) as caught:
            find_saved_model(str(path))
        assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL
        assert ".export(" in caught.value.next_step


def test_a_tfx_artifact_is_found(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "Format-Serving", saved_model())
    found = find_saved_model(str(tmp_path))
    assert found.path == str(tmp_path / "Format-Serving")
    assert "TFX Model artifact" in found.note


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "is empty"),
        (["readme.txt", "weights"], "holds no saved_model.pb, only readme.txt, weights"),
        (["1/", "2/"], "the highest version in"),
        ([f"file_{n}" for n in range(20)], "and 15 more"),
    ],
)
def test_a_directory_without_a_saved_model_says_what_it_holds(
    tmp_path: pathlib.Path, names: list[str], said: str
) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
    with pytest.raises(AttemptFailed, match=said) as caught:
        find_saved_model(str(tmp_path))
    assert caught.value.reason is ReasonCode.MODEL_NOT_A_SAVED_MODEL


# -------------------------------------------------------------------------------------------------------- digest


def test_the_digest_is_of_names_and_content_only(tmp_path: pathlib.Path) -> None:
    one = write(tmp_path / "one", saved_model("VarHandleOp"), INDEX, SHARD)
    two = write(tmp_path / "two", saved_model("VarHandleOp"), SHARD, INDEX)
    os.utime(tmp_path / "two" / INDEX, (0, 0))
    assert model_digest(one) == model_digest(two)
    (tmp_path / "link").symlink_to(one)
    assert model_digest(str(tmp_path / "link")) == model_digest(one)


@pytest.mark.parametrize("change", ["content", "name", "more", "less"])
def test_the_digest_changes_with_the_model(tmp_path: pathlib.Path, change: str) -> None:
    path = write(tmp_path, saved_model("VarHandleOp"), INDEX, SHARD)
    before = model_digest(path)
    if change == "content":
        (tmp_path / SHARD).write_bytes(b"other")
    elif change == "name":
        (tmp_path / SHARD).rename(tmp_path / "variables" / "other")
    elif change == "more":
        (tmp_path / "more").touch()
    else:
        (tmp_path / SHARD).unlink()
    assert model_digest(path) != before


def test_links_in_a_circle_are_told(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, saved_model())
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "up").symlink_to(tmp_path)
    with pytest.raises(InfrastructureError, match="leads back") as caught:
        model_digest(path)
    assert caught.value.reason is ReasonCode.MODEL_NOT_READABLE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names of any bytes are a thing of Linux")
def test_names_that_are_no_text_are_digested(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, saved_model())
    with open(os.fsencode(path) + b"/\xff", "wb"):
        pass
    assert model_digest(path).startswith("sha256:")
