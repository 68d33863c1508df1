"""Sample requests from the files of an Examples artifact, and from the artifact: good, and bad in every way named."""

from __future__ import annotations

import gzip
import importlib
import json
import pathlib
from typing import Any

import pytest

from component_tests.unit.sample_requests.examples_on_disk import example, signature, tfrecord, write_split
from infra_validator.core.errors import ExamplesError, SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.examples.artifact import requests_from_examples_artifact
from infra_validator.sample_requests.examples.example_files import requests_from_examples_dir
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.tensor_values import values_of
from infra_validator.specs.request_spec import RequestSpec

PREDICT = {"serving_default": signature("predict", examples=(tf.DT_STRING, [-1]))}
CLASSIFY = {"classify": signature("classify", inputs=(tf.DT_STRING, [-1]))}
REGRESS = {"regress": signature("regress", inputs=(tf.DT_STRING, [-1]))}
ALL = {**PREDICT, **CLASSIFY, **REGRESS}


# ---------------------------------------------------------------------------------------------------------- made


def test_a_predict_signature_of_one_string_gets_the_record_as_a_batch_of_one(tmp_path: pathlib.Path) -> None:
    (request,) = requests_from_examples_dir(write_split(tmp_path, [example(3.0)]), PREDICT, "m")
    assert (request.method, request.signature) == (methods.PREDICT, "serving_default")
    made = serving_pb2.PredictRequest.FromString(request.payload)
    assert (made.model_spec.name, made.model_spec.signature_name) == ("m", "serving_default")
    tensor = made.inputs["examples"]
    assert (tensor.dtype, [dim.size for dim in tensor.tensor_shape.dim]) == (tf.DT_STRING, [1])
    assert list(tensor.string_val) == [example(3.0)]


def test_classify_and_regress_signatures_get_a_list_of_one_example(tmp_path: pathlib.Path) -> None:
    split = write_split(tmp_path, [example(3.0)])
    classify, regress = requests_from_examples_dir(split, {**CLASSIFY, **REGRESS}, "m")
    assert (classify.method, classify.signature) == (methods.CLASSIFY, "classify")
    assert (regress.method, regress.signature) == (methods.REGRESS, "regress")
    for made in (
        serving_pb2.ClassificationRequest.FromString(classify.payload),
        serving_pb2.RegressionRequest.FromString(regress.payload),
    ):
        assert made.model_spec.name == "m"
        assert [one.SerializeToString() for one in made.input.example_list.examples] == [example(3.0)]


def test_each_signature_gets_so_many_examples_as_asked_for_over_all_files(tmp_path: pathlib.Path) -> None:
    split = write_split(tmp_path, [example(1), example(2)], [], [example(3), example(4)])
    made = list(requests_from_examples_dir(split, ALL, "m", num_examples=3))
    assert [request.signature for request in made] == ["serving_default", "classify", "regress"] * 3
    assert made[-1].label == "record 1 of data_tfrecord-00002-of-00003.gz"


def test_fewer_examples_than_asked_for_are_no_error(tmp_path: pathlib.Path) -> None:
    assert len(list(requests_from_examples_dir(write_split(tmp_path, [example(1)]), PREDICT, "m", 1000))) == 1


def test_files_that_are_not_gzipped_are_read_and_hidden_ones_are_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "plain").write_bytes(tfrecord([example(1)]))
    (tmp_path / ".hidden").write_bytes(b"garbage")
    (tmp_path / "folder").mkdir()
    assert len(list(requests_from_examples_dir(str(tmp_path), PREDICT, "m", 10))) == 1


def test_records_are_read_as_they_are_sent(tmp_path: pathlib.Path) -> None:
    """What is wrong further on does not matter to those who do not get there."""
    (tmp_path / "f").write_bytes(tfrecord([example(1), example(2)]) + b"garbage")
    assert len(list(requests_from_examples_dir(str(tmp_path), PREDICT, "m", 2))) == 2


def test_other_payloads_go_to_predict_signatures_as_they_are(tmp_path: pathlib.Path) -> None:
    split = write_split(tmp_path, [b"any bytes"])
    (request,) = requests_from_examples_dir(split, PREDICT, "m", payload_format="FORMAT_PROTO")
    made = serving_pb2.PredictRequest.FromString(request.payload)
    assert list(made.inputs["examples"].string_val) == [b"any bytes"]


