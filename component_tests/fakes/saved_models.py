"""Makes the real SavedModels of the tests, good and bad, with TensorFlow itself.

    python -m component_tests.fakes.saved_models DIRECTORY

writes ``DIRECTORY/<name>/1`` for every name in ``GOOD`` and ``BROKEN``. Tests do not run this: they take the ``saved_models``
fixture, which has the models made once per version of this file and keeps them in ``.cache/saved_models``.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import importlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

#: Every good model, with what it answers.
GOOD = {
    "half_plus_two": "y = x / 2 + 2 with variables: serving_default x -> y, classify_x_to_y, regress_x_to_y, ...",
    "half_plus_two_tf2": "the same arithmetic as a TF2 export: serving_default x -> y",
    "half_plus_two_pbtxt": "half_plus_two as saved_model.pbtxt",
    "examples": "serving_default: one string input `examples` of serialized tf.Example (float x) -> y, label",
    "identity": "a signature of each dtype's name (float, int8, string, ...): x -> y = x; serving_default is float",
    "matmul": "serving_default: x float [batch, 1024] -> y = x W with a 4 MiB variable",
    "vocabulary": "a hash table from an asset: serving_default text string -> id int64, upper string",
    "two_inputs": "serving_default: a float [.,2], b float [.,2] -> sum, product, names_bytes; `scalar` answers rank 0",
    "slow": "serving_default: seconds float scalar -> slept; sleeps in the graph without using the CPU",
    "no_variables": "double = x * 2 from constants only; has no variables directory",
    "nan": "serving_default: x float -> y = x * NaN",
    "defaults": "half_plus_two_tf2 whose signature has the default [8.0] for x",
    "signatures": "a signature of each kind that people have: text, image_bytes, image, tokens, ids, flags, halves, scalar",
    "keras_features": "a Keras model with the named raw inputs age, income, embedding -> score, as model.export writes it",
    "quoting": "signatures that quote what they are asked: assert_<dtype>, to_number, decode_csv, decode_json, print, ...",
    "words": "serving_default: text string -> folded, by an operation of TensorFlow Text (CaseFoldUTF8)",
    "hostile": "y = x; signatures read, write, merge, fill, descriptors, dial, hungry, threads, spin and burn; see _hostile",
    "odd_signatures": "classify and regress signatures of wrong structure, rank, dtype and batch",
}

#: Every bad model, with what is wrong.
BROKEN = {
    "missing_variables": "half_plus_two_tf2 without its variables directory: loads, fails at the first request",
    "missing_shard": "half_plus_two_tf2 with the variables' index but no data",
    "truncated_shard": "half_plus_two_tf2 with half of the variables' data",
    "keras_attribute": "a Keras 3 model saved as the attribute of a tf.Module: loads, lacks its variables at the first request",
    "unknown_op": "no_variables with an operation that nobody has: OpThatNobodyHas",
    "empty_pb": "saved_model.pb of 0 bytes",
    "truncated_pb": "the first half of a saved_model.pb",
    "garbage_pb": "random bytes as saved_model.pb",
    "gzip_pb": "a gzipped saved_model.pb",
    "no_pb": "a directory without saved_model.pb",
    "other_tags": "half_plus_two_tf2 with the tag set {serve, gpu}",
    "missing_tensor": "half_plus_two_tf2 whose signature names a tensor that is not in the graph",
    "missing_asset": "vocabulary without its asset file",
}

ROOT = pathlib.Path(__file__).parents[2]
_MAKING_TAKES_AT_MOST = 600  # seconds; TensorFlow's import alone has been seen to take 30 on a busy machine


class SavedModels:
    """The models on disk.

    Args:
      directory: what ``write_all`` filled.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    def path(self, name: str) -> pathlib.Path:
        """The SavedModel directory of a name in GOOD or BROKEN. Read only: copy it before changing it."""
        assert name in GOOD or name in BROKEN, f"no model {name!r}; there are {', '.join([*GOOD, *BROKEN])}"
        return self.directory / name / "1"

    def base_path(self, name: str) -> pathlib.Path:
        """The directory that holds the version directory ``1`` of a model."""
        return self.path(name).parent

    def copy(self, name: str, base_path: pathlib.Path, version: int | str = 1) -> pathlib.Path:
        """A copy at ``<base_path>/<version>`` that a test may change; appears there whole."""
        base_path.mkdir(parents=True, exist_ok=True)
        unfinished = base_path / f"copying_{version}"
        shutil.copytree(self.path(name), unfinished)
        return unfinished.rename(base_path / str(version))


