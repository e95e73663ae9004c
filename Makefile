# Two commands do everything: `make run` and `make test`. Both make the environment first.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
RECORDINGS ?=
TESTS ?= tests
CRASHES ?= 200
PEERS ?=
PARTS ?=
CASES ?=
KEEP ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test lint check docs bench bench-million bench-sizes bench-ops guard soak clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

# serves every model from the built-in offline upstream; prints a curl line once it is ready
run: $(STAMP)
	$(BIN)/nexeon serve --sandbox --port $(PORT)

# RECORDINGS=DIR runs the recorded provider traffic too
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile $(TESTS) $(if $(RECORDINGS),--recordings $(RECORDINGS)) $(PYTEST_FLAGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: $(STAMP)
	$(BIN)/nexeon check --coverage

# pages that are made from schemas and mappings, and with RECORDINGS=DIR from recorded traffic
docs: $(STAMP)
	$(BIN)/python -m tests.tools.configuration_docs
	$(BIN)/python -m tests.tools.coverage_docs
	$(if $(RECORDINGS),$(BIN)/python -m tests.tools.recordings_docs $(RECORDINGS))

# figures, not a test: CPU per request beside a bare echo, nginx and (PEERS=1, in environments of their own) LiteLLM and
# Portkey; latency, memory, start, growth; at the end what is to hold, and whether it does. PARTS and CASES (a pattern)
# choose, KEEP=FILE puts several goes together; `python -m tests.bench --help` has more
bench: $(STAMP)
	PEERS='$(PEERS)' BENCH_PARTS='$(PARTS)' BENCH_ONLY='$(CASES)' BENCH_KEEP='$(KEEP)' BENCH_PLOT=docs/bench.svg \
		$(BIN)/python -m tests.bench

# memory over a million requests; goes on where it was interrupted
bench-million: $(STAMP)
	BENCH_KEEP='$(KEEP)' $(BIN)/python -m tests.bench.million

# the store and the terminal with many keys, ledger entries and requests
bench-sizes: $(STAMP)
	$(BIN)/python -m tests.bench.store
	$(BIN)/python -m tests.bench.terminal

# workers, reloads, restarts: figures, not a test
bench-ops: $(STAMP)
	for each in tests/bench/ops_*.py; do $(BIN)/python -m tests.bench.$$(basename $$each .py) || exit 1; done

# instructions of the hot path beside the committed figures; `--update` takes new ones
guard: $(STAMP)
	$(BIN)/python -m tests.bench.guard

# the long runs of the property and crash tests
soak: $(STAMP)
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest tests/store tests/wire tests/mapping tests/sandbox --timeout 3600
	NEXEON_CRASHES=$(CRASHES) $(BIN)/python -m pytest tests/gateway/test_crash.py tests/gateway/test_many.py
	NEXEON_TOGETHER=60 $(BIN)/python -m pytest tests/tui/test_together.py

clean:
	rm -rf $(VENV) build dist *.egg-info
