# Every target makes its own virtual environment from pinned versions; only Python and pip are needed.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test check lint slow benchmarks clean

demo: .venv/installed ## meta-train an agent on bandits and write its report
	$(BIN)/quickstudy train rl2 bandit

# A process for each file: one that compiles many hundreds of programs ends in an abort of XLA's. Two at a time:
# XLA compiles on one core. A file whose tests are all left out ends with 5.
test: .venv/installed ## the tests, without those that train for minutes
	@printf '%s\n' tests/test_*.py | xargs -P $(JOBS) -I{} sh -c \
	    'said=$$($(BIN)/pytest -q {} 2>&1); code=$$?; echo "{}"; echo "$$said"; [ $$code -eq 0 ] || [ $$code -eq 5 ] || exit 255'

check: ## exactly what CI runs
	bash .ci/run

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

slow: .venv/installed ## learning runs and checks that take minutes
	@for file in tests/test_*.py; do echo $$file; $(BIN)/pytest -q -m slow $$file || [ $$? -eq 5 ] || exit 1; done

benchmarks: .venv/installed ## speed, as ratios in one run; results in benchmarks/results
	$(BIN)/python benchmarks/throughput.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
