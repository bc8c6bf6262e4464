# `make` prints the targets. Everything runs in .venv, which the first target builds.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS ?= .venv-peers

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format bench peers test-peers clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch first and pinned: resolved together with the rest, another build with its accelerator libraries may win.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "medinr needs Python 3.11 to 3.13, not " + sys.version.split()[0] + "; say make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP) ## reconstruct an example into demo/
	$(BIN)/medinr demo --out demo --overwrite

test: $(STAMP) ## all tests and doctests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(STAMP) ## style and formatting, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## static types, strict
	$(BIN)/mypy

format: $(STAMP) ## bring every file into the common style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## time to 30, 35 and 40 dB against the published recipe, side by side
	$(BIN)/medinr benchmark fit --out benchmark --overwrite

# An environment of its own: torchvision wants the build of torch it was made for, which constraints.txt does not pin.
$(PEERS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -e '.[dev,peers]'
	touch $@

peers: $(PEERS)/.installed ## install DeepInverse and mrpro beside medinr, in .venv-peers (several GB)

test-peers: $(PEERS)/.installed ## medinr against those libraries, and the examples that need them
	$(PEERS)/bin/python -m pytest tests/peers tests/docs

clean: ## remove the environments, caches and build output
	rm -rf .venv .venv-peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