def made_once(cache: pathlib.Path = ROOT / ".cache" / "saved_models") -> SavedModels:
    """The models, made by a subprocess of this interpreter unless the cache holds those of this very script."""
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:16]
    finished = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            assert importlib.util.find_spec("tensorflow"), "The tests' SavedModels need TensorFlow: install .[embedded]"
            unfinished = cache / f"{digest}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            command = [sys.executable, "-m", "component_tests.fakes.saved_models", str(unfinished)]
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=_MAKING_TAKES_AT_MOST, check=False
            )
            assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stderr[-4000:]}"
            unfinished.rename(finished)
    return SavedModels(finished)


def write_all(directory: pathlib.Path) -> None:
    """Write every model; imports TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    makers: dict[str, Callable[[Any, pathlib.Path], None]] = {
        "half_plus_two": _half_plus_two,
        "half_plus_two_tf2": _half_plus_two_tf2,
        "examples": _examples,
        "identity": _identity,
        "matmul": _matmul,
        "vocabulary": _vocabulary,
        "two_inputs": _two_inputs,
        "slow": _slow,
        "no_variables": _no_variables,
        "nan": _nan,
        "quoting": _quoting,
        "words": _words,
        "hostile": _hostile,
        "odd_signatures": _odd_signatures,
        "signatures": _signatures,
        "keras_features": _keras_features,
        "keras_attribute": _keras_attribute,
    }
    for name, make in makers.items():
        (directory / name).mkdir(parents=True)
        make(tf, directory / name / "1")
    _derive(directory)


# ------------------------------------------------------------------------------------------- made with TensorFlow


def _half_plus_two(tf: Any, path: pathlib.Path) -> None:
    """TF1 export: the only kind whose classify and regress signatures carry their own method names."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=0.5, use_resource=True)
        b = v1.get_variable("b", initializer=2.0, use_resource=True)
        x = v1.placeholder(tf.float32, [None], name="x")
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        feature = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        y = tf.identity(a * x + b, name="y")
        scores = tf.identity(a * feature + b, name="scores")
        threes = tf.identity(a * feature + 3.0, name="threes")
        classes = tf.as_string(feature, name="classes")
        labels = tf.concat([classes, tf.fill(tf.shape(classes), "other")], axis=1, name="labels")
        both = tf.concat([scores, threes], axis=1, name="both")
        info = v1.saved_model.utils.build_tensor_info

        def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
            return v1.saved_model.signature_def_utils.build_signature_def(
                {key: info(value) for key, value in inputs.items()},
                {key: info(value) for key, value in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature({"x": x}, {"y": y}, "predict"),
                "classify_x_to_y": signature({"inputs": serialized}, {"scores": scores}, "classify"),
                "classify_labels": signature({"inputs": serialized}, {"classes": labels, "scores": both}, "classify"),
                "classify_classes_only": signature({"inputs": serialized}, {"classes": labels}, "classify"),
                "regress_x_to_y": signature({"inputs": serialized}, {"outputs": scores}, "regress"),
                "regress_x_to_y2": signature({"inputs": serialized}, {"outputs": threes}, "regress"),
            },
        )
        builder.save()


