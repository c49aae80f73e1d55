# make demo    trains the elephant and penguin model and says how to look at it
# make test    lint, types and tests
# make test-reference    comparisons with other libraries, which it installs (torch among them)
# All create the environment in .venv if need be.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-reference lint bench ci-full clean

demo: $(VENV)/installed
	$(BIN)/python examples/elephants_and_penguins.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-reference: $(VENV)/installed-reference
	REQUIRE_PEERS=1 $(BIN)/python -m pytest tests/reference -m reference

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/held_thread.py

ci-full: test test-reference bench
	$(BIN)/python -m pytest -m "not reference" -n 2 --dist loadfile
	$(BIN)/python benchmarks/background_heat.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --progress-bar off -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --progress-bar off -e ".[dev]"
	@touch $@ $(VENV)/installed

# torch comes first and by itself, so that nothing else chooses its build. pytorch-grad-cam asks for
# torchvision and a second OpenCV, which what is compared does not need.
$(VENV)/installed-reference: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -m pip install --progress-bar off torch==2.13.0
	$(BIN)/python -m pip install --progress-bar off -e ".[dev,reference]"
	$(BIN)/python -m pip install --progress-bar off --no-deps "grad-cam>=1.5.5"
	@touch $@

clean:
	rm -rf $(VENV) build dist logs
