# `make demo` shows it working, `make test` runs the tests; each sets up .venv the first time and
# installs nothing the second. `make docs` builds the site from docs/, `make check` is what CI runs.
# PYTHON=/path/to/python chooses another interpreter for .venv than the first suitable one found.

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?=

# Training and tests allocate and free large tensors; where tcmalloc is installed it keeps their
# pages, which makes a step on a CPU two to ten times steadier. Never required.
TCMALLOC := $(firstword $(wildcard \
	/usr/lib/*/libtcmalloc_minimal.so.4 /usr/lib64/libtcmalloc_minimal.so.4 \
	/usr/lib/libtcmalloc_minimal.so.4))
ifneq ($(TCMALLOC),)
RUN := LD_PRELOAD=$(TCMALLOC)$${LD_PRELOAD:+:$$LD_PRELOAD}
endif

SOURCES := src tests benchmarks demo docs/site

.PHONY: demo test check lint types format docs

demo: $(VENV)/.ready
	@$(RUN) $(PY) demo/run.py --out demo_out

test: $(VENV)/.ready
	@$(RUN) $(PY) -m pytest -n 2

check: lint types docs test

lint: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)

types: $(VENV)/.ready-dev
	$(VENV)/bin/pyright

# Any warning, a link or an anchor that leads nowhere too, is an error.
docs: $(VENV)/.ready-dev
	@if $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict; \
	else echo "The site is built with Python 3.11 or newer: left out"; fi

format: $(VENV)/.ready-dev
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

# The stamps depend on what decides their contents; pip runs only when one of those has changed.
INSTALL = $(PY) -m pip install $$([ -t 1 ] || echo --quiet) --disable-pip-version-check \
	--prefer-binary -c constraints/tested.txt

$(VENV)/.ready: pyproject.toml constraints/tested.txt | $(PY)
	@echo "Installing the tested versions into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -e '.[test]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@$(INSTALL) -e '.[dev]'
	@touch $@

$(PY):
	@PYTHON='$(PYTHON)' VENV='$(VENV)' sh constraints/make_venv.sh
