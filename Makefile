# make search        finds a PSNR-latency front on the embedded photographs (arguments: ARGS="--scale 4")
# make test          checks and tests the installed package
# make test-minimum  tests with the lower bounds of pyproject.toml
# make check         is what "make test" runs before the tests: ruff, mypy, import-linter
# make docs          builds the pages into build/site; a warning is an error
# All of them create a virtual environment and install the tested versions first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ROOMS := search_space nas profiling leaderboard
SOURCES := $(shell find $(ROOMS) -type f -not -path '*/__pycache__/*') pyproject.toml constraints.txt
ARGS ?=
LINKS := build/package
MINIMUM := tests/search_space tests/profiling tests/leaderboard tests/nas/images tests/nas/strategy tests/nas/study \
  tests/nas/test_optuna_private.py tests/nas/run/test_launch.py tests/nas/run/test_workers.py

# The folder 'profiling' must not shadow the standard library's.
export PYTHONSAFEPATH = 1

.PHONY: search test check test-minimum docs clean

search: $(VENV)/installed
	$(BIN)/srnas search --ladder 1,3 $(ARGS)

test: $(VENV)/installed-test
	@$(BIN)/python -c 'import sys, srnas.nas as s; sys.exit("site-packages" not in s.__file__ and "make test needs the built package, but an editable one is installed; run make test VENV=.venv-test")'
	$(MAKE) --no-print-directory check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov

# The rooms of this clone stand as the package srnas in build/package, whatever is installed.
check:
	@mkdir -p $(LINKS)/srnas
	@for room in $(ROOMS); do ln -sfn "$(CURDIR)/$$room" $(LINKS)/srnas/$$room; done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(LINKS) $(BIN)/mypy --namespace-packages --explicit-package-bases $(ROOMS:%=-p srnas.%)
	PYTHONPATH=$(LINKS) $(BIN)/lint-imports

test-minimum:
	$(PYTHON) -m venv $(VENV)-minimum
	rm -rf build
	$(VENV)-minimum/bin/pip install --quiet --constraint constraints-minimum.txt '.[test]'
	OMP_NUM_THREADS=1 $(VENV)-minimum/bin/pytest -W default -n 2 --dist worksteal $(MINIMUM)

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/installed: $(SOURCES) | $(VENV)/bin/pip
	rm -rf build
	$(BIN)/pip install --quiet --constraint constraints.txt '.[onnx]'
	touch $@

$(VENV)/installed-test: $(SOURCES) | $(VENV)/bin/pip
	rm -rf build
	$(BIN)/pip install --quiet --constraint constraints.txt '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(SOURCES) | $(VENV)/bin/pip
	rm -rf build
	$(BIN)/pip install --quiet --constraint constraints.txt '.[docs]'
	touch $@ $(VENV)/installed

$(VENV)/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "srnas needs Python 3.11 or later, but $(PYTHON) is " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(VENV)-minimum build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage*
