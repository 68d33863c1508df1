"""Runs a compiled Kubeflow Pipelines v2 pipeline on this machine, the way the backend's launcher runs a task.

Every task is a process: the container's command and arguments as compiled, with the placeholders filled in from the ExecutorInput
(artifacts and parameters as JSON); artifacts lie on the local disk, and what a task tells in its executor output goes to the
tasks after it. There are no custom drivers, no metadata store and no images, as far as a task can see; a container's pre-cache
check (TFX's example generators have one) is run as the backend runs it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]

_TASK_SECONDS = 900


class TaskFailed(Exception):
    """A task's process ended with another code than 0."""


@dataclasses.dataclass
class TaskRun:
    """What a task made.

    Attributes:
      artifacts: output name -> the artifact (uri, type, metadata) as the executor output has it.
      parameters: output name -> the value.
    """

    artifacts: dict[str, Json]
    parameters: dict[str, Any]


class LocalBackend:
    """Runs the tasks of one compiled pipeline.

    Args:
      pipeline: the pipeline spec (of TFX's job JSON, or of kfp's YAML).
      root: a directory for artifacts and outputs.
      say: told what goes on.
      environment: added to the tasks' environment.
    """

    def __init__(
        self,
        pipeline: Json,
        root: pathlib.Path,
        *,
        say: Callable[[str], None] = print,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._root = root
        self._say = say
        self._environment = {**os.environ, **(environment or {})}
        self.runs: dict[str, TaskRun] = {}

    def run(self, parameters: Mapping[str, Any] | None = None) -> None:
        """Run all tasks that have not run, each after those that it depends on.

        Args:
          parameters: the pipeline's own parameters; what is left out has its default.

        Raises:
          TaskFailed: a task's process failed; the tasks after it are not run.
        """
        tasks: Json = self._pipeline["root"]["dag"]["tasks"]
        done = set(self.runs)
        while len(done) < len(tasks):
            ready = [
                name for name in tasks if name not in done and set(tasks[name].get("dependentTasks") or ()) <= done
            ]
            for name in ready:
                self.run_task(name, parameters or {})
                done.add(name)

    def run_task(self, name: str, parameters: Mapping[str, Any] | None = None) -> TaskRun:
        """Run one task; the tasks whose artifacts it takes must have run."""
        task = self._pipeline["root"]["dag"]["tasks"][name]
        component = self._pipeline["components"][task["componentRef"]["name"]]
        deployment = self._pipeline["deploymentSpec"]
        executor = deployment["executors"][component["executorLabel"]]
        directory = self._root / name
        directory.mkdir(parents=True, exist_ok=True)
        executor_input = self._executor_input(task, component, directory, parameters or {})
        if "importer" in executor:
            self.runs[name] = self._import(executor["importer"], component, executor_input)
            return self.runs[name]
        container = executor["container"]
        before = (container.get("lifecycle") or {}).get("preCacheCheck")
        if before:
            self._execute(f"{name} (pre-cache check)", before, executor_input)
        self._execute(name, container, executor_input)
        self.runs[name] = _outputs(executor_input)
        return self.runs[name]

    # ---------------------------------------------------------------- one task

    def _executor_input(self, task: Json, component: Json, directory: pathlib.Path, given: Mapping[str, Any]) -> Json:
        inputs: Json = {"artifacts": {}, "parameters": {}, "parameterValues": {}}
        wanted = task.get("inputs") or {}
        for key, source in (wanted.get("artifacts") or {}).items():
            made = source["taskOutputArtifact"]
            artifact = self.runs[made["producerTask"]].artifacts[made["outputArtifactKey"]]
            inputs["artifacts"][key] = {"artifacts": [artifact]}
        for key, source in (wanted.get("parameters") or {}).items():
            self._put_parameter(inputs, key, source, given)
        defined = component.get("outputDefinitions") or {}
        outputs: Json = {"artifacts": {}, "parameters": {}, "outputFile": str(directory / "executor_output.json")}
        for key, definition in (defined.get("artifacts") or {}).items():
            artifact = {
                "name": f"{directory.name}/{key}",
                "uri": str(directory / key),
                "type": definition["artifactType"],
            }
            outputs["artifacts"][key] = {"artifacts": [artifact]}
        for key in defined.get("parameters") or {}:
            outputs["parameters"][key] = {"outputFile": str(directory / f"parameter-{key}")}
        return {"inputs": inputs, "outputs": outputs}

    def _put_parameter(self, inputs: Json, key: str, source: Json, given: Mapping[str, Any]) -> None:
        """Both schema versions: 2.0 has typed values, 2.1 plain JSON, in which every number is a float."""
        if "taskOutputParameter" in source:
            made = source["taskOutputParameter"]
            value = self.runs[made["producerTask"]].parameters[made["outputParameterKey"]]
        elif "componentInputParameter" in source:
            name = source["componentInputParameter"]
            definitions = self._pipeline["root"]["inputDefinitions"]["parameters"]
            value = given[name] if name in given else definitions[name]["defaultValue"]
        else:
            runtime = source["runtimeValue"]
            if "constantValue" in runtime:
                inputs["parameters"][key] = runtime["constantValue"]
                return
            value = runtime["constant"]
        number = isinstance(value, int) and not isinstance(value, bool)
        inputs["parameterValues"][key] = float(value) if number else value

    def _import(self, importer: Json, component: Json, executor_input: Json) -> TaskRun:
        ((key, definition),) = component["outputDefinitions"]["artifacts"].items()
        uri = importer["artifactUri"]
        if "runtimeParameter" in uri:
            value = executor_input["inputs"]["parameterValues"][uri["runtimeParameter"]]
        else:
            value = uri.get("constant") or uri["constantValue"]["stringValue"]
        return TaskRun({key: {"name": key, "uri": value, "type": definition["artifactType"]}}, {})

    def _execute(self, name: str, container: Json, executor_input: Json) -> None:
        parts = [
            _filled(part, executor_input)
            for part in [*(container.get("command") or ()), *(container.get("args") or ())]
        ]
        if parts[0] in ("python", "python3"):
            parts[0] = sys.executable
        self._say(f"{name}: {' '.join(parts[:4])} ...")
        log = pathlib.Path(executor_input["outputs"]["outputFile"]).with_name("log")
        with log.open("ab") as file:
            code = subprocess.run(
                parts, env=self._environment, stdout=file, stderr=subprocess.STDOUT, timeout=_TASK_SECONDS, check=False
            ).returncode
        if code != 0:
            tail = log.read_text(errors="replace").splitlines()[-15:]
            raise TaskFailed(f"{name} ended with exit code {code}:\n" + "\n".join(tail))


def _filled(part: str, executor_input: Json) -> str:
    """A command's part with its placeholders filled in."""
    if part == "{{$}}":
        return json.dumps(executor_input)
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]

    def replace(match: re.Match[str]) -> str:
        side, kind, key, field = match[1], match[2], match[3], match[4] or ""
        where = inputs if side == "inputs" else outputs
        if kind == "artifacts":
            return str(where["artifacts"][key]["artifacts"][0]["uri"])  # on the local disk a path is its URI
        if side == "outputs":
            assert field == "output_file", part
            return str(where["parameters"][key]["outputFile"])
        value = where["parameterValues"].get(key, where["parameters"].get(key))
        return value if isinstance(value, str) else json.dumps(value)

    return re.sub(r"\{\{\$\.(inputs|outputs)\.(artifacts|parameters)\['([^']+)'\](?:\.(\w+))?\}\}", replace, part)


def _outputs(executor_input: Json) -> TaskRun:
    """What a task has made, with what it told of it in its executor output."""
    outputs = executor_input["outputs"]
    told: Json = {}
    if os.path.exists(outputs["outputFile"]):
        told = json.loads(pathlib.Path(outputs["outputFile"]).read_text())
    artifacts = {}
    for key, listed in outputs["artifacts"].items():
        (artifact,) = listed["artifacts"]
        (more,) = (told.get("artifacts") or {}).get(key, {}).get("artifacts") or [{}]
        artifacts[key] = {**artifact, **more, "type": artifact["type"]}
    parameters = dict(told.get("parameterValues") or {})
    for key, file in outputs["parameters"].items():
        if os.path.exists(file["outputFile"]):
            parameters[key] = pathlib.Path(file["outputFile"]).read_text()
    return TaskRun(artifacts, parameters)
