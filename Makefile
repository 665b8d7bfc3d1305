# `make run` trains the default model, `make test` runs the tests, `make slow` those that take long;
# each builds .venv first.
# In an environment of your own: `make run VENV=`, or VENV=/path/to/another.
PYTHON ?= python3
VENV ?= .venv
ACTIVE := $(if $(VENV),$(VENV)/bin/,)
READY := $(if $(filter .venv,$(VENV)),.venv/ready)
TESTS ?=

.PHONY: run test slow lint
run: $(READY)
	$(ACTIVE)python launch.py

test: $(READY)
	$(ACTIVE)python -m pytest -n 2 --dist worksteal -m "not slow" $(TESTS)

slow: $(READY)
	$(ACTIVE)python -m pytest -n 2 --dist worksteal -m slow $(TESTS)

lint: $(READY)
	$(ACTIVE)python -m ruff check .
	$(ACTIVE)python -m ruff format --check .
	$(ACTIVE)python -m mypy

.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -c 'import torch, torchvision'
	touch .venv/ready
