# Two commands do all the set-up from a bare clone: `make demo` and `make test`. A second call goes straight to work.

PYTHON   ?= python3
VENV     := .venv
VERSIONS := constraints.txt
BIN      := $(VENV)/bin
READY    := $(VENV)/.ready

.PHONY: demo test check lint types tests lowest docs reliability shipped-model clean help

help:
	@echo "make demo   set up, then: a synthetic data set, a trained model, its report"
	@echo "make test   set up, then: lint, types, docs, tests (what CI runs)"
	@echo "make docs   set up, then: the site, in docs/_build/index.html"
	@echo "make shipped-model set up, then: train the small model anew that explain shows without any"
	@echo "make tests PYTHON=python3.13 VENV=.venv-3.13   the tests with another Python (VERSIONS= for today's newest packages)"
	@echo "make lowest   the tests with the lowest versions that pyproject.toml allows"
	@echo "make reliability   set up, then: faults on purpose, and how many were survived (ARGS=--long for all)"

demo: $(READY)
	$(BIN)/denselab demo

test: lint types docs tests

check: test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build

tests: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)  # two busy cores: more threads only wait for each other

lowest: .venv-lowest.txt  # packages of different years warn about each other: no fault of ours
	$(MAKE) tests VENV=.venv-lowest VERSIONS=.venv-lowest.txt ARGS='-o filterwarnings=default $(ARGS)'

.venv-lowest.txt: pyproject.toml
	grep -oE '"[[:alnum:]-]+>=[0-9.]+' pyproject.toml | tr -d '"' | sed 's/>=/==/' > $@

reliability: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m reliability $(ARGS)

$(READY): pyproject.toml $(VERSIONS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(VERSIONS:%=--constraint %) --editable '.[dev]'
	touch $(READY)

shipped-model: $(READY)
	$(BIN)/python docs/shipped_model.py $(ARGS)

clean:
	rm -rf $(VENV) .venv-* build dist .mypy_cache .ruff_cache .pytest_cache
