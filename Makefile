# make demo: set up, train on the built-in pictures, score, label; make test: set up, run all tests; make check: style, types, imports.
# make test-faults: a thousand damaged files, killed runs, full disks, and a table of what became of them (FCN_FAULTS_SEED=N: others).

PYTHON ?= python3
BIN := .venv/bin
DEMO := outputs/demo

.PHONY: demo test test-slow test-faults check clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: .venv/.ready
	@rm -rf $(DEMO)
	$(BIN)/fcn train output=$(DEMO)/train
	$(BIN)/fcn evaluate checkpoint=$(DEMO)/train/best.pt output=$(DEMO)/evaluate
	$(BIN)/python scripts/draw_shapes.py $(DEMO)/pictures
	$(BIN)/fcn predict checkpoint=$(DEMO)/train/best.pt input=$(DEMO)/pictures output=$(DEMO)/predict
	@echo "Look at $(DEMO)/train/samples.png, $(DEMO)/train/curves.png, $(DEMO)/evaluate/confusion.png and the pictures in $(DEMO)/predict"

test: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist worksteal

test-slow: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical -m slow

test-faults: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical -m faults tests/faults --tb=no -rN

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv outputs multirun dist build
