# Two commands for a fresh clone: `make demo` and `make test`. Both set up .venv first; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Tests and demo start hundreds of processes, which should find the project compiled.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup demo down test coverage soak fuzz lint proto reference docs smoke lock clean

PYTHON ?= python3
BIN := .venv/bin
# Three processes for two cores, because half of the time tests wait for servers. Each keeps its servers for whole files;
# files start in the order of tests/conftest.py rather than by their number of tests.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder
PROTOS := neardup_platform/wire/neardup.proto neardup_platform/store/store.proto
# Like scripts/setup.sh, with the certificates that this machine trusts.
UV := . scripts/system_certificates.sh && system_certificates && $(BIN)/uv
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header pyproject.toml requirements/build.in

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: .venv/.stamp ## create .venv from the lock file with hashes; install Java and Maven for Kafka

.venv/.stamp: requirements/default.txt requirements/uv.txt pyproject.toml scripts/setup.sh scripts/system_certificates.sh
	@PYTHON="$(PYTHON)" bash scripts/setup.sh
	@touch $@

demo: setup ## run the platform with the sample pictures until Ctrl-C; DETACH=1 returns once ready
	@$(BIN)/python -m samples.demo $(if $(DETACH),--detach)

down: setup ## stop what `make demo DETACH=1` or `neardup up --detach` started
	@$(BIN)/neardup down

test: setup ## run everything that CI runs: lint, types, layers, tests, documentation, the demo
	@$(MAKE) --no-print-directory lint
	@$(PYTEST)
	@$(MAKE) --no-print-directory smoke

soak: setup ## run the worker under load and kill it repeatedly; MINUTES=30 KILLS=100 RATE=200 BROKER_KILLS=3
	@$(BIN)/python -m tests.faults.soak

fuzz: setup ## test random ids, messages, Parquet files, pictures, request bodies and corrections, for hours
	@$(BIN)/pytest -n 2 --hypothesis-profile=long tests/fuzz

lint: setup ## check format, lint, types, layers, generated code
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	bash scripts/check_proto.sh

proto: setup ## generate the message code from the .proto files
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. $(PROTOS)

reference: setup ## generate docs/reference/ from the code
	@$(BIN)/python -m scripts.reference

docs: setup ## build the documentation site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

coverage: setup ## run the tests and report the lines that none of them runs
	@$(PYTEST) --cov --cov-report term-missing

smoke: setup ## run the demo from start to stop in a home of its own
	@bash scripts/smoke.sh

lock: setup ## resolve pyproject.toml into requirements/*.txt; keeps pins that still fit, UPGRADE=1 renews them
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra dev --extra bench -o requirements/default.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra gpu --override requirements/gpu-overrides.txt \
		--no-emit-package faiss-cpu --no-emit-package tensorflow-cpu -o requirements/gpu.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade) --extra ray -o requirements/ray.txt
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header $(if $(UPGRADE),--upgrade) requirements/uv.in -o requirements/uv.txt

clean: ## remove .venv and caches, but not the data in NEARDUP_HOME
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
