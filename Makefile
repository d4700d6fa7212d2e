# make sweep [ARGS="seeds=3 size=small"]   train, evaluate and report the five families; resumes
# make test [ARGS="-k masks"]              lint, then all tests but the slow ones
# make test-all                            lint, then all tests: what continuous integration runs
# make check                               style, types, the order of the rooms, the tests of changed rooms
# make lint                                style, types, the order of the rooms, links and navigation of the docs
# make docs                                builds the documentation site
# Each first makes .venv and installs what is missing. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Tests of one file share trained runs, so each process takes the tests in order. One that is done takes from the others.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: sweep test test-all check most all changed style lint docs

sweep: $(INSTALLED)
	$(BIN)/pentarch sweep five_families $(ARGS)

# Types take one core, so the tests run beside them.
test: $(INSTALLED)
	@$(MAKE) --no-print-directory -j 2 lint most

test-all: $(INSTALLED)
	@$(MAKE) --no-print-directory -j 2 lint all

most:
	$(PYTEST) $(ARGS)

all:
	$(PYTEST) -m "" $(ARGS)

check: $(INSTALLED)
	@$(MAKE) --no-print-directory -j 2 style changed

changed:
	@files="$$($(BIN)/python tests/changed.py)"; \
		if [ -n "$$files" ]; then $(PYTEST) $$files $(ARGS); \
		else echo "no changed file has tests of its own"; fi

style: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

lint: style
	$(BIN)/zensical build --strict
	$(BIN)/pytest --noconftest tests/test_docs_navigation.py

docs: $(INSTALLED)
	$(BIN)/zensical build --strict
	@echo "the pages: site/index.html"

# The constraints name the CPU build of torch: a machine with an NVIDIA GPU does without them.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: '$(PYTHON)' is missing or older than Python 3.11; say make PYTHON=/path/to/python3.11" >&2; \
		exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv: a few minutes the first time"
	@constraints="-c constraints.txt"; nvidia-smi >/dev/null 2>&1 && constraints=""; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $$constraints -e ".[dev]"
	@touch $@
