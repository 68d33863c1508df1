"""Runs a compiled Kubeflow Pipelines v2 pipeline on this machine, the way the backend's launcher runs a task.

Every task is a process: the container's command and arguments as compiled, with the placeholders filled in from the ExecutorInput
(artifacts and parameters as JSON); artifacts lie on the local disk, and what a task tells in its executor output goes to the
tasks after it. There are no custom drivers, no metadata store and no images, as far as a task can see; a container's pre-cache
check (TFX's example generators have one) is run as the backend runs it.
"""

from __future__ import annotations

import concurrent.futures
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
_CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\] == '([^']*)'")


class TaskFailed(Exception):
    """A task's process ended with another code than 0."""


@dataclasses.dataclass
class TaskRun:
    """What a task made.

    Attributes:
      artifacts: output name -> the artifact (uri, type, metadata) as the executor output has it; of a loop the list of its iterations'.
      parameters: output name -> the value; of a loop the list of its iterations'.
      within: of a group of tasks (a loop, a condition) what the tasks in it made, a table for each iteration.
    """

    artifacts: dict[str, Any]
    parameters: dict[str, Any]
    within: list[dict[str, TaskRun]] = dataclasses.field(default_factory=list)


class LocalBackend:
    """Runs the tasks of one compiled pipeline: containers, importers, loops (``dsl.ParallelFor``), conditions that compare with a text
    (``dsl.If``), retries.

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
        path = self._environment.get("PATH", os.defpath)
        self._environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{path}"  # the image's python3
        self.runs: dict[str, TaskRun] = {}

    def run(self, parameters: Mapping[str, Any] | None = None) -> None:
        """Run all tasks that have not run, each after those that it depends on.

        Args:
          parameters: the pipeline's own parameters; what is left out has its default.

        Raises:
          TaskFailed: a task's process failed; the tasks after it are not run.
        """
        self._run_group(self._pipeline["root"], self._of_pipeline(parameters), self._root, self.runs)

    def run_task(self, name: str, parameters: Mapping[str, Any] | None = None) -> TaskRun:
        """Run one task of the pipeline's outermost; the tasks whose artifacts it takes must have run."""
        task = self._pipeline["root"]["dag"]["tasks"][name]
        inputs = self._inputs(task, self._of_pipeline(parameters), self.runs)
        self.runs[name] = self._run_one(name, task, inputs, self._root / name)
        return self.runs[name]

    # ---------------------------------------------------------------- groups of tasks

    def _of_pipeline(self, given: Mapping[str, Any] | None) -> Json:
        definitions = (self._pipeline["root"].get("inputDefinitions") or {}).get("parameters") or {}
        defaults = {name: one["defaultValue"] for name, one in definitions.items() if "defaultValue" in one}
        return {"artifacts": {}, "parameters": {}, "parameterValues": {**defaults, **(given or {})}}

    def _run_group(self, group: Json, inputs: Json, directory: pathlib.Path, runs: dict[str, TaskRun]) -> None:
        """Run the tasks of a pipeline, a loop's iteration or a condition; ``runs`` gets what they made."""
        tasks: Json = group["dag"]["tasks"]
        over = set(runs)  # with those that are left out
        while len(over) < len(tasks):
            for name, task in tasks.items():
                before = set(task.get("dependentTasks") or ())
                if name in over or not before <= over:
                    continue
                over.add(name)
                if not before <= set(runs):
                    continue
                own = self._inputs(task, inputs, runs)
                if _wanted(task, own):
                    runs[name] = self._run_one(name, task, own, directory / name)

    def _run_one(self, name: str, task: Json, inputs: Json, directory: pathlib.Path) -> TaskRun:
        component = self._pipeline["components"][task["componentRef"]["name"]]
        iterator = task.get("parameterIterator")
        if iterator is not None:
            return self._run_loop(iterator, task, component, inputs, directory)
        if "dag" in component:
            runs: dict[str, TaskRun] = {}
            self._run_group(component, inputs, directory, runs)
            return TaskRun(*_selected(component, runs), [runs])
        return self._run_container(name, task, component, inputs, directory)

    def _run_loop(self, iterator: Json, task: Json, component: Json, inputs: Json, directory: pathlib.Path) -> TaskRun:
        """A group for each item, as many at once as the pipeline allows; one that fails does not end the others."""
        items = iterator["items"]
        values = json.loads(items["raw"]) if "raw" in items else inputs["parameterValues"][items["inputParameter"]]
        limit = (task.get("iteratorPolicy") or {}).get("parallelismLimit") or len(values)

        def iteration(number: int) -> dict[str, TaskRun]:
            own = {**inputs["parameterValues"], iterator["itemInput"]: values[number]}
            runs: dict[str, TaskRun] = {}
            self._run_group(component, {**inputs, "parameterValues": own}, directory / str(number), runs)
            return runs

        with concurrent.futures.ThreadPoolExecutor(max(1, limit)) as pool:
            begun = [pool.submit(iteration, number) for number in range(len(values))]
        within = [one.result() for one in begun]
        made = [_selected(component, runs) for runs in within]
        outputs = component.get("outputDefinitions") or {}
        artifacts = {key: [one[0][key] for one in made] for key in outputs.get("artifacts") or {}}
        parameters = {key: [one[1][key] for one in made] for key in outputs.get("parameters") or {}}
        return TaskRun(artifacts, parameters, within)

    # ---------------------------------------------------------------- one task

    def _run_container(self, name: str, task: Json, component: Json, inputs: Json, directory: pathlib.Path) -> TaskRun:
        executor = self._pipeline["deploymentSpec"]["executors"][component["executorLabel"]]
        directory.mkdir(parents=True, exist_ok=True)
        executor_input = {"inputs": inputs, "outputs": _places(component, directory)}
        if "importer" in executor:
            return self._import(executor["importer"], component, executor_input)
        container = executor["container"]
        before = (container.get("lifecycle") or {}).get("preCacheCheck")
        if before:
            self._execute(f"{name} (pre-cache check)", before, executor_input)
        tries = 1 + int((task.get("retryPolicy") or {}).get("maxRetryCount", 0))
        for left in reversed(range(tries)):
            try:
                self._execute(name, container, executor_input)
                break
            except TaskFailed:
                if not left:
                    raise
        return _outputs(executor_input)

    def _inputs(self, task: Json, given: Json, runs: Mapping[str, TaskRun]) -> Json:
        """What a task takes, from the group that it stands in and from the tasks before it."""
        inputs: Json = {"artifacts": {}, "parameters": {}, "parameterValues": {}}
        component = self._pipeline["components"][task["componentRef"]["name"]]
        for key, one in ((component.get("inputDefinitions") or {}).get("parameters") or {}).items():
            if "defaultValue" in one:
                inputs["parameterValues"][key] = _number_as_float(one["defaultValue"])
        wanted = task.get("inputs") or {}
        for key, source in (wanted.get("artifacts") or {}).items():
            if "componentInputArtifact" in source:
                inputs["artifacts"][key] = given["artifacts"][source["componentInputArtifact"]]
                continue
            made = source["taskOutputArtifact"]
            artifact = runs[made["producerTask"]].artifacts[made["outputArtifactKey"]]
            inputs["artifacts"][key] = {"artifacts": artifact if isinstance(artifact, list) else [artifact]}
        for key, source in (wanted.get("parameters") or {}).items():
            _put_parameter(inputs, key, source, given, runs)
        return inputs

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
        self._say(f"{name}: {' '.join(parts[:4]).splitlines()[0]} ...")
        log = pathlib.Path(executor_input["outputs"]["outputFile"]).with_name("log")
        with log.open("ab") as file:
            code = subprocess.run(
                parts, env=self._environment, stdout=file, stderr=subprocess.STDOUT, timeout=_TASK_SECONDS, check=False
            ).returncode
        if code != 0:
            tail = log.read_text(errors="replace").splitlines()[-15:]
            raise TaskFailed(f"{name} ended with exit code {code}:\n" + "\n".join(tail))


