# `make` prints the targets. Everything runs in .venv, which the first target builds.
PYTHON ?= python3
# What pip installs as PyTorch: the pinned release by default; `make demo TORCH=torch` takes the newest that fits, and
# `make demo TORCH=installed` uses the one that $(PYTHON) already has (the environment then sees its packages).
TORCH ?= -c constraints.txt torch
# More for pip, such as `make demo PIP_OPTIONS="--index-url URL"` for an index that offers another build of PyTorch.
PIP_OPTIONS ?=
BIN := .venv/bin
STAMP := .venv/.installed
LIBRARIES ?= .venv-libraries

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format bench libraries test-libraries clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch first and pinned: resolved together with the rest, another build with its accelerator libraries may win.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "medinr needs Python 3.11 to 3.13, not " + sys.version.split()[0] + "; say make PYTHON=python3.12"'
ifeq ($(TORCH),installed)
	$(PYTHON) -m venv --system-site-packages .venv
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -e '.[dev,dicom]'
else
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) $(TORCH)
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) $(filter-out torch%,$(TORCH)) -e '.[dev,dicom]'
endif
	touch $@

demo: $(STAMP) ## reconstruct an example into demo/
	$(BIN)/medinr demo --out demo --overwrite

test: $(STAMP) ## all tests and doctests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(STAMP) ## style and formatting, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The wheel's tree: pipelines, configs and manifests stand beside medinr here and inside it there.
types: $(STAMP) ## static types, strict, over the package as it is installed
	rm -rf build/types && mkdir -p build/types/medinr
	ln -s $(CURDIR)/medinr/* $(CURDIR)/pipelines $(CURDIR)/configs $(CURDIR)/data_manifests build/types/medinr/
	ln -s $(CURDIR)/benchmarks build/types/
	cd build/types && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml

format: $(STAMP) ## bring every file into the common style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## time to 30, 35 and 40 dB against the published recipe, side by side
	$(BIN)/python -m benchmarks fit --out benchmark --overwrite

# An environment of its own: torchvision wants the build of torch it was made for, which constraints.txt does not pin.
$(LIBRARIES)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LIBRARIES)
	$(LIBRARIES)/bin/python -m pip install --quiet -e '.[dev,dicom,libraries]'
	touch $@

libraries: $(LIBRARIES)/.installed ## install DeepInverse and mrpro beside medinr, in .venv-libraries (several GB)

test-libraries: $(LIBRARIES)/.installed ## medinr against those libraries, and the examples that need them
	$(LIBRARIES)/bin/python -m pytest tests/libraries tests/docs

clean: ## remove the environments, caches and build output
	rm -rf .venv .venv-libraries build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
