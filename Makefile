# The tools of .venv come first on PATH, so that the crane built by `setup` is the one that is used.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

SOURCES = lib ocidriver.py tests benchmarks scripts
# Many tests wait for servers and clients, so three for each core keep the cores busy.
WORKERS ?= $(shell expr 3 \* $$(nproc))
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test interpreters check coverage fuzz audit bench verdicts clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

setup: ## install what the load test and the demo need
	@scripts/setup.sh run

setup-dev: ## install what the tests need as well
	@scripts/setup.sh dev

demo: setup ## load-test a cache on this machine for half a minute
	@.venv/bin/python -m lib.lab.demo

test: check ## set up, check, run every test, and the fast ones on every other Python
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal
	@.venv/bin/python scripts/interpreters.py

interpreters: setup-dev ## run the fast tests on every other Python that is found
	@.venv/bin/python scripts/interpreters.py

check: setup-dev ## lint and check the types
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy $(SOURCES)

coverage: setup-dev ## run every test and say which lines and branches of lib none has reached
	.venv/bin/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term-missing:skip-covered

fuzz: setup-dev ## fuzz what reads text from outside, for FUZZ_SECONDS (60) in all
	@.venv/bin/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

audit: setup-dev ## look up known vulnerabilities of the packages
	@.venv/bin/python scripts/audit.py

bench: setup ## compare the pull rate with xargs and others, in pairs (minutes)
	@.venv/bin/python -m benchmarks.rivals
	@.venv/bin/python -m benchmarks.cold
	@.venv/bin/python -m benchmarks.scale

verdicts: setup ## measure how often compare errs, with runs made at random (minutes)
	@.venv/bin/python -m benchmarks.verdicts

clean: ## remove everything that was made here, the virtual environment too
	rm -rf .venv .venv-interpreters demo-output build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz .coverage*
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
