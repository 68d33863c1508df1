"""Two models that are alike but for how their servers behave, and a validation of one against the other."""

from __future__ import annotations

import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import Interruption, run_validation
from infra_validator.report.verdict import ValidationReport

#: Measured for a short time, since the injected delays are far apart: at most 8 blocks of 0.1 s and few of warm-up.
SHORT = {"seconds": 0.8, "warm_up_seconds": 0.1, "at_most_seconds": 4}


class Models:
    """Copies of one real SavedModel whose servers behave as a file in them says.

    Args:
      saved_models: where it comes from.
      folder: where copies go.
    """

    def __init__(self, saved_models: SavedModels, folder: pathlib.Path) -> None:
        self._saved_models = saved_models
        self.folder = folder

    def model(self, name: str, of: str = "half_plus_two_tf2", **behaviour: Any) -> pathlib.Path:
        """A copy; ``behaviour`` as misbehaving_servers.as_its_model_says has it; answers take 10 ms."""
        model = self._saved_models.copy(of, self.folder / name)
        (model / "assets.extra").mkdir(exist_ok=True)
        (model / "assets.extra" / "behaviour.json").write_text(json.dumps({"delays_ms": [10], **behaviour}))
        return model

    @property
    def serving_spec(self) -> dict[str, Any]:
        """Of a server that does as its model says; everything it starts has the folder in its environment."""
        binary = self.folder / "tensorflow_model_server"
        server = [sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", "as_its_model_says"]
        binary.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(server)} "$@"\n')
        binary.chmod(0o755)
        local = {"binary_path": str(binary), "env": {"BASELINE_TESTS": str(self.folder)}}
        return {"tensorflow_serving": {}, "local_process": local, "model_name": "m"}

    def compare(
        self,
        model: pathlib.Path,
        baseline: pathlib.Path | str | None,
        limits: Mapping[str, Any],
        load: Mapping[str, Any] = SHORT,
        *,
        on_progress: Callable[[str], None] = print,
        interruption: Interruption | None = None,
        **spec: Any,
    ) -> ValidationReport:
        """Validate one model against the other."""
        requests = self.folder / "requests.json"
        requests.write_text('{"instances": [1.0, 2.0]}')
        spec = {"limits": limits, "load": load, "num_tries": 1, "stop_grace_seconds": 0.3, **spec}
        return run_validation(
            model,
            self.serving_spec,
            spec,
            requests=str(requests),
            baseline_model=baseline,
            on_progress=on_progress,
            interruption=interruption,
        )