def test_a_request_does_not_show_its_content(tmp_path: pathlib.Path) -> None:
    (request,) = requests_from_examples_dir(write_split(tmp_path, [example(3.0)]), PREDICT, "m")
    assert "payload" not in repr(request)


# ---------------------------------------------------------------------------------------------------- signatures


@pytest.mark.parametrize("shape", [[-1], [1]])
def test_shapes_that_a_batch_of_one_fits(tmp_path: pathlib.Path, shape: list[int]) -> None:
    signatures = {"s": signature("predict", x=(tf.DT_STRING, shape))}
    assert list(requests_from_examples_dir(write_split(tmp_path, [example(1)]), signatures, "m"))


def test_a_shape_of_unknown_rank_fits(tmp_path: pathlib.Path) -> None:
    unknown = signature("predict", x=(tf.DT_STRING, []))
    unknown.inputs["x"].tensor_shape.unknown_rank = True
    assert list(requests_from_examples_dir(write_split(tmp_path, [example(1)]), {"s": unknown}, "m"))


def test_a_method_that_nobody_serves_is_told_before_the_files(tmp_path: pathlib.Path) -> None:
    split = write_split(tmp_path, [b"not looked at"])
    with pytest.raises(UsageError, match="method name") as caught:
        requests_from_examples_dir(split, {"s": signature("something_else", x=(tf.DT_STRING, [-1]))}, "m")
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_SUPPORTED
    assert "--requests" in caught.value.next_step


def test_protos_do_not_fit_named_inputs(tmp_path: pathlib.Path) -> None:
    split = write_split(tmp_path, [b"not looked at"])
    with pytest.raises(UsageError, match=r"x \(float, shape \[-1, 2\]\)") as caught:
        requests_from_examples_dir(
            split, {"s": signature("predict", x=(tf.DT_FLOAT, [-1, 2]))}, "m", payload_format="FORMAT_PROTO"
        )
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_SUPPORTED


def test_a_string_input_gets_the_feature_of_its_name_where_that_holds_strings(tmp_path: pathlib.Path) -> None:
    made = tf.Example()
    made.features.feature["examples"].bytes_list.value.append(b"a text")
    (request,) = requests_from_examples_dir(write_split(tmp_path, [made.SerializeToString()]), PREDICT, "m")
    assert list(serving_pb2.PredictRequest.FromString(request.payload).inputs["examples"].string_val) == [b"a text"]


def test_records_of_an_unknown_kind_go_to_string_inputs_as_they_are(tmp_path: pathlib.Path) -> None:
    split = write_split(tmp_path, [b"x,y"])
    (request,) = requests_from_examples_dir(split, PREDICT, "m", payload_format="")
    assert list(serving_pb2.PredictRequest.FromString(request.payload).inputs["examples"].string_val) == [b"x,y"]
    with pytest.raises(ExamplesError, match="no serialized"):
        requests_from_examples_dir(split, CLASSIFY, "m", payload_format="")


# ----------------------------------------------------------------------------------------------------- bad files


def not_readable(folder: pathlib.Path, said: str, **arguments: Any) -> None:
    with pytest.raises(ExamplesError, match=said) as caught:
        requests_from_examples_dir(str(folder), arguments.pop("signatures", PREDICT), "m", **arguments)
    assert caught.value.reason is ReasonCode.EXAMPLES_NOT_READABLE


def test_an_absent_directory_is_told(tmp_path: pathlib.Path) -> None:
    not_readable(tmp_path / "Split-eval", "does not exist")


def test_a_file_in_the_directorys_place_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").touch()
    not_readable(tmp_path / "f", "Not a directory")


@pytest.mark.parametrize("files", [[], [[]], [[], []]])
def test_no_examples_are_told(tmp_path: pathlib.Path, files: list[list[bytes]]) -> None:
    with pytest.raises(ExamplesError) as caught:
        requests_from_examples_dir(write_split(tmp_path, *files), PREDICT, "m")
    assert caught.value.reason is ReasonCode.NO_EXAMPLES


