# Everything a newcomer needs: `make demo` and `make test` set up `.venv` on first use and reuse it afterwards.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= auto
export PYTHONHASHSEED := 0
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE := 1

.PHONY: demo test check atlas bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   audit published rewards, see one hacked, repair it, write the report (installs on first use)"
	@echo "make test   lint, types, layout, doctests and all tests (installs on first use)"
	@echo "make check  the same without the slow tests"
	@echo "make atlas  every atlas page in full, and the site in site/"
	@echo "make bench  the figures of benchmarks/README.md"

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: .venv/.installed
	$(BIN)/rewardsmith demo

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/pytest -q -n $(WORKERS) -m "not slow" --doctest-modules src tests

test: lint
	$(BIN)/pytest -q -n $(WORKERS) --doctest-modules src tests

atlas: .venv/.installed
	$(BIN)/rewardsmith atlas run all --seed-start 0 --n-seeds 10 --workers 2
	$(BIN)/rewardsmith atlas build --out site

bench: .venv/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv site rewardsmith-report
