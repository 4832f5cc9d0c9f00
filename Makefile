# make demo | check | test | clean: each does its own set-up in .venv; only Python 3.10+ and make
# are needed. `make test` skips what the machine lacks with one line; CI=true skips nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := requirements.lock
LINTED := host shared_schema device tools tests firmware_tests examples
# The rooms of tests/ that start no board and build no firmware.
FAKES := tests/unit tests/protocol tests/cli
# The documents first: one of them is the longest file, and whoever is last works alone.
BOARDS := tests/docs tests/boards
# To collect all the others would take as long as a third of these.
ALONE := $(shell grep -rl --include="test_*.py" "mark\.alone" tests)
PAGE ?= 127.0.0.1:8080
ALSO = $(COVERAGE:--cov=--cov --cov-append)
# Else each command that the tests start would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo demo-web check test soak coverage lint format fakes boards alone pytest firmware firmware-tests mpy footprint footprint-accept bench bench-accept pictures docs lock clean

help:
	@echo "make demo   a leaking and a fragmenting application, each on boards with and without the agent"
	@echo "make demo-web  three simulated boards, and their web page: http://127.0.0.1:8080/"
	@echo "make check  lint, types, the tests that need no board: 80 seconds"
	@echo "make test   lint, types, all tests, firmware tests (CI=true: nothing skipped): nine minutes"
	@echo "make soak   the same tests with their long campaigns: an hour, never in CI"
	@echo "make coverage  what the tests run of the host's code: 95 % at least"
	@echo "make lint   ruff and mypy only"
	@echo "make mpy    the agent as .mpy, for each architecture"
	@echo "make footprint  the heap that the agent takes on a board of 32 bits"
	@echo "make bench  what the agent costs: one table, bench/results.json, docs/cost.md"
	@echo "make pictures  the live view and the web page of simulated boards, in docs/pictures"
	@echo "make docs   the documentation as a site, build/site/index.html"
	@echo "make clean  remove .venv, build/ and caches"

# Two stamps: the demo does not wait for the development tools. Both go stale with pyproject.toml.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "boardwarden needs Python 3.10 or newer: make PYTHON=/path/to/python3 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "cannot make a virtual environment (Debian: apt-get install python3-venv)" >&2; exit 2; }

$(VENV)/.stamp-run: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "setting up $(VENV)"
	@$(PIP) install -c $(LOCK) -e .
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "setting up $(VENV) with the development tools"
	@$(PIP) install -c $(LOCK) -e '.[dev]'
	@touch $@ $(VENV)/.stamp-run $(VENV)/.stamp-web

demo: $(VENV)/.stamp-run
	@$(BIN)/python -m boardwarden.demo

# The page needs an extra that the demo does not.
$(VENV)/.stamp-web: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "setting up $(VENV) with the web page"
	@$(PIP) install -c $(LOCK) -e '.[web]'
	@touch $@ $(VENV)/.stamp-run

# One board leaks, one blocks its loop, one is well. The password is new each time.
demo-web: $(VENV)/.stamp-web
	@mkdir -p build && rm -f build/demo-users.json
	@set -e; password=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(9))'); \
	  echo "$$password" | $(BIN)/boardwarden users add build/demo-users.json demo --control >/dev/null; \
	  echo "sign in as demo with the password $$password"; \
	  exec $(BIN)/boardwarden serve --page $(PAGE) --listen 127.0.0.1:0 --users build/demo-users.json \
	    $(patsubst %,--board sim:examples/%.py,leaky_gateway blocking_station station)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check $(wildcard $(LINTED))
	$(BIN)/ruff format --check $(wildcard $(LINTED))
	$(BIN)/mypy

format: $(VENV)/.stamp-dev
	$(BIN)/ruff check --fix $(wildcard $(LINTED))
	$(BIN)/ruff format $(wildcard $(LINTED))

# What measures time is left out of both: it runs after the others, alone.
fakes: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not alone" $(FAKES) $(COVERAGE)

