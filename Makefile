# make quickstart   tune SmolLM2 on the embedded consultations and compare it with the base
# make test         install what the tests need, then run the tests, but for the slow ones
# make test-slow    the tests that need minutes, a browser or several processes
# make tutorial     the commands of docs/tutorial.md and the cells of docs/tutorial.ipynb, as a reader would run them
# make check        lint, types, imports, sizes
# make docs         the documentation as a site, into site/
# make verify       what takes longest, by hand: faults done to real runs, exactness at full size, 300 random configs
PYTHON ?= python3
# The versions to install: constraints-oldest.txt has the oldest that pyproject.toml admits.
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin
# On Linux the index offers a build with CUDA; TORCH_INDEX=https://download.pytorch.org/whl/cpu gives the smaller one.
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) $(INDEX)
# One worker a core, one thread each: the networks are tiny, and threads that wait for each other cost more than they bring.
PARALLEL := -n auto --maxprocesses 4

.PHONY: quickstart test test-slow tutorial check docs verify clean

quickstart: .venv/installed
	$(BIN)/python scripts/quickstart.py

test: .venv/installed-dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest $(PARALLEL) --dist worksteal -m "slow and not alone"
	$(BIN)/python -m pytest -m "slow and alone"

tutorial: .venv/installed-dev
	$(BIN)/python scripts/check_tutorial.py

docs: .venv/installed-dev
	$(BIN)/python scripts/make_site.py

verify: .venv/installed-dev
	FUZZ_EXAMPLES=300 $(BIN)/python -m pytest -s --timeout 0 -m slow tests/cli/test_fuzz.py
	$(BIN)/python scripts/torture.py
	$(BIN)/python scripts/check_exactness.py

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/show_layout.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml $(CONSTRAINTS)
	@echo "Installing into .venv; PyTorch is a large download."
	$(PIP) --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