def _odd_signatures(tf: Any, path: pathlib.Path) -> None:
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        texts = v1.placeholder(tf.string, [None], name="tf_example")
        floats = v1.placeholder(tf.float32, [None], name="x")
        count = tf.shape(texts)[0]
        ones = tf.ones([count, 2], name="ones")
        line = tf.ones([count], name="line")
        cube = tf.ones([count, 2, 1], name="cube")
        wide = tf.ones([count, 3], name="wide")
        longer = tf.ones([count + 1, 2], name="longer")
        numbers = tf.ones([count, 2], tf.int64, name="numbers")
        strings = tf.fill([count, 2], "a", name="strings")
        of_floats = tf.identity(floats[:, None], name="of_floats")
        info = v1.saved_model.utils.build_tensor_info

        def signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str = "classify") -> Any:
            return v1.saved_model.signature_def_utils.build_signature_def(
                {key: info(value) for key, value in inputs.items()},
                {key: info(value) for key, value in outputs.items()},
                f"tensorflow/serving/{method}",
            )

        inputs = {"inputs": texts}
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "two_inputs": signature({"inputs": texts, "x": floats}, {"scores": ones}),
                "three_outputs": signature(inputs, {"scores": ones, "classes": strings, "more": ones}),
                "other_input_key": signature({"examples": texts}, {"scores": ones, "outputs": line}),
                "other_input_key_one_output": signature({"examples": texts}, {"outputs": line}),
                "other_output_key": signature(inputs, {"probabilities": ones}),
                "scores_rank_1": signature(inputs, {"scores": line}),
                "scores_rank_3": signature(inputs, {"scores": cube}),
                "scores_int64": signature(inputs, {"scores": numbers}),
                "classes_float": signature(inputs, {"classes": ones}),
                "scores_longer": signature(inputs, {"scores": longer}),
                "classes_and_wide_scores": signature(inputs, {"classes": strings, "scores": wide}),
                "float_input": signature({"inputs": floats}, {"scores": of_floats}),
                "regress_rank_2": signature(inputs, {"outputs": ones}, "regress"),
                "regress_rank_1": signature(inputs, {"outputs": line}, "regress"),
                "regress_int64": signature(inputs, {"outputs": numbers[:, 0]}, "regress"),
                "regress_longer": signature(inputs, {"outputs": longer[:, :1]}, "regress"),
                "no_inputs": signature({}, {"scores": tf.ones([1], name="constant")}, "predict"),
                "unsupported_method": signature(inputs, {"scores": ones}, "unheard_of"),
            },
        )
        builder.save()


