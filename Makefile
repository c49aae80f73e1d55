# make demo    trains the elephant and penguin model and says how to look at it
# make test    lint, types and tests
# Both create the environment in .venv if need be.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint bench ci-full clean

demo: $(VENV)/installed
	$(BIN)/python examples/elephants_and_penguins.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/held_thread.py

ci-full: test bench
	$(BIN)/python -m pytest -m "slow or not slow" -n 2 --dist loadfile
	$(BIN)/python benchmarks/background_heat.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --progress-bar off -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --progress-bar off -e ".[dev]"
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist logs
