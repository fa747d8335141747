# Each target sets up what it needs on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OLDEST_VENV ?= .venv-oldest
OLDEST_INSTALLED := $(OLDEST_VENV)/.installed
OLDEST_TESTS ?= tests/unit/test_supported_versions.py $(addprefix tests/doors/test_,$(addsuffix .py,streaming_contract \
	streaming model_call llm_log plugin api server prompts sampling http))
BARE_VENV ?= .venv-without-local
BARE_INSTALLED := $(BARE_VENV)/.installed
PLUGINS_VENV ?= .venv-plugins
PLUGINS_INSTALLED := $(PLUGINS_VENV)/.installed
PLUGINS ?= llm-anthropic llm-gemini llm-mistral llm-ollama llm-openrouter llm-groq llm-deepseek

# One more than there are cores: half of the tests wait for a process.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# Databases of tests live in memory where there is room (4 GB): half of the suite's time is otherwise spent in fsync.
export PYTEST_DEBUG_TEMPROOT := $(shell df --output=avail -B1G /dev/shm 2>/dev/null | awk 'NR == 2 && $$1 >= 4 {print "/dev/shm"}')

.PHONY: demo dist test test-quick fuzz test-without-local test-oldest test-clients test-browser test-plugins test-replies coverage generate check docs format bench bench-compare bench-startup bench-consulting bench-history \
	bench-local-model bench-waiting bench-ending bench-quality bench-quality-local bench-attack bench-soak clean

demo: $(INSTALLED)
	$(BIN)/consortium-mcp demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal

# Every reply of the battery in both ways of streaming, as a table: what came of it, and where that is wrong.
test-replies: $(INSTALLED)
	$(BIN)/python -W ignore -m tests.replies

# A contributor's loop: what needs no process, no endpoint and no weights, without the three files with thousands of cases.
test-quick: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal -m "unit and not slow"

# Random input for each reader of what comes from outside, ten minutes each; what fails is kept in .hypothesis/fuzz.
fuzz: $(INSTALLED)
	$(BIN)/python -m tests.soak.fuzz

# Without the extra: the pure parts, and what says that the embedded model is not installed; the rest of the suite is the same.
test-without-local: $(BARE_INSTALLED)
	$(BARE_VENV)/bin/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal -m "unit and not slow or without_local"

# Pages in a real Chromium, which is installed where apt can; no test is skipped.
test-browser: $(INSTALLED)
	command -v chromium || command -v google-chrome || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	REQUIRE_BROWSER=1 $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile -m browser

# Other llm plugins against what their providers send, on this machine; writes the tables of docs/plugins.md.
test-plugins: $(PLUGINS_INSTALLED)
	$(PLUGINS_VENV)/bin/python -W ignore -m tests.clients.plugins

coverage: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal --cov=consortium_mcp --cov-branch --cov-report=term-missing:skip-covered

generate: $(INSTALLED)
	$(BIN)/python -m tests.generate

# What is published: wheel, source and MCP bundle in dist/; the wheel is tried in a fresh environment of each Python here.
dist: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m distribution
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m distribution.bundle
	$(BIN)/python -m distribution.check

# The oldest versions that pyproject.toml allows, in an environment of their own: the contract of direct streaming, and
# what meets mcp, llm, openai, uvicorn and SQLite most.
test-oldest: $(OLDEST_INSTALLED)
	$(OLDEST_VENV)/bin/python -m pytest $(OLDEST_TESTS)

# Clients that we did not write; needs Node 20 and npm, and takes minutes because one client has to be kept waiting.
test-clients: $(INSTALLED)
	cd tests/clients && npm ci --no-fund --no-audit --loglevel=error
	PYTHON=$(abspath $(BIN))/python $(BIN)/python -m tests.provider --seconds 150 node tests/clients/all.mjs

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy consortium_mcp tests benchmarks distribution
	$(MAKE) docs

# docs/ as a site in site/; each warning is an error (not with --quiet, which leaves them uncounted).
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# All that is measured of speed, in one table, and what of it got slower than when the baseline was saved; then each part alone.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

bench-compare: $(INSTALLED)
	$(BIN)/python -m benchmarks --compare

bench-consulting: $(INSTALLED)
	$(BIN)/python -m benchmarks.consulting

bench-local-model: $(INSTALLED)
	$(BIN)/python -m benchmarks.local_model

# How long is waited where something hangs; how soon the process ends; what the plugin costs llm; how long histories slow;
# how good answers are; what 30 minutes of load do.
bench-waiting: $(INSTALLED)
	$(BIN)/python -m benchmarks.waiting

bench-ending: $(INSTALLED)
	$(BIN)/python -m benchmarks.ending

bench-startup: $(INSTALLED)
	$(BIN)/python -m benchmarks.startup

bench-history: $(INSTALLED)
	$(BIN)/python -m benchmarks.history

bench-quality: $(INSTALLED)
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.quality.trust

# The report with the embedded model: it ends after nine minutes, with the consults that were made until then.
bench-quality-local: $(INSTALLED)
	$(BIN)/python -m benchmarks.quality --local --minutes 9

bench-attack: $(INSTALLED)
	$(BIN)/python -m benchmarks.attack

bench-soak: $(INSTALLED)
	$(BIN)/python -m benchmarks.soak

clean:
	rm -rf $(VENV) $(OLDEST_VENV) $(BARE_VENV) $(PLUGINS_VENV)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.[local]' --group dev
	touch $@

$(OLDEST_INSTALLED): pyproject.toml constraints/oldest.txt
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(OLDEST_VENV)/bin/pip install --quiet --constraint constraints/oldest.txt --editable '.[local]' --group dev
	touch $@

$(BARE_INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(BARE_VENV)
	$(BARE_VENV)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(BARE_VENV)/bin/pip install --quiet --editable . --group dev
	touch $@

# llm-gguf without llama-cpp-python, which pip compiles from source: it stands for a plugin that cannot be imported.
$(PLUGINS_INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(PLUGINS_VENV)
	$(PLUGINS_VENV)/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(PLUGINS_VENV)/bin/pip install --quiet --editable . $(PLUGINS)
	$(PLUGINS_VENV)/bin/pip install --quiet --no-deps llm-gguf
	touch $@
