# One target for each daily action. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STREAMS ?= streams.toml
# DURATION=30 make demo ends by itself after 30 seconds.
DURATION ?=
# CAMERAS=8 make demo inspects only the first 8 cameras.
CAMERAS ?=
# EXTRAS=cuda make offline-archive adds what the extra needs.
EXTRAS ?=

# Four test files at once, for most wait for cameras and clocks: each stays whole, so that its fixtures are made once,
# and the many short ones come last. tests/fakes/ports.py has ports for so many.
BESIDE := -n 4 --dist loadfile --no-loadscope-reorder

# What is imported is compiled once, and not anew by each of the thousand processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint format package-check offline-archive matrix bench faults kills chaos outputs-faults central-kills plc opcua-client gpu-check long-tests shared-training clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# The marker files remember what is installed, so that a second `make demo` starts at once.
$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[desk]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# For one test: what it names by itself is of exactly one version. The newest asks for a newer node than Debian 12 has.
$(VENV)/node-opcua/.installed: Makefile
	@mkdir -p $(@D)
	npm install --prefix $(@D) --no-audit --no-fund --ignore-scripts --silent node-opcua-client@2.180.0
	@touch $@

# Where the desk is not installed, as in an environment from before, the line goes on without it.
demo: $(VENV)/.core ## install the runtime and inspect 16 simulated RTSP cameras, with the desk in a browser
	@desk=--desk; $(BIN)/python -c 'import fastapi, jinja2, uvicorn' 2>/dev/null || \
		{ desk=; echo "without the desk: get it by $(BIN)/python -m pip install '.[desk]'"; }; \
	set -- $(BIN)/vision-line --streams $(STREAMS) $$desk $(if $(DURATION),--duration $(DURATION)) $(if $(CAMERAS),--cameras $(CAMERAS)); \
	echo "$$*"; exec "$$@"

test: $(VENV)/.dev ## install everything testable without a GPU and run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(BESIDE) -m "not alone and not shared_training and not long"
	$(BIN)/python -m pytest -m alone $$(grep -rl --include='test_*.py' 'mark\.alone' tests) # importing all others takes half a minute

unit: $(VENV)/.dev ## only the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(BESIDE) -m "not long" tests/unit tests/architecture

lint: $(VENV)/.dev ## formatting, lint, types, import contracts and dead code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: $(VENV)/.dev ## let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

package-check: $(VENV)/.dev ## sdist -> wheel -> fresh environment -> the command, from elsewhere; and without a network
	$(BIN)/python tools/check_package.py
	$(BIN)/python tools/offline_archive.py --output dist --check

offline-archive: $(VENV)/.core ## dist/: one archive with all wheels, for a machine without a network (EXTRAS=cuda,parquet)
	$(BIN)/python tools/offline_archive.py --extras '$(EXTRAS)'

matrix: $(VENV)/.dev ## the runtime's unit and contract tests on every supported Python that is here or that uv can fetch
	$(BIN)/python tools/matrix.py

bench: $(VENV)/.dev ## the benchmarks of docs/performance.md (needs an idle machine)
	$(BIN)/python -m benchmarks

faults: $(VENV)/.dev ## break cameras, network, disk and program, and see what holds (under 15 minutes, as root all of it)
	$(BIN)/python -m benchmarks.faults

kills: $(VENV)/.dev ## kill 100 whole runs at random moments, and check what they leave (10 minutes)
	$(BIN)/python -m benchmarks.kills

chaos: $(VENV)/.dev ## break a plant of four boxes that share cameras, and see what holds (thirty deaths; to take at most 20 minutes)
	$(BIN)/python -m benchmarks.chaos

outputs-faults: $(VENV)/.dev ## kill the outputs, their broker and their network, and see what arrives (10 minutes, needs mosquitto)
	$(BIN)/python -m benchmarks.outputs_faults

central-kills: $(VENV)/.dev ## kill the shipper and the database 30 times while a box records (3 minutes, needs postgresql)
	$(BIN)/python -m benchmarks.central_kills

plc: $(VENV)/.dev ## sort 10,000 simulated boards by a virtual PLC while line, disk and network break (an hour or two, as root all of it)
	$(BIN)/python -m benchmarks.virtual_plc

opcua-client: $(VENV)/.dev $(VENV)/node-opcua/.installed ## ask the OPC UA server by node-opcua, a second implementation (a minute, needs node and npm)
	$(BIN)/python -m pytest tests/integration/outputs/test_opcua_second_client.py

gpu-check: $(VENV)/.dev ## try the NVIDIA path on this machine's GPU, stage by stage (20 minutes; docs/gpu-check.md)
	$(BIN)/python -m tools.gpu_check

long-tests: $(VENV)/.dev ## the tests of which `make test` runs a short part: every family of networks from plan to bundle, training on two devices (about ten minutes)
	$(BIN)/python -m pytest -m long

shared-training: $(VENV)/.dev ## compress a model here and shared with a Ray cluster of which a node is killed, and compare (5 minutes)
	$(BIN)/python -m pytest -m shared_training tests/integration/cluster

clean: ## remove what the other targets made
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
