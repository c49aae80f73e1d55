# make demo    trains two elephant and penguin models and puts their verdicts beside each other
# make test    lint, types, import layers, docstrings and tests
# make test BACKEND=jax    the same on another backend: jax or torch
# make test-all BACKEND=jax    with what takes long
# make test-core BACKEND=jax    the core of the tests on another backend
# make test-without-tensorflow    on JAX and torch in environments that have no TensorFlow
# make test-min    with the lowest versions that pyproject.toml allows, in .venv-min
# make test PYTHON=python3.13 VENV=.venv-3.13    on another version of Python
# make test-reference    comparisons with other libraries, which it installs (torch among them)
# make test-trackers    the recipes of docs/trackers.md, each group in an environment of its own
# make test-storage    training runs in a bucket of S3, on a server of its own on loopback
# make test-integration    whole programs: examples, the code of pages, TensorBoard's servers
# make test-browser    the Saliency tab in Chromium, which it does not install (.ci/run does)
# make test-notebooks    the example notebooks, cell by cell
# make bench      what the callback costs a training run, against targets: a table, figures and a plot
# make bench-shortcuts    24 training runs with shortcuts and without, against the committed figures
# make soak     2,000 epochs of a tiny model: memory, threads, files and the run stay as they should
# make docs    the documentation as a site, in build/site
# make package    wheel and sdist in dist/, checked as an index would
# make ci-full    tests on all three backends, comparisons, benchmarks and what takes long
# All create the environment in .venv if need be.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
# What docs/trackers.md is about, by group: a group's packages share .venv-GROUP.
TRACKERS := wandb mlflow trackio swanlab readers
TRACKERS_wandb := "wandb>=0.31"
TRACKERS_mlflow := "mlflow-skinny>=2.20"
TRACKERS_trackio := "trackio>=0.43"
TRACKERS_swanlab := "swanlab>=0.10"
TRACKERS_storage := "s3fs>=2025.2" "moto[server]>=5" "setuptools<81"
TRACKERS_readers := "tbparse>=0.0.9" "trackio>=0.43"
export TF_CPP_MIN_LOG_LEVEL ?= 3

CORE := $(patsubst %,tests/%.py,methods/test_gradient_methods engine/test_targets engine/test_target_layer \
	engine/test_backend integration/test_agreement callback/test_callback \
	integration/test_verdict_in_fit recording/tensorboard/test_event_writer)
BACKEND ?= tensorflow
PYTEST = KERAS_BACKEND=$(BACKEND) $(BIN)/python -m pytest

.PHONY: demo test test-min test-all test-core test-without-tensorflow test-reference test-trackers test-storage test-integration test-browser test-notebooks lint bench bench-shortcuts soak docs package ci-full clean

demo: $(VENV)/installed
	$(BIN)/python examples/elephants_and_penguins.py

test: lint $(VENV)/installed-$(BACKEND)
	$(PYTEST) -n 2 --dist loadfile

test-all: $(VENV)/installed-$(BACKEND) $(VENV)/installed-hub
	REQUIRE_PEERS=1 $(PYTEST) -m "not reference and not browser and not trackers and not storage" -n 2 --dist loadfile

test-core: $(VENV)/installed-$(BACKEND)
	$(PYTEST) $(CORE) -n 2 --dist loadfile

test-without-tensorflow: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/packaging/test_without_tensorflow.py -m slow

test-min: .venv-min/installed
	.venv-min/bin/python -m pytest -n 2 --dist loadfile

test-reference: $(VENV)/installed-reference
	REQUIRE_PEERS=1 $(BIN)/python -m pytest tests/reference -m reference -n 2 --dist loadfile

test-trackers: $(TRACKERS:%=.venv-%/installed)
	for group in $(TRACKERS); do REQUIRE_PEERS=1 .venv-$$group/bin/python -m pytest \
		tests/reference/test_trackers.py -m trackers -k $$group || exit 1; done

test-storage: .venv-storage/installed
	.venv-storage/bin/python -m pytest tests/reference/test_storage.py -m storage

test-integration: $(VENV)/installed-dev
	$(PYTEST) -m "integration and not slow" -n 2 --dist loadfile

test-browser: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/browser -m browser

test-notebooks: $(VENV)/installed-docs
	$(BIN)/python -m pytest tests/packaging/test_notebooks.py -m slow

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/pydoclint --quiet keras_saliency
	$(BIN)/python tests/packaging/docstrings.py

bench: $(VENV)/installed-dev $(PEERS)/installed
	$(BIN)/python benchmarks/speed/run.py --docs docs

bench-shortcuts: $(VENV)/installed-dev
	$(BIN)/python benchmarks/verdict_accuracy/run.py --short

soak: $(VENV)/installed-dev
	$(BIN)/python benchmarks/reliability/soak.py

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

package: $(VENV)/installed-dev
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

ci-full: lint test-min test-integration test-reference test-trackers test-storage test-notebooks \
		bench bench-shortcuts soak docs package
	for backend in tensorflow jax torch; do $(MAKE) test-all BACKEND=$$backend || exit 1; done
	$(BIN)/python benchmarks/verdict_accuracy/background_heat.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --progress-bar off -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --progress-bar off -e ".[dev]"
	@touch $@ $(VENV)/installed

$(VENV)/installed-tensorflow: $(VENV)/installed-dev
	@touch $@

.venv-min/installed: pyproject.toml constraints-min.txt
	$(PYTHON) -m venv .venv-min
	.venv-min/bin/python -m pip install --progress-bar off -e ".[dev]" -c constraints-min.txt
	@touch $@

$(VENV)/installed-jax: $(VENV)/installed-dev
	$(BIN)/python -m pip install --progress-bar off "jax>=0.4.38"
	@touch $@

# torch comes by itself, so that nothing else chooses its build.
$(VENV)/installed-torch: $(VENV)/installed-dev
	$(BIN)/python -m pip install --progress-bar off torch==2.13.0
	@touch $@

# pytorch-grad-cam asks for torchvision and a second OpenCV, which what is compared does not need.
$(VENV)/installed-reference: pyproject.toml $(VENV)/installed-torch
	$(BIN)/python -m pip install --progress-bar off -e ".[dev,reference]"
	$(BIN)/python -m pip install --progress-bar off --no-deps "grad-cam>=1.5.5"
	@touch $@

$(TRACKERS:%=.venv-%/installed) .venv-storage/installed: .venv-%/installed: pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --progress-bar off -e . pytest $(TRACKERS_$*)
	@touch $@

# What `make bench` compares with. xplique asks for older versions and for CUDA, tf-explain for nothing.
$(PEERS)/installed: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --progress-bar off -e . scikit-learn scikit-image einops \
		deprecated imageio tensorflow-probability tf-keras dm-tree
	$(PEERS)/bin/python -m pip install --progress-bar off --no-deps \
		tf-explain==0.3.1 tf-keras-vis==0.8.7 xplique==2.0.2
	@touch $@

$(VENV)/installed-docs: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -m pip install --progress-bar off -e ".[dev,docs]"
	@touch $@

$(VENV)/installed-hub: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -m pip install --progress-bar off -e ".[dev,hub]"
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(TRACKERS:%=.venv-%) .venv-storage build dist logs
