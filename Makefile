# Every target makes the part of .venv that it needs and uses nothing else. `make` alone prints what there is.

PYTHON ?= python3
environment := $(PYTHON) tools/environment.py
python := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-pure test-native test-pyodide lint format bench coverage-rfc fuzz clean

help: ## print this
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: ## boot a kernel, run a web server on it, fetch files through it
	@$(environment) demo
	@$(python) examples/demo.py $(ARGS)

test: ## run the tests in both forms (and under Pyodide where node is), under 20 minutes
	@$(PYTHON) tools/run_tests.py $(ARGS)

test-all: ## run the long tests too
	@$(PYTHON) tools/run_tests.py --long $(ARGS)

test-pure: ## run the tests interpreted only; ARGS="tests/net -k tcp" goes to pytest
	@$(PYTHON) tools/run_tests.py --only=pure $(ARGS)

test-native: ## run the tests on the installed wheel only
	@$(PYTHON) tools/run_tests.py --only=native $(ARGS)

test-pyodide: ## run the tests of the kernel under Pyodide in node
	@$(PYTHON) tools/run_tests.py --only=pyodide $(ARGS)

lint: ## check style, types, arrows and tidiness
	@$(environment) dev
	@$(PYTHON) tools/lint.py

format: ## put the sources into ruff's format
	@$(environment) dev
	@$(python) -m ruff check --fix --exit-zero .
	@$(python) -m ruff format .

bench: ## run the benchmarks on the native form and print ratios against peers
	@$(environment) runtime
	@$(python) -m bench $(ARGS)

coverage-rfc: ## which test shows which requirement of an RFC: check, and write docs/reference/rfc-coverage.md
	@$(PYTHON) tools/rfc_coverage.py $(ARGS)

fuzz: ## fuzz the wire parsers, TCP, a whole kernel and the config, a minute each; ARGS="frames --seconds 600"
	@$(environment) dev
	@$(python) -c "import atheris" 2>/dev/null || $(python) -m pip install -q --disable-pip-version-check --retries 0 atheris || true
	@PYTHONPATH=src $(python) -m tests.fuzz $(ARGS)

clean: ## remove what was built, and .venv
	rm -rf .venv .cache build dist htmlcov .coverage .coverage.* .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find src tests tools bench examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
