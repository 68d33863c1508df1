"""make demo: a real TFX pipeline trains a model, validates it against a real server and pushes it; then one that is not pushed.

Everything is written under ``demo-output`` (or the directory given). The last two lines on
stdout are read back from disk; after them come the paths of the two reports.
"""

from __future__ import annotations

import logging
import os
import pathlib
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main() -> int:
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo-output").resolve()
    sys.path.insert(0, str(ROOT))  # the Trainer imports pipelines.local.trainer
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    began = time.monotonic()
    _say("importing TFX, which takes a while")
    from tfx import v1 as tfx

    from infra_validator.core.errors import InfraValidatorError
    from pipelines.local import data
    from pipelines.local.pipeline import create_pipeline
    from pipelines.outcome import read_outcome

    _quiet_logs()
    _say(f"TFX imported ({time.monotonic() - began:.0f} s)")
    shutil.rmtree(directory, ignore_errors=True)
    data.write_csv(directory / "data")
    lines, reports = [], []
    for number, python_in_graph in enumerate((False, True), start=1):
        began = time.monotonic()
        _say(f"run {number}: " + ("a model with Python in its graph" if python_in_graph else "a good model"))
        try:
            compare = number > 1  # nothing was pushed before the first run, which TFX's resolver tells with a traceback
            pipeline = create_pipeline("demo", directory, python_in_graph=python_in_graph, compare_with_pushed=compare)
            tfx.orchestration.LocalDagRunner().run(pipeline)
            outcome = read_outcome(directory / "metadata.sqlite")
            lines.append(outcome.line())
            reports.append(outcome.report)
        except (InfraValidatorError, LookupError) as error:
            _say(f"run {number} failed: {error}")
            return 1
        _say(f"run {number} is done ({time.monotonic() - began:.0f} s)")
    sys.stderr.flush()
    print("\n".join(lines), flush=True)
    for number, report in enumerate(reports, start=1):
        _say(f"the report of run {number}, for your browser: {report.as_uri()}")
    return 0


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def _quiet_logs() -> None:
    """Our own lines and everybody else's warnings."""
    import absl.logging

    absl.logging.set_verbosity(absl.logging.ERROR)
    logging.getLogger().setLevel(logging.WARNING)
    ours = logging.getLogger("infra_validator")
    ours.setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("infra_validator: %(message)s"))
    ours.addHandler(handler)
    ours.propagate = False


if __name__ == "__main__":
    sys.exit(main())
