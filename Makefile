# make demo   the main job on bundled models, offline, in a private environment (.venv)
# make test   every quick test          make lint   format, style, types
# make docs   the pages in docs/_build  make bench  the benchmarks   make test-slow  what takes minutes

VENV ?= .venv
RUN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TORCH := $(shell grep '^torch==' constraints.txt)
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
WORKERS ?= 2

.PHONY: demo test test-slow lint docs bench install clean
.DEFAULT_GOAL := demo

demo: $(DEMO)
	$(RUN)/radiograph demo

test: $(DEV)
	$(ONE_THREAD) $(RUN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(DEV)
	$(ONE_THREAD) $(RUN)/python -m pytest -n $(WORKERS) --dist loadfile -m "slow"

lint: $(DEV)
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/pyright --pythonpath $(RUN)/python

docs: $(DEV)
	$(RUN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build
	@echo "docs: docs/_build/index.html"

bench: $(DEV)
	@for script in bench/*/[!_]*.py; do echo "$$script"; $(ONE_THREAD) $(RUN)/python $$script || exit 1; done

install: $(DEV)

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# The environment. A stamp makes the second call instant; a changed pin or dependency makes the next one install again.
$(VENV)/bin/python:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	        echo "creating $(VENV) with $$($$python --version)"; \
	        $$python -m venv $(VENV) && exit 0; \
	        rm -rf $(VENV); exit 1; \
	    fi; \
	    lacking=$$python; \
	done; \
	if [ -n "$$lacking" ]; then \
	    echo "$$lacking cannot create environments: install its venv module (Debian, Ubuntu: apt install $$lacking-venv)" >&2; \
	else \
	    echo "radiograph needs Python 3.11 or newer: install one, or name it with make PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1

$(DEMO): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing $(TORCH) (the largest part: 0.2 to 2.5 GB, a few minutes) ..."
	@$(PIP) "$(TORCH)"
	@echo "installing radiograph and what it needs (about a minute) ..."
	@$(PIP) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(DEMO)
	@echo "installing what tests, lint and docs need (about a minute) ..."
	@$(PIP) -e ".[dev]"
	@touch $(DEMO) $@
