# make run: the project on this machine; make test: proof that it works. make help lists the rest.
# The interpreter: PYTHON=python3.13; by default the one that .venv has, or else python3.
VENV ?= .venv
PYTHON ?= $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,python3)
PORT ?= 8000
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install install-dev run demo test test-all lint bench docs clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install:  ## Make .venv, install the project into it, write .env
	@$(PYTHON) scripts/install.py --venv "$(VENV)"

install-dev:  ## The same, with what tests and lint need
	@$(PYTHON) scripts/install.py --venv "$(VENV)" --dev

run: install  ## Migrate, make an admin user, load a sample, serve (PORT=8000 DATABASE_URL=... SAMPLE=1)
	@exec $(BIN)/python -m hodei.run --port "$(PORT)"

demo: install  ## Show a job outlive the worker that runs it, on real processes (DATABASE_URL=...)
	@exec $(BIN)/python -m hodei.demo

test: install-dev  ## Lint, and the tests on PostgreSQL 18 (embedded) and 15 (the system's) (COVERAGE=1)
	@$(BIN)/python scripts/test.py $(if $(COVERAGE),--coverage)

test-all: install-dev  ## The same with what takes long, coverage, and every supported Python and Django
	@$(BIN)/python scripts/test.py --all --coverage
	@$(BIN)/nox --session tests

lint: install-dev  ## ruff, mypy, import-linter, missing migrations
	@$(BIN)/python scripts/test.py --lint

bench: install-dev  ## Run the benchmarks, and write benchmarks/results/
	@$(BIN)/python benchmarks/run.py

docs: install-dev  ## Check the documentation: links, and the commands it shows
	@$(BIN)/python -m pytest -q tests/docs

clean:  ## Remove what the other targets made, the embedded database included
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m hodei.embedded stop; fi || true
	rm -rf "$(VENV)" .hodei .nox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage htmlcov build dist *.egg-info static-root
