# Everything a developer runs. Each target sets up .venv by itself from Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PY_SOURCES := protocol daemon clients tests
JOBS ?= 4

.PHONY: setup demo test test-slow test-foreign check format schema bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "parleyd needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m parley_clients.demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(if $(SLOW),,-m "not slow") $(ARGS)

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow $(ARGS)

AIMOCK := @copilotkit/aimock@1.43.0

test-foreign: $(STAMP)
	@npm install --silent --no-audit --no-fund --prefix .venv/node $(AIMOCK)
	$(BIN)/python -m pytest -m foreign $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check $(PY_SOURCES)
	$(BIN)/ruff check $(PY_SOURCES)
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m parley_protocol.schema --check

format: $(STAMP)
	$(BIN)/ruff format $(PY_SOURCES)
	$(BIN)/ruff check --fix $(PY_SOURCES)

schema: $(STAMP)
	$(BIN)/python -m parley_protocol.schema

BENCH_STAMP := .venv/.bench-installed

$(BENCH_STAMP): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group bench
	@touch $@

bench: $(BENCH_STAMP)
	$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf .venv .hypothesis .ruff_cache
