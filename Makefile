# Two commands on a fresh machine with Python 3.11, a C++ compiler and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
NATIVE := build/.native-stamp
PIP_OPTIONS := --quiet --disable-pip-version-check -c constraints.txt
SOURCES := CMakeLists.txt $(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*.h)

.PHONY: setup demo test lint bench clean

setup: $(STAMP) $(NATIVE)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Python first, without compiling; the kernels are built beside it, so that a change to one recompiles one.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) "scikit-build-core>=0.10" "nanobind>=2.4" cmake ninja
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-build-isolation -C wheel.cmake=false -e ".[dev]"
	$(BIN)/python -m compileall -q avatarkit
	touch $@

$(NATIVE): $(SOURCES) $(STAMP)
	$(BIN)/cmake -S . -B build -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja > build.log 2>&1 || (cat build.log; exit 1)
	$(BIN)/cmake --build build > build.log 2>&1 || (cat build.log; exit 1)
	rm -f build.log
	touch $@

demo: setup
	$(BIN)/avatarkit demo -o demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

bench: setup
	for f in tests/benchmarks/bench_*.py; do $(BIN)/python $$f || exit 1; done

clean:
	rm -rf build build.log demo $(VENV) avatarkit/ops/*.so
