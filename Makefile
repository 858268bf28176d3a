# Everything a developer runs. Each target sets up .venv by itself from Python >= 3.11.
# `make` lists the targets.
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PY_SOURCES := protocol daemon clients tests
JOBS ?= 4
PYTEST := $(BIN)/python -m pytest -q

# Each worker of the tests would rewrite and compile every test file in every run.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-slow test-foreign test-retrieval check format schema bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with everything that the other targets need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "parleyd needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP) ## show a daemon, two clients, and a model that mends a test; offline
	@$(BIN)/python -m parley_clients.demo

test: $(STAMP) ## run the fast tests; SLOW=1 adds the slow ones and more examples, ARGS="..." goes to pytest, JOBS=n sets the workers
	$(PYTEST) -n $(JOBS) --dist worksteal $(if $(SLOW),--hypothesis-profile thorough,-m "not slow") $(ARGS)

test-slow: $(STAMP) ## run only the slow tests
	$(PYTEST) -n $(JOBS) --dist worksteal --hypothesis-profile thorough -m slow $(ARGS)

AIMOCK := @copilotkit/aimock@1.43.0

test-foreign: $(STAMP) ## run the tests against servers that others wrote, as far as npm has them
	@npm install --silent --no-audit --no-fund --prefix .venv/node $(AIMOCK)
	$(PYTEST) -m foreign $(ARGS)

test-retrieval: $(STAMP) ## measure the search in contexts on labelled questions; ARGS="--misses" shows those it does not answer
	$(BIN)/python -m tests.retrieval $(ARGS)

check: $(STAMP) ## check format, lint, types, import contracts and generated files
	$(BIN)/ruff format --check $(PY_SOURCES)
	$(BIN)/ruff check $(PY_SOURCES)
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m parley_protocol.schema --check

format: $(STAMP) ## format the code and apply the linter's safe fixes
	$(BIN)/ruff format $(PY_SOURCES)
	$(BIN)/ruff check --fix $(PY_SOURCES)

schema: $(STAMP) ## write the generated schema and type files
	$(BIN)/python -m parley_protocol.schema

BENCH_STAMP := .venv/.bench-installed

$(BENCH_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group bench
	@touch $@

bench: $(BENCH_STAMP) ## measure speed and memory
	$(BIN)/python -m tests.bench $(ARGS)

clean: ## remove .venv and all caches
	rm -rf .venv .hypothesis .ruff_cache
