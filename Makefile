# Two commands are enough: make run, make test. `make help` lists the rest.

# An interpreter of your choice: make run PYTHON=python3.12
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
# More arguments for pytest or the benchmarks: make test ARGS="-k export -n 0"
ARGS ?=
DATA := ../shared/data
ROUNDS ?= 200
MIGRATIONS := $(wildcard src/*/sql/migrations/*.sql)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test prove check bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.stamp-project ## set everything up, start the embedded PostgreSQL and show a log with sample data
	$(BIN)/permalog demo $(ARGS)

test: $(VENV)/.stamp-dev chromium ## run the tests (more arguments: ARGS="-k export")
	@if [ -d $(DATA) ]; then \
		exec $(BIN)/python -m pytest $(ARGS); \
	else \
		echo "$(DATA) is missing: the tests that need it (marker: data) are left out"; \
		exec $(BIN)/python -m pytest -m "not data" $(ARGS); \
	fi

prove: $(VENV)/.stamp-dev ## run in full the proofs of which `make test` runs a part: faults between any two steps, races
	$(BIN)/python -m pytest --thorough $(ARGS) tests/agent/test_faults.py tests/agent/test_racing.py \
		tests/database/test_plans_at_size.py \
		tests/evidence/test_bundle_verifier.py tests/database/test_stranger.py
	$(BIN)/python -m pytest tests/sealing/test_under_fire.py --numprocesses=0 -rA --rounds $(ROUNDS) -k 18
	$(BIN)/python -m pytest tests/spool/test_killing.py --numprocesses=0 -rA --rounds $(ROUNDS)

# The tests of the pages drive it. Where it cannot be installed, they are left out; on CI they fail.
.PHONY: chromium
chromium:
	@if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null; then \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			echo "installing chromium, which the tests of the pages drive"; \
			apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
		else echo "chromium is missing: the tests of the pages are left out"; fi; \
	fi

check: $(VENV)/.stamp-dev ## linters, types, import contracts, migrations
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	@if [ -n "$(MIGRATIONS)" ]; then \
		echo "$(BIN)/squawk src/*/sql/migrations/*.sql"; $(BIN)/squawk $(MIGRATIONS); \
	else echo "no migrations yet"; fi

bench: $(VENV)/.stamp-dev ## measure Permalog beside its peers (at a million events: ARGS="--events 100000 1000000")
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/.stamp-dev ## make the locked requirements anew from pyproject.toml (newer versions: ARGS=--upgrade)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --custom-compile-command "make lock" $(ARGS) pyproject.toml \
		--extra binary --extra embedded --extra server --extra agent --group build --output-file requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --custom-compile-command "make lock" $(ARGS) pyproject.toml \
		--all-extras --group dev --output-file requirements/dev.txt

clean: ## remove the environment and the caches; the database stays
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate must be 3.11 to 3.13 and able to make environments (Debian splits that into a package of its own).
$(VENV)/bin/python:
	@set -eu; \
	for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
		if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
			2>/dev/null; then \
			echo "making $(VENV) with $$("$$candidate" --version)"; \
			"$$candidate" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; \
			exit 0; \
		fi; \
	done; \
	echo "Permalog needs Python 3.11, 3.12 or 3.13 with its venv module; none was found as" \
		"$(or $(PYTHON),python3 or python3.13 to python3.11)." >&2; \
	echo "Install one (Debian: apt-get install python3 python3-venv), or name yours:" \
		"make run PYTHON=/path/to/python3.12" >&2; \
	exit 1

# The lock is complete, so nothing is left to resolve; older pips refuse githubkit's `hishel[async,httpx]` beside a
# locked `hishel` otherwise.
$(VENV)/.stamp-run: requirements/run.txt | $(VENV)/bin/python
	$(PIP) --no-deps --require-hashes -r requirements/run.txt
	@touch $@

# The metadata and the commands come from pyproject.toml, the code from src/ itself.
$(VENV)/.stamp-project: pyproject.toml $(VENV)/.stamp-run
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.stamp-dev: requirements/dev.txt $(VENV)/.stamp-project
	$(PIP) --no-deps --require-hashes -r requirements/dev.txt
	@touch $@
