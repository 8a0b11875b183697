# `make run` starts Sendry, `make test` proves it. Everything else is in CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Programs that the tests drive, by the Debian package that has them.
TEST_PACKAGES := curl postfix swaks opendkim opendkim-tools chromium postgresql

.PHONY: run install install-dev test-packages test lint bench screenshots clean

run: install
	$(BIN)/python app.py serve

install: $(VENV)/installed

install-dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sendry needs Python 3.11 or newer: install the Debian package python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; \
	  else echo "Python cannot make virtual environments: install the Debian package python3-venv"; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m compileall -q sendry app.py || true
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

test-packages:
	@tests/packages.sh $(TEST_PACKAGES)

test: install-dev test-packages
	$(BIN)/pytest -n 2 --dist loadgroup

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install-dev test-packages
	$(BIN)/python -m bench

screenshots: install-dev test-packages
	$(BIN)/python -m tests.browser.pictures screenshots

clean:
	rm -rf $(VENV) screenshots