def _put_parameter(inputs: Json, key: str, source: Json, given: Json, runs: Mapping[str, TaskRun]) -> None:
    """Both schema versions: 2.0 has typed values, 2.1 plain JSON, in which every number is a float."""
    if "parameterExpressionSelector" in source:
        raise NotImplementedError(f"{key}: a part of a loop's item ({source['parameterExpressionSelector']})")
    if "taskOutputParameter" in source:
        made = source["taskOutputParameter"]
        value = runs[made["producerTask"]].parameters[made["outputParameterKey"]]
    elif "componentInputParameter" in source:
        value = given["parameterValues"][source["componentInputParameter"]]
    else:
        runtime = source["runtimeValue"]
        if "constantValue" in runtime:
            inputs["parameters"][key] = runtime["constantValue"]
            return
        value = runtime["constant"]
    inputs["parameterValues"][key] = _number_as_float(value)


def _number_as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _places(component: Json, directory: pathlib.Path) -> Json:
    """Where a task is to put what it makes."""
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
    return outputs


def _wanted(task: Json, inputs: Json) -> bool:
    """Whether a task's condition, if it has one, holds."""
    condition = (task.get("triggerPolicy") or {}).get("condition")
    if condition is None:
        return True
    compared = _CONDITION.fullmatch(condition)
    if compared is None:
        raise NotImplementedError(f"the condition {condition}")
    return bool(inputs["parameterValues"][compared[1]] == compared[2])


def _selected(group: Json, runs: Mapping[str, TaskRun]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(artifacts, parameters) that a group hands on of what its tasks made."""
    outputs = group["dag"].get("outputs") or {}
    artifacts, parameters = {}, {}
    for key, source in (outputs.get("artifacts") or {}).items():
        (chosen,) = source["artifactSelectors"]
        artifacts[key] = runs[chosen["producerSubtask"]].artifacts[chosen["outputArtifactKey"]]
    for key, source in (outputs.get("parameters") or {}).items():
        chosen = source["valueFromParameter"]
        parameters[key] = runs[chosen["producerSubtask"]].parameters[chosen["outputParameterKey"]]
    return artifacts, parameters


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