# Five at once on two cores: most of them wait for a board. By file: some share what they built; in
# their own order, for xdist would have the files with the fewest tests, the longest, come last.
boards: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder -m "not alone" $(BOARDS) $(ALSO)

alone: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -m alone $(ALONE) $(ALSO)

pytest:
	@$(MAKE) --no-print-directory fakes
	@$(MAKE) --no-print-directory boards
	@$(MAKE) --no-print-directory alone

check: $(VENV)/.stamp-dev
	@$(MAKE) --no-print-directory -j2 lint fakes

# What the tests run of the host's code. The report at the end fails under what pyproject.toml says,
# the three runs do not. It takes half as long again.
coverage: $(VENV)/.stamp-dev
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory pytest COVERAGE="--cov --cov-report= --cov-fail-under=0"
	$(BIN)/coverage report

# The random campaigns at their whole length, every firmware test with the C module too, coverage.
soak: $(VENV)/.stamp-dev
	@SOAK=1 $(MAKE) --no-print-directory firmware coverage firmware-tests

firmware-tests: $(VENV)/.stamp-dev
	$(BIN)/python firmware_tests/run.py

mpy: $(VENV)/.stamp-dev
	@$(BIN)/python tools/build_mpy.py

# Before the tests that want it, so that none of them waits for a compiler. Where it cannot be
# built the tool says how to get what is missing, and those tests are skipped; in CI it fails.
# The tools that build need only Python itself: in `make test` pip works at the same time.
firmware: | $(BIN)/python
	@for target in unix qemu qemu-asyncio qemu-m0 unix-probe qemu-probe unix32 unix32-frozen; do \
	  $(BIN)/python tools/build_firmware.py $$target >/dev/null || [ "$$CI" != true ] || exit 1; \
	done

# footprint-accept: what `make test` compares the figures with, after a change that is meant to cost
# more, or that made something cheaper.
footprint: $(VENV)/.stamp-dev
	@$(BIN)/python tools/footprint.py

footprint-accept: $(VENV)/.stamp-dev
	@$(BIN)/python tools/footprint.py --accept

# Some minutes. bench-accept: what `make test` compares the counted figures with, after a change that
# is meant to cost more, or that made something cheaper.
bench: $(VENV)/.stamp-dev
	@PYTHONPATH=tools $(BIN)/python -m bench $(BENCH)

bench-accept: $(VENV)/.stamp-dev
	@PYTHONPATH=tools $(BIN)/python -m bench --accept

# Three minutes: so much of simulated boards' lives is in the pictures. Those of the page need Debian's
# chromium and chromium-driver.
pictures: $(VENV)/.stamp-dev
	@$(BIN)/python tools/make_pictures.py
	@$(BIN)/python tools/page_pictures.py

# The theme prints a page about MkDocs 2 at each build; the lock has 1.6, and the theme asks for it.
docs: $(VENV)/.stamp-dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q -f tools/mkdocs.yml
	@echo "build/site/index.html"

# Firmware is built beside what needs none. The others run one after the other even under -j: they
# share two cores, and some measure time.
test: | $(BIN)/python
	@$(MAKE) --no-print-directory -j3 lint fakes firmware
	@$(MAKE) --no-print-directory boards
	@$(MAKE) --no-print-directory alone
	@$(MAKE) --no-print-directory firmware-tests

# The pinned versions `make` installs. From the oldest Python supported, because what runs there
# runs on the newer ones and not the other way round: make lock PYTHON=python3.10
lock:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' || \
	  { echo "the lock is made with Python 3.10: make lock PYTHON=python3.10" >&2; exit 2; }
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --disable-pip-version-check --quiet install '.[dev]'
	{ echo "# Pinned for make. Renew with: make lock PYTHON=python3.10"; \
	  build/lock/bin/python -m pip freeze --exclude boardwarden; } > $(LOCK)
	rm -rf build/lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
