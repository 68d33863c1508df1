# Everything here sets itself up: the environments are made by tools/bootstrap.py when a lock file has changed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON3 ?= python3
PROBE_PYTHONS ?= $(PYTHON3)
VENV := .venv/bin
AIRFLOW_VENV := .venv-airflow/bin
AIRFLOW_TESTS := $(wildcard component_tests/real_platforms/airflow/test_*.py component_tests/real_platforms/kubeflow/test_kfp*.py)
UV := $(firstword $(wildcard .cache/uv-venv/bin/uv) uv)
PYTEST := $(VENV)/python -m pytest
# A file's tests stay on one worker; the files that import TFX share one and begin (component_tests/conftest.py).
WORKERS ?= 4
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help map env env-airflow env-caikit env-mlserver env-kserve lint format test test-fast test-platforms test-docker test-airflow test-caikit test-mlserver test-kserve test-kubectl test-report test-tfx-next test-matrix bench-docker demo demo-airflow demo-kubeflow probe-pyz lock clean

help:  ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

env:
	@$(PYTHON3) tools/bootstrap.py main

env-airflow:
	@$(PYTHON3) tools/bootstrap.py airflow

env-caikit:
	@$(PYTHON3) tools/bootstrap.py caikit

env-mlserver env-kserve: env-%:
	@$(PYTHON3) tools/bootstrap.py $*

map:  ## The rooms of the package from the ground up: files, lines, and the imports between them.
	@$(PYTHON3) -m tools.map

lint: env  ## ruff and mypy --strict.
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

format: env  ## Format the code.
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

test: lint  ## Everything that needs no daemon, in four workers (WORKERS=4), whose waits overlap; 5 to 6 minutes on two cores.
	$(PYTEST) $(PARALLEL) -m "not docker and not airflow and not caikit and not mlserver and not kserve and not kfp and not kubernetes and not kubectl and not chromium"

test-fast: env  ## The tests that take milliseconds; under a minute.
	PYTHONHASHSEED=0 $(PYTEST) $(PARALLEL) -m "not docker and not airflow and not caikit and not mlserver and not kserve and not kfp and not kubernetes and not kubectl and not chromium and not tfx and not slow" component_tests/unit component_tests/contract

test-platforms: test-docker test-airflow test-caikit test-mlserver test-kserve test-kubectl test-report test-tfx-next  ## Docker, Airflow, Kubeflow Pipelines, caikit, MLServer, KServe, kubectl, Chromium, TFX 1.21.

test-docker: env  ## The tests on a Docker daemon: the one that answers, else one started for them.
	tools/with_dockerd.sh $(PYTEST) -m "docker and not airflow and not kfp" --require-platforms

test-airflow: env-airflow env  ## The tests on Airflow and Kubeflow Pipelines, in their own environment.
	tools/with_dockerd.sh $(AIRFLOW_VENV)/python -m pytest --require-platforms $(AIRFLOW_TESTS)

test-caikit: env-caikit env  ## The conformance test on caikit's own runtime.
	$(PYTEST) -m caikit --require-platforms

test-mlserver test-kserve: test-%: env-% env  ## The Open Inference client on MLServer and on KServe's model server.
	$(PYTEST) -m $* --require-platforms component_tests/real_platforms/test_$*.py

test-kubectl: env  ## The fake cluster of the Kubernetes tests, driven by kubectl.
	$(PYTEST) -m kubectl --require-platforms component_tests/real_platforms/test_kubectl.py

test-report: env  ## The reports in a headless Chromium, with axe-core (npm fetches it into .cache).
	$(PYTEST) -m chromium --require-platforms component_tests/real_platforms/test_report_in_chromium.py

test-tfx-next: env  ## TFX 1.21, Python 3.13, protobuf 6: the TFX tests in a Debian 13; needs root and debootstrap.
	$(VENV)/python -c "from component_tests.fakes.saved_models import made_once; made_once()"
	tools/debian13.sh python -m pytest -p no:cacheprovider -m tfx component_tests/component/tfx

test-matrix: env  ## The wheel on Python 3.10 to 3.13 and the libraries' oldest and newest versions; about fifteen minutes.
	$(PYTHON3) tools/test_matrix.py $(ROWS)

bench-docker: env  ## The race on Docker: TFX's executor, by hand, ours; about ten minutes.
	tools/with_dockerd.sh $(VENV)/python -W ignore -m benchmarks.docker_race

demo: env  ## A real TFX pipeline, blessed and pushed; then one that is not.
	$(VENV)/python -W ignore pipelines/local/demo.py

demo-airflow: env-airflow  ## The same pipeline on Airflow.
	$(AIRFLOW_VENV)/python -W ignore pipelines/airflow/demo.py

probe-pyz:  ## The status probe as one file for images: dist/tfs_model_status_probe.pyz (PROBE_PYTHONS="python3.10 ...").
	$(PYTHON3) tools/build_probe_pyz.py --compile-for $(PROBE_PYTHONS)

demo-kubeflow: env-airflow  ## The same pipeline compiled for Kubeflow Pipelines v2, each compiled task run.
	$(AIRFLOW_VENV)/python -W ignore pipelines/kubeflow/demo.py

lock: env  ## Compile the lock files again.
	for name in main airflow caikit mlserver kserve; do \
	  $(UV) pip compile requirements/$$name.in --python-version 3.10 --no-annotate --no-header --no-emit-index-url -q -o requirements/$$name.lock; \
	done
	uv pip compile requirements/tfx_next.in --python-version 3.13 --python-platform x86_64-manylinux_2_39 --no-annotate --no-header --no-emit-index-url -q -o requirements/tfx_next.lock

clean:  ## Remove everything that was made.
	rm -rf .venv .venv-airflow .venv-caikit .venv-mlserver .venv-kserve .cache build dist *.egg-info demo-output*