def test_a_file_of_no_bytes_holds_no_examples(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.gz").touch()
    with pytest.raises(ExamplesError) as caught:
        requests_from_examples_dir(str(tmp_path), PREDICT, "m")
    assert caught.value.reason is ReasonCode.NO_EXAMPLES


def test_a_link_that_leads_nowhere_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.gz").symlink_to("gone")
    not_readable(tmp_path, "No such file")


def test_a_truncated_file_is_told_with_file_and_record(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(tfrecord([example(1)])[:-3])
    not_readable(tmp_path, "f, record 1: the file is cut off in the middle of the record")


def test_truncated_gzip_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(tfrecord([example(1)]))[:-12])
    not_readable(tmp_path, r"f.gz, record 1: the gzip data is cut off")


def test_a_wrong_checksum_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_bytes(tfrecord([example(1)])[:-1] + b"?")
    not_readable(tmp_path, "f, record 1: the checksum of the record's data is wrong")


@pytest.mark.parametrize("record", [b"x,y", b"\xff" * 9, b"\x12\x03abc"])
def test_records_that_are_no_examples_are_told(tmp_path: pathlib.Path, record: bytes) -> None:
    not_readable(pathlib.Path(write_split(tmp_path, [record])), r"record 1: it is no serialized tf\.Example")


def test_a_sequence_example_is_no_example(tmp_path: pathlib.Path) -> None:
    sequence = example(1) + b"\x12\x00"  # the context looks like an Example; field 2 holds the feature lists
    not_readable(pathlib.Path(write_split(tmp_path, [sequence])), r"tf\.SequenceExample")


def test_an_example_without_features_is_one(tmp_path: pathlib.Path) -> None:
    assert list(requests_from_examples_dir(write_split(tmp_path, [b""]), PREDICT, "m"))


def test_a_bad_record_further_on_is_told_when_it_is_reached(tmp_path: pathlib.Path) -> None:
    requests = requests_from_examples_dir(write_split(tmp_path, [example(1), b"x,y"]), PREDICT, "m", 2)
    next(requests)
    with pytest.raises(ExamplesError, match="record 2"):
        next(requests)


@pytest.mark.parametrize("payload_format", ["FORMAT_AVRO", "FORMAT_UNSPECIFIED"])
def test_payload_formats_that_cannot_be_sent_are_told(tmp_path: pathlib.Path, payload_format: str) -> None:
    not_readable(tmp_path, payload_format, payload_format=payload_format)


def test_other_payloads_do_not_fit_classify(tmp_path: pathlib.Path) -> None:
    not_readable(tmp_path, "takes tf.Example", signatures=CLASSIFY, payload_format="FORMAT_PROTO")


# ------------------------------------------------------------------------------------------------- the artifact


class Artifact:
    """As much of a TFX Examples artifact as is asked."""

    def __init__(self, uri: pathlib.Path, split_names: object = ("train", "eval"), **custom: str) -> None:
        self.uri = str(uri)
        self.split_names = split_names if isinstance(split_names, str) else json.dumps(split_names)
        self._custom = custom

    def has_custom_property(self, name: str) -> bool:
        return name in self._custom

    def get_string_custom_property(self, name: str) -> str:
        return self._custom[name]


def test_the_first_split_is_taken_unless_one_is_named(tmp_path: pathlib.Path) -> None:
    write_split(tmp_path / "Split-train", [example(1)] * 5)
    write_split(tmp_path / "Split-eval", [example(1)] * 2)
    artifact = Artifact(tmp_path)
    every = RequestSpec.of({"num_examples": 10})
    assert len(list(requests_from_examples_artifact(artifact, PREDICT, "m", every))) == 5
    named = RequestSpec.of({"num_examples": 10, "split_name": "eval"})
    assert len(list(requests_from_examples_artifact(artifact, PREDICT, "m", named))) == 2
    assert len(list(requests_from_examples_artifact(artifact, PREDICT, "m", RequestSpec()))) == 1


def test_an_unknown_split_names_the_known_ones(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SpecError, match=r"request_spec\.split_name: .*it has: train, eval. Did you mean 'eval'\?"):
        requests_from_examples_artifact(Artifact(tmp_path), PREDICT, "m", RequestSpec(split_name="evil"))


@pytest.mark.parametrize("split_names", ["", "[]"])
def test_an_artifact_without_splits_is_told(tmp_path: pathlib.Path, split_names: str) -> None:
    with pytest.raises(ExamplesError) as caught:
        requests_from_examples_artifact(Artifact(tmp_path, split_names), PREDICT, "m", RequestSpec())
    assert caught.value.reason is ReasonCode.NO_EXAMPLES


@pytest.mark.parametrize("split_names", ["train,eval", "{}", "[1]"])
def test_split_names_that_are_no_list_are_told(tmp_path: pathlib.Path, split_names: str) -> None:
    with pytest.raises(ExamplesError, match="no JSON list"):
        requests_from_examples_artifact(Artifact(tmp_path, split_names), PREDICT, "m", RequestSpec())


def test_artifacts_of_tfx_before_1_0_are_read(tmp_path: pathlib.Path) -> None:
    write_split(tmp_path / "train", [example(1)])
    assert list(requests_from_examples_artifact(Artifact(tmp_path), PREDICT, "m", RequestSpec()))


def test_a_pattern_of_the_artifacts_own_is_followed(tmp_path: pathlib.Path) -> None:
    write_split(tmp_path / "all", [example(1)], [example(2)])
    patterns = json.dumps({"train": "all/*-00001-of-*"})
    artifact = Artifact(tmp_path, custom_split_pattern=patterns)
    made = list(requests_from_examples_artifact(artifact, PREDICT, "m", RequestSpec(num_examples=9)))
    assert [request.label for request in made] == ["record 1 of data_tfrecord-00001-of-00002.gz"]


def test_artifacts_of_other_formats_are_told(tmp_path: pathlib.Path) -> None:
    write_split(tmp_path / "Split-train", [example(1)])
    with pytest.raises(
        ExamplesError, match="has the file format avro; tfrecords_gzip and parquet can be read"
    ) as caught:
        requests_from_examples_artifact(Artifact(tmp_path, file_format="avro"), PREDICT, "m", RequestSpec())
    assert caught.value.reason is ReasonCode.EXAMPLES_NOT_READABLE
    with pytest.raises(ExamplesError, match=r"data_tfrecord-00000-of-00001.gz: .*[Pp]arquet"):
        requests_from_examples_artifact(Artifact(tmp_path, file_format="parquet"), PREDICT, "m", RequestSpec())


# ------------------------------------------------------------------------------------------------------- Parquet

COLUMNS: dict[str, list[Any]] = {
    "age": [31, 32, None],
    "flag": [True, False, True],
    "name": ["ä", "b", "c"],
    "raw": [b"\xff", b"", b"x"],
    "vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    "steps": [[[1], [2]], [[3], [4]], [[5], [6]]],
}


def parquet_artifact(folder: pathlib.Path, columns: dict[str, list[Any]]) -> Artifact:
    arrow: Any = importlib.import_module("pyarrow")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    (folder / "Split-train").mkdir(parents=True)
    parquet.write_table(arrow.table(columns), folder / "Split-train" / "data_parquet-00000-of-00001.parquet")
    return Artifact(folder, file_format="parquet", payload_format="FORMAT_PARQUET")


def test_rows_of_parquet_become_named_inputs(tmp_path: pathlib.Path) -> None:
    signatures = {
        "s": signature(
            "predict",
            age=(tf.DT_INT64, [-1]),
            flag=(tf.DT_BOOL, [-1]),
            name=(tf.DT_STRING, [-1]),
            raw=(tf.DT_STRING, [-1]),
            vector=(tf.DT_FLOAT, [-1, 2]),
            steps=(tf.DT_INT32, [-1, -1, 1]),
        )
    }
    artifact = parquet_artifact(tmp_path, COLUMNS)
    made = list(requests_from_examples_artifact(artifact, signatures, "m", RequestSpec(num_examples=2)))
    assert [request.label for request in made] == [f"row {n} of data_parquet-00000-of-00001.parquet" for n in (1, 2)]
    inputs = serving_pb2.PredictRequest.FromString(made[0].payload).inputs
    assert {key: values_of(tensor) for key, tensor in inputs.items()} == {
        "age": [31],
        "flag": [True],
        "name": ["ä".encode()],
        "raw": [b"\xff"],
        "vector": [1.0, 2.0],
        "steps": [1, 2],
    }
    with pytest.raises(UsageError, match=r"row 3: the feature 'age' has no value"):
        list(requests_from_examples_artifact(artifact, signatures, "m", RequestSpec(num_examples=3)))


def test_columns_that_no_feature_is_like_are_told(tmp_path: pathlib.Path) -> None:
    artifact = parquet_artifact(tmp_path, {"x": [{"a": 1}]})
    with pytest.raises(ExamplesError, match="row 1: the column 'x' holds something other"):
        requests_from_examples_artifact(
            artifact, {"s": signature("predict", x=(tf.DT_FLOAT, [-1]))}, "m", RequestSpec()
        )
    with pytest.raises(ExamplesError, match=r"takes tf\.Example"):
        requests_from_examples_artifact(artifact, CLASSIFY, "m", RequestSpec())
