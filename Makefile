# Everything a contributor runs. `make` alone lists the targets.
# Setting up needs Python >= 3.11 with venv, git and make; nothing else, and no root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
GEN := .venv-gen/bin
# Three on two cores: a third of the time a test waits for a process, a disk or a heartbeat.
# `make test WORKERS=0` runs in this process, for a debugger.
WORKERS ?= 3
# What the two checkers read; a folder that does not exist yet is left out.
CHECKED := $(wildcard client/heed server/heed_server tests scripts)
# The tests that meet every branch of what pyproject.toml names for coverage, and are quick.
COVERING := $(addprefix tests/unit/test_,wire*.py audit*.py decide_table.py keys.py proof.py client_fake.py \
	client_values.py quiet_hours.py)
# What one target prints stands together, where make can see to it (4.0).
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
PROJECTS := generated/pyproject.toml client/pyproject.toml server/pyproject.toml

# Tools keep their caches in the tree, so that an empty or missing HOME does not matter.
export HOME := $(or $(HOME),$(CURDIR)/.cache/home)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# The suite starts some hundred servers: each would compile all of heed anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup fmt lint types mypy pyright imports proto proto-lint proto-breaking \
	proto-in-step examples proto-check coverage test test-fast test-postgres run demo bench \
	bench-scale soak check side-by-side lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' \
		| while IFS=$$'\t' read -r target words; do printf '  %-16s %s\n' "$$target" "$$words"; done

setup: .venv/.stamp ## make .venv from the lock and install the three distributions into it

# The stamp is written last: a set-up that was interrupted is started again from nothing.
.venv/.stamp: requirements/dev.txt $(PROJECTS)
	@scripts/venv.sh "$(PYTHON)" .venv requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation \
		--editable generated --editable client --editable server
	@touch $@

.venv-gen/.stamp: requirements/gen.txt
	@scripts/venv.sh "$(PYTHON)" .venv-gen requirements/gen.txt
	@touch $@

.venv-lock/.stamp: requirements/lock.txt
	@scripts/venv.sh "$(PYTHON)" .venv-lock requirements/lock.txt
	@touch $@

fmt: setup ## format the code and the contract, and fix what lint can fix
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format
	@if [ -d protos ]; then $(BIN)/buf format --write; fi

lint: setup ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: mypy pyright ## mypy --strict and pyright strict

mypy: setup
	$(BIN)/mypy $(CHECKED)

pyright: setup
	$(BIN)/pyright $(CHECKED)

imports: setup ## imports run one way: server, heed, heed_proto
	$(BIN)/lint-imports

proto: setup .venv-gen/.stamp ## generate the contract's code, and the synchronous client
	$(GEN)/python scripts/generate_proto.py
	$(BIN)/python scripts/generate_sync_client.py

proto-lint: setup ## buf: lint and format of the contract
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

proto-breaking: setup ## buf: nothing that a client relies on has changed since the last commit
	$(BIN)/python scripts/breaking.py

proto-in-step: setup .venv-gen/.stamp ## what is generated is what would be generated
	$(GEN)/python scripts/generate_proto.py --check
	$(BIN)/python scripts/generate_sync_client.py --check

examples: .venv-gen/.stamp
	$(GEN)/python scripts/build_examples.py

proto-check: setup examples ## Go, Java and TypeScript from the contract, run against servers
	$(BIN)/pytest -n $(WORKERS) -m languages tests/languages

coverage: setup ## every branch of the decision, the keys, the proofs and the wire is tested
	$(BIN)/pytest -n $(WORKERS) --quiet --cov --cov-report=term $(COVERING)

test: setup ## all tests but those of proto-check, with a real PostgreSQL
	$(BIN)/pytest -n $(WORKERS) -m "not languages"

test-fast: setup ## the pure parts and SQLite, in under a minute
	$(BIN)/pytest -n $(WORKERS) -m "not slow and not postgres and not languages"

test-postgres: setup ## only what needs PostgreSQL
	$(BIN)/pytest -n $(WORKERS) -m postgres

run: setup ## serve on 127.0.0.1:50051 with SQLite under ./heed-data
	$(BIN)/heed-server serve

demo: setup ## a throw-away server, sample files, and what each check says and why
	$(BIN)/python -m heed_server.demo

bench: setup ## measure, print a table, write bench/results.json
	$(BIN)/python -m tests.bench

bench-scale: setup ## what a number of subjects changes, with ten million; an hour or more
	$(BIN)/python -m tests.bench --scale

soak: setup ## 2,000 reconnects, an hour's changes, a million forged links, 100,000 pages, REST; some minutes
	$(BIN)/python -m tests.bench --only server_growth_mib --strict
	HEED_TEST_FORGED_LINKS=1000000 HEED_TEST_PAGE_READS=100000 $(BIN)/pytest -n 0 --timeout 900 \
		-k "forged or reads_of_a_page" tests/edges/test_link_floods.py
	HEED_TEST_REST_EXAMPLES=200 $(BIN)/pytest -n 0 tests/edges/test_rest_contract.py

# In the order of how soon each fails. Each test runs once: those of coverage are left out of the
# last step, which has those of proto-check in it.
check: ## what CI runs: lint, types, imports, the contract, coverage, languages and all tests
	$(MAKE) --jobs=2 $(TOGETHER) side-by-side
	$(MAKE) coverage
	$(BIN)/pytest -n $(WORKERS) $(patsubst %,--ignore-glob='%',$(COVERING))

# One core each, so two at a time.
side-by-side: mypy pyright lint imports proto-lint proto-breaking proto-in-step examples

lock: .venv-lock/.stamp ## resolve requirements/*.txt again (UPGRADE=1: to the newest versions)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## remove environments, caches and build output; never heed-data
	rm -rf .venv .venv-gen .venv-lock .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .coverage htmlcov dist generated/dist client/dist server/dist \
		examples/go/gen examples/java/target examples/typescript/{gen,dist,node_modules}
	find client server generated tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
