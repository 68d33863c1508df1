"""Ours: --load_op_library, with a library as people build them: g++, TensorFlow's headers, REGISTER_OP."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from component_tests.contract.tensorflow_serving.process.test_process import last_line, run
from component_tests.contract.tensorflow_serving.requests import predict_request, spec, tensor
from component_tests.contract.tensorflow_serving.rest.http_client import predictions
from component_tests.fakes.saved_models import ROOT, SavedModels
from component_tests.fakes.servers.embedded_server_process import embedded_server
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import Verdict

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the compiler takes 15 seconds on a machine of its own

#: The operation of the model unknown_op. Not the multiplication whose place it took there, so the answer shows whose it is.
SOURCE = """
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

using namespace tensorflow;

REGISTER_OP("OpThatNobodyHas").Input("x: T").Input("by: T").Output("y: T").Attr("T: {float}")
    .SetShapeFn([](shape_inference::InferenceContext* context) {
      context->set_output(0, context->input(0));
      return absl::OkStatus();
    });

class OpThatNobodyHas : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    const float by = context->input(1).scalar<float>()();
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    for (int64_t i = 0; i < x.NumElements(); ++i) y->flat<float>()(i) = by * x.flat<float>()(i) + 100;
  }
};

REGISTER_KERNEL_BUILDER(Name("OpThatNobodyHas").Device(DEVICE_CPU), OpThatNobodyHas);
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    assert shutil.which("g++"), "this test needs g++"
    found = importlib.util.find_spec("tensorflow")
    assert found is not None
    assert found.submodule_search_locations
    tensorflow = pathlib.Path(found.submodule_search_locations[0])
    folder = tmp_path_factory.mktemp("op_library")
    source, made = folder / "ops.cc", folder / "ops.so"
    source.write_text(SOURCE)
    newer = tuple(map(int, importlib.metadata.version("tensorflow").split(".")[:2])) >= (2, 21)
    flags = [f"-std=c++{20 if newer else 17}", "-shared", "-fPIC", "-w", "-D_GLIBCXX_USE_CXX11_ABI=1"]
    command = ["g++", *flags, f"-I{tensorflow / 'include'}", str(source), "-o", str(made)]
    done = subprocess.run(
        [*command, str(tensorflow / "libtensorflow_framework.so.2")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return made


def test_ours_serve_answers_with_the_operations_of_a_library(library: pathlib.Path, saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('unknown_op')}", "--model_name=m"]
    with embedded_server(*flags, f"--load_op_library={library}", program=("infra_validator", "serve")) as server:
        assert predictions(server, "m:predict", {"instances": [1.0, 2.5]}) == [102.0, 105.0]
        answer = server.predict(predict_request(spec("m"), x=tensor([1.0, 2.5])))
    assert list(answer.outputs["double"].float_val) == [102.0, 105.0]


@pytest.mark.parametrize("low", [102, 103])
def test_ours_validate_looks_at_what_they_answer(
    low: int, library: pathlib.Path, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    requests, report = tmp_path / "requests.json", tmp_path / "report"
    requests.write_text('{"instances": [1.0, 2.5]}')
    serving = {"tensorflow_serving": {}, "local_process": {"op_libraries": [str(library)]}}
    command = [sys.executable, "-m", "infra_validator", "validate", f"--model={saved_models.path('unknown_op')}"]
    command += [f"--requests={requests}", f"--serving-spec={json.dumps(serving)}", f"--output={report}"]
    command += ["--validation-spec", json.dumps({"answers": {"ranges": {"double": [low, 105]}}})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    verdict = json.loads((report / "verdict.json").read_text())
    expected = (0, "BLESSED") if low == 102 else (1, "ANSWER_OUT_OF_RANGE")
    assert (done.returncode, verdict["reason_code"]) == expected, done.stdout + done.stderr


@pytest.mark.parametrize("size", [64, 4096, -1], ids=["its header", "its first page", "all but a byte"])
def test_ours_half_a_library_ends_the_start(size: int, library: pathlib.Path, tmp_path: pathlib.Path) -> None:
    half = tmp_path / "half.so"
    half.write_bytes(library.read_bytes()[:size])
    done = run("--model_base_path=/x", f"--load_op_library={library},{half}")
    assert done.returncode == 255
    assert last_line(done).startswith(
        f"Failed to start server. Error: --load_op_library={half}: DATA_LOSS: {half}: the file is cut off: "
    )


def test_ours_half_a_library_is_not_the_models_fault(
    library: pathlib.Path, saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    half = tmp_path / "half.so"
    half.write_bytes(library.read_bytes()[:4096])
    serving = {"tensorflow_serving": {}, "local_process": {"op_libraries": [str(half)]}}
    report = run_validation(saved_models.path("unknown_op"), serving, {"num_tries": 2, "max_loading_time_seconds": 60})
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.BAD_SPEC)
    assert "half.so: the file is cut off" in report.finding.detail
