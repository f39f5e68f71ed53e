# Everything a developer runs. `make help` lists it.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SEED ?= 1
KILLS ?= 2000
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all torture check audit format bench clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/yusa: pyproject.toml constraints.txt setup.py $(wildcard encoder/native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	@touch $(BIN)/yusa

setup: $(BIN)/yusa  ## make .venv with yusa and all that developing it needs

demo: setup  ## index two small corpora and ask three questions
	$(BIN)/python demo/run.py

test: setup  ## the ordinary tests
	$(BIN)/python -m pytest

test-all: setup  ## the ordinary tests and the long proofs
	$(BIN)/python -m pytest -m "not torture"

torture: setup  ## kill writers 2,000 times and look at what is left (SEED=1 KILLS=2000)
	PYTHONPATH=tests/support $(BIN)/python -m campaign --seed $(SEED) --kills $(KILLS) --json benchmarks/results/torture.json

check: setup  ## lint, types, layers, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tests benchmarks demo tools
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python tools/audit.py

audit: setup  ## whether a pinned package has a known vulnerability, where the advisories can be reached
	$(BIN)/python tools/audit.py

format: setup  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## speed and quality, side by side with peers where they are installed
	$(BIN)/python -m benchmarks

clean:  ## remove what was built
	rm -rf $(VENV) build dist encoder/_forward.* *.egg-info .mypy_cache .pytest_cache .ruff_cache demo-index
