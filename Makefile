# `make` alone prints what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-emit-index-url --no-header

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test benchmark check format lock services screenshots clean

help: ## Print what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: requirements.lock requirements-local.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-local.lock \
		|| echo "The embedded model's runtime does not install here; prepared lines will answer instead."
	@touch $@

setup: $(VENV)/installed ## Make .venv with all that running and testing need

demo: setup ## Start the tool with a small Canvas look-alike; needs no Canvas, no key, no server
	@$(BIN)/ai-experiences demo

serve: setup ## Serve the tool as the environment (or .env) sets it up
	$(BIN)/ai-experiences serve

services: setup
	@$(BIN)/python -m tests.support.services

test: setup services ## Run every test
	$(PYTEST) -n auto tests/unit tests/functional tests/lti_certification
	$(PYTEST) tests/browser tests/packaging tests/benchmarks

benchmark: setup services ## Measure launches, lists and chats against bare references
	$(BIN)/python -m tests.benchmarks.launches
	$(BIN)/python -m tests.benchmarks.api
	$(BIN)/python -m tests.benchmarks.chats

screenshots: setup services ## Renew the pictures in docs/images from the journey test
	SCREENSHOTS=1 $(PYTEST) tests/browser/test_journey.py

check: setup ## Lint, check types and the rooms' arrows, then test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup ## Pin every dependency anew, with hashes
	$(COMPILE) --extra postgres --extra redis --extra benchmark --extra test --extra dev -o requirements.lock
	$(COMPILE) --extra local -o requirements-local.lock

clean: ## Remove what was made here: environment, demo data, caches (keys stay)
	rm -rf $(VENV) instance dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
