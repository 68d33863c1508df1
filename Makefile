# Everything here sets itself up: the environments are made by tools/bootstrap.py when a lock file has changed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON3 ?= python3
PROBE_PYTHONS ?= $(PYTHON3)
VENV := .venv/bin
AIRFLOW_VENV := .venv-airflow/bin
AIRFLOW_TESTS := $(wildcard component_tests/real_platforms/airflow/test_*.py component_tests/real_platforms/kubeflow/test_kfp*.py)
# What has been seen to pass on TFX 1.21, as far as four minutes go; the rest of test_kfp.py passes, too, and takes as long again.
KFP_TESTS := component_tests/real_platforms/kubeflow/test_kfp.py
TFX_NEXT_TESTS := component_tests/component/tfx component_tests/contract/tensorflow_serving/grpc/test_official_client.py \
	component_tests/real_platforms/kubeflow/test_kfp_blessing.py \
	$(addprefix $(KFP_TESTS)::,test_tfx_compiles_the_component_with_standard_types_and_no_driver test_every_input_is_a_single_channel)
UV := $(firstword $(wildcard .cache/uv-venv/bin/uv) uv)
COMPILE := $(UV) pip compile --generate-hashes --no-annotate --no-header --no-emit-index-url -q
PYTEST := $(VENV)/python -m pytest
# A file's tests stay on one worker; the files that import TFX share one and begin (component_tests/conftest.py).
WORKERS ?= 4
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What needs something that is not everywhere has a marker, and a target of its own.
APART := docker airflow caikit mlserver kserve triton decision_forests kfp kubernetes kubectl docs release chromium faults stress
EVERYWHERE := not $(subst $() , and not ,$(strip $(APART)))

.PHONY: help map soak faults env env-airflow env-caikit env-mlserver env-kserve env-triton env-docs env-release env-fuzz lint format test test-fast test-platforms test-docker test-airflow test-caikit test-mlserver test-kserve test-triton test-kubectl test-sandbox test-stress test-fuzz fuzz test-report test-docs test-wheel test-tfx-next test-matrix bench-docker docs demo demo-airflow demo-kubeflow probe-pyz dist lock clean

help:  ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

env:
	@$(PYTHON3) tools/bootstrap.py main

env-airflow:
	@$(PYTHON3) tools/bootstrap.py airflow

env-caikit:
	@$(PYTHON3) tools/bootstrap.py caikit

env-mlserver env-kserve env-triton env-docs env-release env-mutants env-fuzz: env-%:
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

test: lint  ## Everything that needs no daemon, in four workers (WORKERS=4), whose waits overlap; the slowest are listed at the end.
	$(PYTEST) $(PARALLEL) --durations=20 -m "$(EVERYWHERE)"

test-fast: env  ## The tests that take milliseconds; under a minute.
	PYTHONHASHSEED=0 $(PYTEST) $(PARALLEL) -m "$(EVERYWHERE) and not tfx and not slow" component_tests/unit component_tests/contract

.PHONY: coverage mutants env-mutants
coverage: env  ## Branch coverage of make test's tests, servers and commands included: a table, and at least 92 %.
	rm -rf .cache/coverage && mkdir -p .cache/coverage
	tests=0; PYTHONPATH=$(CURDIR)/tools/measured $(PYTEST) $(PARALLEL) -m "$(EVERYWHERE)" || tests=$$?; \
	COVERAGE_FILE=.cache/coverage/data $(VENV)/coverage combine -q .cache/coverage && COVERAGE_FILE=.cache/coverage/data $(VENV)/coverage report && exit $$tests

mutants: env-mutants env  ## Mutation testing: faults put into the code, and whether the unit tests notice (MODULE="states deadline" for some; SURVIVORS=1 for those that lived last time).
	.venv-mutants/bin/python -m tools.mutation $(if $(SURVIVORS),--survivors) $(MODULE)

# Two rows, side by side with -j2. What uses the Docker daemon stays in one: its tests kill, cut off and fill what is on it.
ON_THE_DAEMON := faults test-docker test-airflow
BESIDE_IT := test-wheel test-tfx-next test-mlserver test-triton test-docs test-stress test-kserve test-report test-fuzz test-kubectl test-sandbox test-caikit
ROW = MAKEFLAGS= $(MAKE) -k
.PHONY: on-the-daemon beside-it
test-platforms: on-the-daemon beside-it  ## Docker, Airflow, Kubeflow Pipelines, the fault matrix; caikit, MLServer, KServe, Triton, kubectl, bubblewrap, many at once, fuzzing, Chromium, the documentation, the wheel, TFX 1.21; with -j2 side by side.

on-the-daemon:
	$(ROW) $(ON_THE_DAEMON)

beside-it:
	$(ROW) $(BESIDE_IT)

test-docker: env  ## The tests on a Docker daemon: the one that answers, else one started for them.
	tools/with_dockerd.sh $(PYTEST) -m "docker and not airflow and not kfp and not faults" --require-platforms

faults: env  ## The fault matrix: platform x phase x fault, with its table at the end; needs a Docker daemon, root, and the packages faketime and iproute2.
	tools/with_dockerd.sh $(PYTEST) -n $(WORKERS) -m faults --require-platforms component_tests/faults

