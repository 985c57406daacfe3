# Everything a newcomer needs: `make demo` and `make test` set up what they need on first use and reuse it afterwards.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= auto
# One more than there are cores for the slow tests, which wait for processes of their own about as long as they compute.
SLOW_WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
SPREAD = -q --dist loadgroup --no-loadscope-reorder
# Modules are compiled when they are first imported; most of what is installed never is.
INSTALL = python -m pip install --quiet --disable-pip-version-check --no-compile
TORCH := $(shell grep '^torch==' constraints.txt)
OPENRLHF_IMPORTS := aiohttp pylatexenc transformers
export PYTHONHASHSEED := 0
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE := 1
# Compiled modules are kept: the suite starts some hundred processes.
unexport PYTHONDONTWRITEBYTECODE
# As many processes as there are cores; more threads would only wait for one another.
check fast test models newest engines sandbox sweep: export OMP_NUM_THREADS := 1

.PHONY: help demo docs pictures lint check fast test models newest engines sandbox sweep atlas bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo     audit published rewards, see one hacked, repair it, write the report (installs on first use)"
	@echo "make docs     the site of guides, reference and atlas in site/; open site/index.html"
	@echo "make pictures the pictures of docs/images by today's code; half an hour, and chromium"
	@echo "make test     lint, types, layout, doctests and all tests (installs on first use)"
	@echo "make check    the same without the slow tests and without the newest packages"
	@echo "make newest   test today's newest packages, and pin them in constraints-newest.txt"
	@echo "make engines  test against verl and OpenRLHF themselves, each in an environment of its own"
	@echo "make sandbox  try all attacks on each kind of sandbox, and as an ordinary user too where root starts it"
	@echo "make sweep    the tests that draw, on fresh seeds and many of each, and jobs killed at random; within an hour"
	@echo "make atlas    run the atlas pages that changed, keep the results in docs/atlas/results, write site/atlas"
	@echo "make bench    the figures of benchmarks/README.md"

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) -c constraints.txt torch
	$(BIN)/$(INSTALL) -c constraints.txt -e ".[dev]"
	@touch $@

.venv-newest/.installed: pyproject.toml constraints-newest.txt
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/$(INSTALL) -c constraints-newest.txt -e ".[trl,lora,test]"
	@touch $@

.venv-verl/.installed: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv --clear .venv-verl
	.venv-verl/bin/$(INSTALL) -c constraints-verl.txt verl cachetools fastapi uvicorn -e ".[torch,test]"
	@touch $@

# OpenRLHF asks for vLLM and flash-attn, which its executor does not import.
.venv-openrlhf/.installed: pyproject.toml constraints-openrlhf.txt
	$(PYTHON) -m venv --clear .venv-openrlhf
	.venv-openrlhf/bin/$(INSTALL) -c constraints-openrlhf.txt $(OPENRLHF_IMPORTS) -e ".[torch,math,test]"
	.venv-openrlhf/bin/$(INSTALL) -c constraints-openrlhf.txt --no-deps openrlhf
	@touch $@

demo: .venv/.installed
	$(BIN)/rewardsmith demo

docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

pictures: .venv/.installed
	$(BIN)/python -m examples.pictures

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture

check: .venv/.installed
	$(MAKE) --jobs=2 --output-sync lint fast

fast: .venv/.installed
	$(BIN)/pytest $(SPREAD) -n $(WORKERS) -m "not slow" --doctest-modules src tests

test:
	$(MAKE) --jobs=2 .venv/.installed .venv-newest/.installed
	$(MAKE) --jobs=2 --output-sync lint models
	$(BIN)/pytest $(SPREAD) -n $(SLOW_WORKERS) --doctest-modules src tests

# The model-equality tests on the packages of constraints-newest.txt; in one process, which is done when `lint` is.
models: .venv-newest/.installed
	.venv-newest/bin/pytest -q -m models tests/rewards/models

# The one target that depends on what was released today. The file changes only where its tests pass.
newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/$(INSTALL) "$(TORCH)" -e ".[trl,lora,test]"
	.venv-newest/bin/pytest -q -n $(WORKERS) --dist loadgroup tests/rewards/models tests/engines
	.venv-newest/bin/python -m pip freeze --exclude rewardsmith > .venv-newest/pins
	sed -E 's/\+[a-z0-9.]+$$//' .venv-newest/pins > constraints-newest.txt
	@touch .venv-newest/.installed

engines: .venv-verl/.installed .venv-openrlhf/.installed
	.venv-verl/bin/pytest -q tests/engines/test_verl.py
	.venv-openrlhf/bin/pytest -q tests/engines/test_openrlhf.py

# `make test` tries one mode as one user.
sandbox: export SANDBOX_MODES := unshare,bubblewrap,landlock
sandbox: .venv/.installed
	$(BIN)/pytest -q tests/sandbox
	[ "$$(id -u)" != 0 ] || $(BIN)/python -m tests.sandbox.as_nobody $(BIN)/python -m pytest -q -p no:cacheprovider tests/sandbox

sweep: .venv/.installed
	$(BIN)/python -m tests.sweeps.sweep $(if $(SEED),--seed $(SEED))

# Results are committed; what is held of pages whose code has not changed is not run again.
atlas: .venv/.installed
	$(BIN)/rewardsmith atlas build --results docs/atlas/results --seed-start 410 --n-seeds 10 --workers 2 --out site/atlas

bench: .venv/.installed
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .venv-* site rewardsmith-report
