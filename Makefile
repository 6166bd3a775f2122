# Two commands for a fresh machine: `make demo` runs the main job on real data, `make test` passes the tests.
# Both make .venv in this folder first. Needs Python 3.11 or newer and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test test-clients test-frameworks matrix check fuzz abuse bench bench-peers docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo 'modelwright needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...'; exit 2)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Set up, then run the main job: a year of real flights, start to end
	@$(BIN)/modelwright demo $(DEMO)

test: check ## Set up, then lint, type-check, prove the import rule, build the docs and pass the tests
	@$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal

test-clients: $(STAMP) ## Run other projects' clients, unmodified, against the data plane (installs them into build/clients)
	@$(BIN)/pytest -m clients -rs tests/clients

test-frameworks: $(STAMP) ## Pack and serve models of heavy frameworks (installs them into build/frameworks; FAMILIES="torch keras")
	@$(BIN)/python tests/frameworks/environment.py $(FAMILIES)

MATRIX := --output docs/reference/frameworks-matrix.md
matrix: $(STAMP) ## Train, pack, compare and time models of every framework, and write the page (MATRIX="--output FILE.md --rounds 1")
	@$(BIN)/python tools/matrix.py $(MATRIX)

check: $(STAMP) ## Lint, types, import rule, docs with strict links
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@mkdir -p build && $(BIN)/mkdocs build --strict > build/docs.log 2>&1 || (cat build/docs.log; exit 1)

FUZZED := $(addprefix tests/,interfaces/http interfaces/grpc interfaces/control core record/test_record_frames.py)
fuzz: $(STAMP) ## Search for input that breaks a parser, for many minutes
	@$(BIN)/pytest $(FUZZED) -m hypothesis --hypothesis-profile=long --timeout=7200

abuse: $(STAMP) ## Overload, leaks, deaths, evil models, rolling updates, mixed secrets, a short soak: long runs against their targets (about 28 minutes)
	@failed=0; for script in benchmarks/abuse_*.py; do echo "== $$script"; $(BIN)/python $$script || failed=1; done; exit $$failed

bench: $(STAMP) ## Rerun the measured claims (prints tables)
	@for script in $(filter-out benchmarks/abuse_%,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-peers: $(STAMP) ## Serve beside FastAPI, MLServer, BentoML, LitServe, MLflow and Ray Serve (environments of 3.6 GB, made once; PEERS="--help")
	@PYTHONPATH=benchmarks $(BIN)/python -m serving $(PEERS)

docs: $(STAMP) ## Build the documentation into build/site
	@$(BIN)/mkdocs build --strict

lock: $(STAMP) ## Resolve requirements.lock anew from pyproject.toml (needs uv on the path)
	uv pip compile pyproject.toml --extra demo --group dev --generate-hashes --no-header --no-annotate --python-version 3.11 --output-file requirements.lock --upgrade

clean: ## Remove what was built (keeps nothing but the sources)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