test-airflow: env-airflow env  ## The tests on Airflow and Kubeflow Pipelines, in their own environment.
	tools/with_dockerd.sh $(AIRFLOW_VENV)/python -m pytest --require-platforms $(AIRFLOW_TESTS)

test-caikit: env-caikit env  ## The conformance test on caikit's own runtime.
	$(PYTEST) -m caikit --require-platforms

test-mlserver: env-kserve  # whose uvloop is newer than MLServer bears
test-mlserver test-kserve test-triton: test-%: env-% env  ## The Open Inference client on MLServer, on KServe's model server and on Triton.
	$(PYTEST) -m $* --require-platforms component_tests/real_platforms/test_*.py

test-kubectl: env  ## The fake cluster of the Kubernetes tests, driven by kubectl.
	$(PYTEST) -m kubectl --require-platforms component_tests/real_platforms/test_kubectl.py

test-sandbox: env  ## The sandbox of local processes; needs the package bubblewrap.
	$(PYTEST) -m bubblewrap --require-platforms component_tests/component/local_process component_tests/contract/test_runners.py

test-stress: env  ## Fifty validations at once, in threads and in processes, and the soak in short.
	$(PYTEST) -m stress component_tests/component/concurrency component_tests/component/fleet/test_soak.py

fuzz: env-fuzz  ## Coverage-guided fuzzing of every parser of foreign bytes, an hour in all (SECONDS=300); finds go on from .cache/fuzz.
	.venv-fuzz/bin/python -m component_tests.fuzz --seconds $(or $(SECONDS),3600)

test-fuzz: env-fuzz  ## The same for a good minute; the same inputs every time.
	PYTHONHASHSEED=0 .venv-fuzz/bin/python -m component_tests.fuzz --seconds 75 --inputs 1000

test-report: env  ## The reports in a headless Chromium, with axe-core (npm fetches it into .cache).
	$(PYTEST) -m chromium --require-platforms component_tests/real_platforms/test_report_in_chromium.py

docs: env-docs  ## The documentation site: .cache/site/index.html; no network is asked.
	.venv-docs/bin/mkdocs build --strict

test-docs: env-docs env  ## The documentation site, and the files for CI systems and GitHub by their published schemas and pre-commit.
	$(PYTEST) -m docs --require-platforms component_tests/real_platforms/docs

test-wheel: env-release env  ## Wheel and sdist as users get them: installed into empty environments, each extra alone and all together.
	$(PYTEST) -m release --require-platforms component_tests/real_platforms/distribution

test-tfx-next: env  ## TFX 1.21, Python 3.13, protobuf 6: the TFX tests in a Debian 13; needs root and debootstrap.
	$(VENV)/python -c "from component_tests.fakes.saved_models import made_once; made_once()"
	tools/debian13.sh .venv/bin/python -m pytest -p no:cacheprovider -n 2 --dist loadfile -m "tfx and not docker" $(TFX_NEXT_TESTS)

test-matrix: env  ## The wheel on Python 3.10 to 3.13 and the libraries' oldest and newest versions; about forty minutes.
	$(PYTHON3) tools/test_matrix.py $(ROWS)

soak: env  ## 1,000 validations in one process, some on a Docker daemon, then the embedded server under load for 30 minutes: what grows (SOAK="--minutes 5").
	tools/with_dockerd.sh $(VENV)/python -W ignore -m benchmarks.soak --containers $(SOAK)

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

dist: env-release  ## The sdist and the wheel, in dist/; the same commit gives the same wheel.
	.venv-release/bin/python tools/build_distribution.py
	.venv-release/bin/python -m twine check --strict dist/*

.PHONY: licences vulnerabilities sbom protos
sbom: dist  ## The bill of materials of the wheel (CycloneDX 1.6, held against its schema), in dist/.
	.venv-release/bin/python -m tools.supply_chain.bill_of_materials dist/*.whl

licences: env-release env  ## The licence of every package in .venv, held against requirements/licences.json.
	.venv-release/bin/python -m tools.supply_chain.licences

vulnerabilities: env-release  ## Every pinned package, held against an advisory database on this disk (ADVISORIES=PATH; else a small excerpt).
	.venv-release/bin/python -m tools.supply_chain.vulnerabilities $(if $(ADVISORIES),--advisories $(ADVISORIES))

protos:  ## Generate infra_validator/protos/*_pb2.py and their stubs again.
	tools/generate_protos.sh

lock: env  ## Compile the lock files again.
	for name in main airflow caikit docs fuzz; do $(COMPILE) requirements/$$name.in --python-version 3.10 -o requirements/$$name.lock; done
	$(COMPILE) requirements/triton.in --python-version 3.11 -o requirements/triton.lock
	for name in mlserver kserve release mutants; do $(COMPILE) requirements/$$name.in --universal --python-version 3.10 -o requirements/$$name.lock; done
	$(COMPILE) pyproject.toml $(addprefix --extra ,docker kubernetes load cli images) --universal --python-version 3.10 -o requirements/wheel.lock
	$(COMPILE) requirements/tfx_next.in --universal --python-version 3.11 -o requirements/tfx_next.lock

clean:  ## Remove everything that was made.
	rm -rf .venv .venv-airflow .venv-caikit .venv-mlserver .venv-kserve .venv-triton .venv-docs .venv-release .venv-mutants .venv-fuzz .cache build dist *.egg-info demo-output*