def _half_plus_two_tf2(tf: Any, path: pathlib.Path) -> None:
    module = tf.Module()
    module.a = tf.Variable(0.5)
    module.b = tf.Variable(2.0)
    function = tf.function(
        lambda x: {"y": module.a * x + module.b}, input_signature=[tf.TensorSpec([None], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(path), signatures=function)


def _examples(tf: Any, path: pathlib.Path) -> None:
    module = tf.Module()
    module.a = tf.Variable(0.5)

    def serve(examples: Any) -> dict[str, Any]:
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        return {"y": module.a * x + 2.0, "label": tf.as_string(x)}

    function = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    tf.saved_model.save(module, str(path), signatures=function)


def _identity(tf: Any, path: pathlib.Path) -> None:
    dtypes = {
        "float": tf.float32,
        "double": tf.float64,
        "half": tf.half,
        "bfloat16": tf.bfloat16,
        "int8": tf.int8,
        "int16": tf.int16,
        "int32": tf.int32,
        "int64": tf.int64,
        "uint8": tf.uint8,
        "uint16": tf.uint16,
        "uint32": tf.uint32,
        "uint64": tf.uint64,
        "bool": tf.bool,
        "string": tf.string,
        "complex64": tf.complex64,
        "complex128": tf.complex128,
        "qint8": tf.qint8,
        "quint8": tf.quint8,
        "qint16": tf.qint16,
        "quint16": tf.quint16,
        "qint32": tf.qint32,
    }
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        signatures = {}
        for name, dtype in dtypes.items():
            x = v1.placeholder(dtype, None, name=f"{name}_x")
            y = tf.identity(x, name=f"{name}_y")
            signatures[name] = v1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"y": y})
        signatures["serving_default"] = signatures["float"]
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def _hostile(tf: Any, path: pathlib.Path) -> None:
    """What a graph can do to the machine that it runs on, with operations that every TensorFlow Serving has."""
    module = tf.Module()
    text = tf.TensorSpec([], tf.string)

    def signature(work: Callable[..., Any], **inputs: Any) -> Any:
        specs = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in inputs.items()]
        return tf.function(work, input_signature=specs)

    def read(path: Any) -> dict[str, Any]:
        return {"content": tf.io.read_file(path)}

    def write(path: Any, content: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.io.write_file(path, content)]):
            return {"written": tf.strings.length(content)}

    def merge(source: Any, target: Any) -> dict[str, Any]:
        """Moves the checkpoint ``source`` to ``target``."""
        merged = tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=tf.reshape(source, [1]), destination_prefix=target, delete_old_dirs=False
        )
        with tf.control_dependencies([merged]):
            return {"merged": tf.constant(1)}

    def hungry(mebibytes: Any) -> dict[str, Any]:
        return {"sum": tf.reduce_sum(tf.random.uniform([mebibytes, 262144]))}

    def fill(path: Any, mebibytes: Any) -> dict[str, Any]:
        mebibyte = tf.strings.reduce_join(tf.fill([2**20], "x"))
        return write(path, tf.strings.reduce_join(tf.fill([mebibytes], mebibyte)))

    def descriptors(path: Any, files: Any) -> dict[str, Any]:
        """Holds ``files`` files open at once; of more than one line."""
        lines = tf.data.Dataset.range(files).interleave(
            lambda _: tf.data.TextLineDataset(path, buffer_size=16), cycle_length=tf.cast(files, tf.int64)
        )
        return {"lines": lines.take(files).reduce(tf.constant(0, tf.int64), lambda count, _: count + 1)}

    def threads(number: Any) -> dict[str, Any]:
        """Has the runtime start so many at once."""
        variant = tf.data.Dataset.range(1)._variant_tensor
        pooled = tf.raw_ops.PrivateThreadPoolDataset(
            input_dataset=variant, num_threads=number, output_types=[tf.int64], output_shapes=[[]]
        )
        return {"elements": tf.raw_ops.DatasetCardinality(input_dataset=pooled)}

    def dial(address: Any) -> dict[str, Any]:
        """Tells what listens there (host:port) of a data set, and answers with the number that it is given."""
        registered = tf.raw_ops.RegisterDatasetV2(
            dataset=tf.data.Dataset.range(1)._variant_tensor, address=address, protocol="grpc", external_state_policy=0
        )
        return {"number": registered}

    def burn(start: Any) -> dict[str, Any]:
        """Never ends, on all processors."""

        def again(matrix: Any) -> Any:
            return (tf.linalg.matmul(matrix, matrix),)

        begin = tf.fill([1024, 1024], start)
        return {"end": tf.while_loop(lambda matrix: matrix[0, 0] >= 0.0, again, [begin])[0]}

    def spin(start: Any) -> dict[str, Any]:
        return {"end": tf.while_loop(lambda i: i >= 0.0, lambda i: (i * 0.5,), [start])[0]}

    number, count = tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32)
    signatures = {
        "serving_default": signature(lambda x: {"y": tf.identity(x)}, x=number),
        "read": signature(read, path=text),
        "write": signature(write, path=text, content=text),
        "merge": signature(merge, source=text, target=text),
        "hungry": signature(hungry, mebibytes=count),
        "spin": signature(spin, start=tf.TensorSpec([], tf.float32)),
        "burn": signature(burn, start=tf.TensorSpec([], tf.float32)),
        "fill": signature(fill, path=text, mebibytes=count),
        "descriptors": signature(descriptors, path=text, files=tf.TensorSpec([], tf.int64)),
        "threads": signature(threads, number=tf.TensorSpec([], tf.int64)),
        "dial": signature(dial, address=text),
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


def _words(tf: Any, path: pathlib.Path) -> None:
    """TensorFlow Text's Python is not imported: its operation is loaded from its library."""
    found = importlib.util.find_spec("tensorflow_text")
    places = list(found.submodule_search_locations or ()) if found else []
    assert places, "The tests' SavedModels need TensorFlow Text: install .[text]"
    library = pathlib.Path(places[0], "python", "ops", "_normalize_ops.so")
    operations = tf.load_op_library(str(library))
    module = tf.Module()

    def serve(text: Any) -> dict[str, Any]:
        return {"folded": operations.case_fold_utf8(text)}

    signature = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    tf.saved_model.save(module, str(path), signatures=signature)


def _quoting(tf: Any, path: pathlib.Path) -> None:
    """Every signature fails with what TensorFlow then says of its input, or says it in the log; ``fine`` answers y = x."""
    numbers = ["float32", "float64", "half", "bfloat16", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
    texts: dict[str, Callable[[Any], Any]] = {
        "to_number": lambda x: tf.strings.to_number(x),
        "tokens_to_number": lambda x: tf.strings.to_number(tf.strings.split(x).values),
        "decode_csv": lambda x: tf.io.decode_csv(x, [[0.0], [0.0], [0.0]])[1],
        "decode_json": lambda x: tf.io.decode_json_example(x),
        "parse_example": lambda x: tf.io.parse_example(x, {"no_such": tf.io.FixedLenFeature([1], tf.float32)})[
            "no_such"
        ],
        "regex": lambda x: tf.strings.regex_full_match("a", tf.strings.join(["(", x[0]])),
        "read_file": lambda x: tf.io.read_file(x[0]),
        "parse_tensor": lambda x: tf.io.parse_tensor(x[0], tf.float32),
        "assert_string": lambda x: _refusing(tf, x, x),
        "assert_base64": lambda x: _refusing(tf, x, tf.io.encode_base64(x)),
        "assert_joined_base64": lambda x: _refusing(tf, x, tf.io.encode_base64(tf.strings.join(["a", x]), pad=True)),
        "assert_part": lambda x: _refusing(tf, x, tf.strings.substr(x, 3, 24)),
        "print": lambda x: _saying(tf, x, x),
        "print_base64": lambda x: _saying(tf, x, tf.io.encode_base64(tf.strings.join(["ab", x]))),
        "fine": lambda x: tf.identity(x),
    }
    v1 = tf.compat.v1
    describe = v1.saved_model.signature_def_utils
    with v1.Graph().as_default(), v1.Session() as session:
        signatures = {}
        for name, function in texts.items():
            x = v1.placeholder(tf.string, [None], name=f"{name}_x")
            signatures[name] = describe.predict_signature_def({"x": x}, {"y": function(x)})
        for dtype in (*numbers, "complex64", "complex128"):
            for name, quote in {"assert": _refusing, "print": _saying}.items():
                x = v1.placeholder(getattr(tf, dtype), [None], name=f"{name}_{dtype}_x")
                signatures[f"{name}_{dtype}"] = describe.predict_signature_def({"x": x}, {"y": quote(tf, x, x)})
        serialized = v1.placeholder(tf.string, [None], name="serialized")
        features = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        signatures["regress"] = describe.regression_signature_def(serialized, features["x"])
        signatures["serving_default"] = signatures["fine"]
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def _refusing(tf: Any, x: Any, quoted: Any) -> Any:
    with tf.control_dependencies([tf.debugging.Assert(False, [quoted], summarize=1000)]):
        return tf.identity(x)


def _saying(tf: Any, x: Any, quoted: Any) -> Any:
    shown = quoted if quoted.dtype == tf.string or not quoted.dtype.is_complex else tf.math.real(quoted)
    with tf.control_dependencies([tf.print("it was asked", shown, output_stream=sys.stderr, summarize=-1)]):
        return tf.identity(x)


def _matmul(tf: Any, path: pathlib.Path) -> None:
    module = tf.Module()
    module.w = tf.Variable(tf.eye(1024))
    function = tf.function(
        lambda x: {"y": tf.matmul(x, module.w)}, input_signature=[tf.TensorSpec([None, 1024], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(path), signatures=function)


def _vocabulary(tf: Any, path: pathlib.Path) -> None:
    words = path.parent / "words.txt"
    words.write_text("apple\nbanana\ncherry\n")
    module = tf.Module()
    initializer = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, default_value=-1)
    function = tf.function(
        lambda text: {"id": module.table.lookup(text), "upper": tf.strings.upper(text)},
        input_signature=[tf.TensorSpec([None], tf.string, "text")],
    )
    tf.saved_model.save(module, str(path), signatures=function)
    words.unlink()


def _two_inputs(tf: Any, path: pathlib.Path) -> None:
    module = tf.Module()
    spec = [tf.TensorSpec([None, 2], tf.float32, "a"), tf.TensorSpec([None, 2], tf.float32, "b")]

    def both(a: Any, b: Any) -> dict[str, Any]:
        return {"sum": a + b, "product": a * b, "names_bytes": tf.as_string(a[:, 0])}

    def scalar(a: Any, b: Any) -> dict[str, Any]:
        return {"total": tf.reduce_sum(a) + tf.reduce_sum(b)}

    def uneven(a: Any, b: Any) -> dict[str, Any]:
        return {"short": a[:1], "long": tf.concat([a, b], axis=0)}

    signatures = {
        "serving_default": tf.function(both, input_signature=spec),
        "scalar": tf.function(scalar, input_signature=spec),
        "uneven": tf.function(uneven, input_signature=spec),
        "matmul": tf.function(lambda a, b: {"y": tf.matmul(a, b)}, input_signature=spec),
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


def _slow(tf: Any, path: pathlib.Path) -> None:
    from tensorflow.python.data.experimental.ops.testing import sleep

    module = tf.Module()

    def serve(seconds: Any) -> dict[str, Any]:
        half = tf.cast(seconds * 5e5, tf.int64)  # microseconds; it sleeps before the element and again before the end
        sleeping = tf.data.Dataset.range(1).apply(sleep(half))
        return {"slept": sleeping.reduce(seconds, lambda state, _: state)}

    function = tf.function(serve, input_signature=[tf.TensorSpec([], tf.float32, "seconds")])
    tf.saved_model.save(module, str(path), signatures=function)


def _no_variables(tf: Any, path: pathlib.Path) -> None:
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        double = tf.multiply(x, 2.0, name="double")
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"double": double})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    shutil.rmtree(path / "variables", ignore_errors=True)


def _signatures(tf: Any, path: pathlib.Path) -> None:
    module = tf.Module()
    module.embedding = tf.Variable(tf.reshape(tf.range(40, dtype=tf.float32), [10, 4]))

    def image_bytes(image: Any) -> dict[str, Any]:
        decoded = tf.map_fn(
            lambda encoded: tf.ensure_shape(tf.io.decode_png(encoded, channels=3), [None, None, 3]),
            image,
            fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
        )
        return {"mean": tf.reduce_mean(tf.cast(decoded, tf.float32), axis=[1, 2, 3])}

    functions: dict[str, tuple[Callable[..., Any], list[tuple[Any, ...]]]] = {
        "text": (lambda text: {"upper": tf.strings.upper(text)}, [([None], tf.string, "text")]),
        "image_bytes": (image_bytes, [([None], tf.string, "image")]),
        "image": (
            lambda image: {"mean": tf.reduce_mean(tf.cast(image, tf.float32), axis=[1, 2, 3])},
            [([None, 2, 3, 3], tf.uint8, "image")],
        ),
        "tokens": (
            lambda tokens: {"length": tf.reduce_sum(tf.strings.length(tokens), axis=1)},
            [([None, None], tf.string, "tokens")],
        ),
        "ids": (lambda ids: {"embedded": tf.gather(module.embedding, ids)}, [([None, 3], tf.int64, "ids")]),
        "flags": (lambda flag: {"not": tf.logical_not(flag)}, [([None], tf.bool, "flag")]),
        "halves": (
            lambda half, brain: {"half": half * 2, "brain": brain * 2},
            [([None, 2], tf.float16, "half"), ([None, 2], tf.bfloat16, "brain")],
        ),
        "scalar": (lambda number: {"double": number * 2}, [([], tf.float32, "number")]),
    }
    signatures = {
        name: tf.function(function, input_signature=[tf.TensorSpec(*spec) for spec in specs])
        for name, (function, specs) in functions.items()
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


def _keras_features(tf: Any, path: pathlib.Path) -> None:
    keras: Any = importlib.import_module("keras")

    shapes = {"age": (1,), "income": (1,), "embedding": (4,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(keras.layers.Concatenate()([*inputs.values()]))
    keras.Model(inputs, {"score": score}).export(str(path))


def _keras_attribute(tf: Any, path: pathlib.Path) -> None:
    keras: Any = importlib.import_module("keras")

    module = tf.Module()
    module.model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    function = tf.function(
        lambda x: {"y": module.model(x)}, input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(path), signatures=function)


def _nan(tf: Any, path: pathlib.Path) -> None:
    module = tf.Module()
    function = tf.function(lambda x: {"y": x * float("nan")}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(path), signatures=function)


# ---------------------------------------------------------------------------------------- derived from those made


def _derive(directory: pathlib.Path) -> None:
    from google.protobuf import text_format

    def copy(source: str, name: str) -> pathlib.Path:
        target = directory / name / "1"
        shutil.copytree(directory / source / "1", target)
        return target

    path = copy("half_plus_two", "half_plus_two_pbtxt")
    with _edited(path) as model:
        text = text_format.MessageToString(model)
    (path / "saved_model.pb").unlink()
    (path / "saved_model.pbtxt").write_text(text)

    with _edited(copy("half_plus_two_tf2", "defaults")) as model:
        default = model.meta_graphs[0].signature_def["serving_default"].defaults["x"]
        default.dtype = 1
        default.tensor_shape.dim.add().size = 1
        default.float_val.append(8.0)
    with _edited(copy("no_variables", "unknown_op")) as model:
        next(node for node in model.meta_graphs[0].graph_def.node if node.op == "Mul").op = "OpThatNobodyHas"
    with _edited(copy("half_plus_two_tf2", "other_tags")) as model:
        model.meta_graphs[0].meta_info_def.tags.append("gpu")
    with _edited(copy("half_plus_two_tf2", "missing_tensor")) as model:
        model.meta_graphs[0].signature_def["serving_default"].outputs["y"].name = "no_such_tensor:0"

    shutil.rmtree(copy("half_plus_two_tf2", "missing_variables") / "variables")
    shutil.rmtree(copy("vocabulary", "missing_asset") / "assets")
    shard = "variables.data-00000-of-00001"
    (copy("half_plus_two_tf2", "missing_shard") / "variables" / shard).unlink()
    os.truncate(copy("half_plus_two_tf2", "truncated_shard") / "variables" / shard, 4)

    whole = (directory / "half_plus_two_tf2" / "1" / "saved_model.pb").read_bytes()
    contents = {
        "empty_pb": b"",
        "truncated_pb": whole[: len(whole) // 2],
        "garbage_pb": bytes((index * 37 + 11) % 256 for index in range(4096)),
        "gzip_pb": gzip.compress(whole),
    }
    for name, content in contents.items():
        (copy("half_plus_two_tf2", name) / "saved_model.pb").write_bytes(content)
    (copy("half_plus_two_tf2", "no_pb") / "saved_model.pb").unlink()


@contextlib.contextmanager
def _edited(path: pathlib.Path) -> Iterator[Any]:
    """The SavedModel message of a directory; written back afterwards. TensorFlow's own message: all fields survive."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    yield model
    (path / "saved_model.pb").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    write_all(pathlib.Path(sys.argv[1]))
