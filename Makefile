# make demo: set up and run the main job on the ECA model
# make test: set up, lint and run the suite
# make test-all: the slow tests as well, which are more of what others take a part of
# make coverage: lines of the package that the suite runs
# make test-oldest, make test-newest: without PyTorch and TensorRT, at the ends of the declared ranges
# make docs: build the site of docs/ in site/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= out/demo
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

# Several of the pinned versions are for Python 3.11 and later; 3.10 gets the newest that it has.
PINS := $(shell $(PYTHON) -c 'import sys; print("constraints.txt" if sys.version_info >= (3, 11) else "")')
export PIP_CONSTRAINT := $(if $(PINS),$(CURDIR)/$(PINS))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test suite test-all test-oldest test-newest coverage lint docs bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/tripoint run examples/eca.py:model --input x:1x3x5x5 --exporter torchscript \
		--target 7.1 -o $(OUT) --force

test: lint suite

suite: setup
	$(PYTEST)

test-all: lint
	$(PYTEST) -m "slow or not slow"

test-oldest: RESOLUTION := lowest-direct
test-newest: RESOLUTION := highest
test-oldest test-newest: test-%:
	$(PYTHON) -m venv --clear $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet uv
	$(VENV)-$*/bin/uv pip install --quiet --python $(VENV)-$*/bin/python \
		--resolution $(RESOLUTION) --editable '.[test]'
	$(VENV)-$*/bin/uv pip freeze --quiet --python $(VENV)-$*/bin/python
	$(VENV)-$*/bin/python -m pytest --numprocesses auto --dist worksteal $(TESTS)

coverage: setup
	$(PYTEST) --cov --cov-report=term:skip-covered

lint: setup docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src

docs: setup
	$(BIN)/zensical build --strict --clean

bench: setup
	$(BIN)/python -m venv --clear $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --requirement bench/requirements.txt
	$(BIN)/python bench/peers.py --peers $(VENV)-bench $(MODELS)

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-oldest $(VENV)-newest build dist out site .cache
