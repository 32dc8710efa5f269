# Two commands do everything on a fresh machine: `make demo` and `make test`. Both need only Python >= 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Most tests wait for wires, brokers and disks: more of them at a time than there are cores.
TEST_PROCESSES ?= 4

.PHONY: demo test faults bench fuzz check audit schemas lock clean

demo: .venv/ready
	@exec $(BIN)/daq demo $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

# What the daemon costs beside what one would otherwise use; says what is missing, installs nothing.
bench: .venv/ready
	@$(BIN)/python -m tests.bench $(ARGS)

# Strikes a running station with every fault there is, and ends with a table: FAULTS_MINUTES=10 SEED=1, needs mosquitto.
# ARGS=--machine: with everything that happens to its process and its machine instead, 200 kills among it.
faults: .venv/ready
	$(BIN)/python -m $(if $(findstring --machine,$(ARGS)),tests.machine,tests.faults) $(ARGS)

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Looks for bytes that break a promise, ten minutes a target: make fuzz ARGS="frames --seconds 60". Linux, CPython 3.11 to 3.13.
fuzz: .venv/ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.lock
	@$(BIN)/python -m tests.fuzz $(ARGS)

# Asks the advisory database of the package index about every locked version; needs the network, and says what it could not ask.
audit:
	@$(PYTHON) -m venv .audit && .audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

# Rewrites schemas/ and the reference of driver files from the models; tests compare them.
schemas: .venv/ready
	$(BIN)/daq schema --write schemas
	$(BIN)/daq driver reference > docs/driver-reference.md

# The lock holds every extra but fuzz, and the build backend, with hashes, for every platform; no index is named in it.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --extra demo --extra dev --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --extra fuzz --constraint requirements.lock --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements-fuzz.lock

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bench-daq needs Python >= 3.11; '$(PYTHON)' is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up .venv from requirements.lock (once; a minute or two) ..."
	@$(PYTHON) -m venv .venv || { echo "Cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

clean:
	rm -rf .venv .audit build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
