# make demo: the whole line on the bundled model (check, train, evaluate, export, report), offline, on a CPU.
# make test: lint, types, import rules and the default test suite.
# Both install what they need into .venv first; `make env` does only that.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: env demo test lint slow wheel clean

env: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: env
	$(BIN)/alignkit demo

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile

slow: env
	$(BIN)/pytest -m slow

wheel: env
	$(BIN)/python -m build --wheel

clean:
	rm -rf build dist outputs .mypy_cache .pytest_cache .ruff_cache
