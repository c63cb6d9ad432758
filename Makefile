# Everything a developer does, each with one command. Needs Python 3.11 or newer and nothing else.
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast coverage soak mutations check bench bench-full wheels native-wheels check-wheels changelog pin nvflare-env flower-env loops-env clean

UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
PYTHON := .venv/bin/python
STAMP := .venv/.synced
CORE := core/pyproject.toml core/hatch_build.py core/build_backend.py $(wildcard core/src/fedtrack/spool/*.[ch])
DISTRIBUTIONS := $(patsubst %/pyproject.toml,%,$(wildcard core/pyproject.toml plugins/*/pyproject.toml examples/pyproject.toml examples/*/pyproject.toml))
# NVFlare's tests run in an environment without torch, which FLARE would import at the end of every job.
NVFLARE := plugins/nvflare
NVFLARE_ENV := .venv-nvflare
NVFLARE_STAMP := $(NVFLARE_ENV)/.synced
# Flower's tests run in an environment of their own as well: it asks for other versions of what is used here.
FLOWER_ENV := .venv-flower
FLOWER_STAMP := $(FLOWER_ENV)/.synced
# The libraries that own a training loop: large, and of no use to the other tests.
LOOPS_ENV := .venv-loops
LOOPS_STAMP := $(LOOPS_ENV)/.synced
LOOPS := lightning loops transformers
TWINS := tests/core/spool tests/core/tracking/test_writer.py \
	tests/plugins/*/test_*_writer.py tests/performance/test_costs.py
WORKSPACE ?= $(or $(XDG_STATE_HOME),$(HOME)/.local/state)/fedtrack/demo
# Builds a wheel per platform, each in the oldest system that the wheel is for; needed for a release only.
CIBUILDWHEEL := 4.3.5

help:  ## Show this list.
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

.uv/bin/uv:
	python3 -m venv .uv && .uv/bin/python -m pip install --quiet uv

$(STAMP): pyproject.toml $(CORE) examples/pyproject.toml $(wildcard plugins/*/pyproject.toml examples/*/pyproject.toml) | $(filter .uv/bin/uv,$(UV))
	# Compiled once here, or by every process again where PYTHONDONTWRITEBYTECODE is set: torch and mlflow are large.
	$(UV) sync --quiet --compile-bytecode
	@touch $@

$(NVFLARE_STAMP): $(CORE) examples/third-party-receiver/pyproject.toml $(NVFLARE)/pyproject.toml $(NVFLARE)/constraints.txt | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --clear $(NVFLARE_ENV)
	# Compiled for the same reason: a FLARE system starts a process for everything.
	$(abspath $(UV)) pip install --quiet --compile-bytecode --directory $(NVFLARE) \
		--python ../../$(NVFLARE_ENV)/bin/python --constraint constraints.txt \
		-e ../../core -e ../local -e . -e '../tensorboard[receiver]' -e '../../examples/third-party-receiver[receiver]' \
		pytest pytest-timeout pytest-xdist
	@touch $@

$(FLOWER_STAMP): $(CORE) plugins/flower/pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --clear $(FLOWER_ENV)
	# Not in this folder, whose pins are those of the other environment.
	$(abspath $(UV)) pip install --quiet --compile-bytecode --directory plugins/flower \
		--python ../../$(FLOWER_ENV)/bin/python -e '../../core[collect,connect]' -e ../local -e . \
		pytest pytest-timeout pytest-xdist
	@touch $@

$(LOOPS_STAMP): $(CORE) $(LOOPS:%=plugins/%/pyproject.toml) constraints.txt | $(filter .uv/bin/uv,$(UV))
	$(UV) venv --quiet --clear $(LOOPS_ENV)
	# The torch of the other environment, so that it is downloaded once. xgboost's other wheel brings a CUDA library.
	# Not compiled: little of it is imported, by few processes.
	$(abspath $(UV)) pip install --quiet --directory plugins/loops \
		--python ../../$(LOOPS_ENV)/bin/python --constraint ../../constraints.txt \
		-e ../../core -e ../local -e ../tensorboard -e ../lightning -e ../transformers -e . \
		lightning transformers accelerate keras xgboost-cpu scikit-learn pytest pytest-timeout pytest-xdist
	@touch $@

demo: $(STAMP)  ## Run hello-pt-mlflow: federated PyTorch on real images, in MLflow and TensorBoard.
	$(PYTHON) -m fedtrack examples run hello-pt-mlflow -- --workspace $(WORKSPACE)

test: $(STAMP) $(NVFLARE_STAMP) $(FLOWER_STAMP) $(LOOPS_STAMP)  ## Run every test.
	# More workers than this has cores: half of the time they wait, for processes to start and backends to answer.
	$(PYTHON) -m pytest -n 3 --dist loadgroup
	# Once more as where nothing is compiled: what has a twin in Python.
	FEDTRACK_SPEEDUPS=0 $(PYTHON) -m pytest -n 3 --dist loadgroup $(TWINS)
	$(NVFLARE_ENV)/bin/python -m pytest -n 2 --dist loadgroup tests/engines
	$(FLOWER_ENV)/bin/python -m pytest -n 2 tests/plugins/flower
	PYTHONDONTWRITEBYTECODE= $(LOOPS_ENV)/bin/python -m pytest -n 2 --dist loadgroup $(LOOPS:%=tests/plugins/%)

test-fast: $(STAMP)  ## Run the quick tests: each room of core, a job on this machine, the pages; 90 seconds.
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m "not network and not slow" tests/core tests/plugins/local tests/docs tests/project tests/compat tests/simulation

coverage: $(STAMP)  ## Run the tests of core and of the local engine, and show the lines that none of them reaches.
	rm -f build/coverage/*
	$(PYTHON) -m coverage run -m pytest -n 3 --dist loadgroup tests/core tests/plugins/local tests/e2e tests/compat
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report

flower-env: $(FLOWER_STAMP)  ## Make the environment in which Flower's tests run.

loops-env: $(LOOPS_STAMP)  ## Make the environment in which the tests of Lightning, transformers and the like run.

nvflare-env: $(NVFLARE_STAMP)  ## Make the environment in which NVFlare's tests run.

soak: $(STAMP) $(FLOWER_STAMP)  ## Kill writers and servers 2,000 times, fuzz, simulate, and print what was lost (FEDTRACK_SOAK_SECONDS=3600: an hour).
	# Beside the environment and not in it: no other command needs a fuzzer, and not every platform has this one.
	-$(UV) pip install --quiet --python $(PYTHON) --target build/fuzz --no-deps atheris
	FEDTRACK_SOAK=1 $(PYTHON) -m pytest -s tests/campaigns tests/simulation
	FEDTRACK_SOAK=1 $(FLOWER_ENV)/bin/python -m pytest tests/plugins/flower

mutations: $(STAMP)  ## Remove each protection of the log path and expect a test to turn red.
	$(PYTHON) tools/mutation_check.py --write

check: $(STAMP)  ## Run the static checks: format, lint, types, import layers.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	PYTHONPATH=plugins/nvflare/src:plugins/flower/src .venv/bin/lint-imports  # of these two the source is enough

bench: $(STAMP)  ## Measure beside the calls that people use instead, and write docs/performance.md; ten minutes.
	$(PYTHON) -m benchmarks --write

bench-full: $(STAMP)  ## The same with longer runs, and with peers in environments of their own.
	$(PYTHON) -m benchmarks --full --write

wheels: $(STAMP)  ## Build a wheel and an sdist of every distribution into dist/, and core's wheel for where none fits.
	for distribution in $(DISTRIBUTIONS); do $(UV) build --quiet --out-dir dist $$distribution || exit; done
	FEDTRACK_PURE=1 $(UV) build --quiet --wheel --out-dir dist dist/fedtrack-[0-9]*.tar.gz

native-wheels: | $(filter .uv/bin/uv,$(UV))  ## Build core's wheels with the compiled log call, for this machine's systems; Linux needs Docker.
	$(UV) tool run cibuildwheel==$(CIBUILDWHEEL) --config-file tools/cibuildwheel.toml --output-dir dist core

check-wheels: | $(filter .uv/bin/uv,$(UV))  ## Say what an index would say of what is in dist/.
	$(UV) tool run --constraints constraints.txt twine check --strict dist/*

changelog: $(STAMP)  ## Write CHANGELOG.md from changelog.d; RELEASED=2026-12-31 makes a release of it.
	$(PYTHON) tools/changelog.py $(if $(RELEASED),--released $(RELEASED))

pin: | $(filter .uv/bin/uv,$(UV))  ## Resolve all versions afresh and pin them.
	python3 tools/pin.py $(UV)

clean:  ## Remove what the other commands made.
	rm -rf .venv .venv-nvflare .venv-flower .venv-loops .uv dist build
