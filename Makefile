# The verbs of this project. Each target's ## text is what `make help` prints.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-warn-conflicts
PIP := $(INSTALL) --constraint requirements/constraints.txt
# On a machine with GPUs: make setup LOCK=requirements/lock-gpu.txt
LOCK ?= requirements/lock-cpu.txt
UV := uv==0.13.9
SITE := PYTHONPATH=platform:. $(BIN)/python -m crucible.supervisor
# Names of stamps hold a hash of what they were made from: unchanged pins are not installed twice.
stamp = $(VENV)/.$(1)-$(shell cat $(2) 2>/dev/null | sha256sum | cut -c1-12)
SETUP := $(call stamp,setup,$(LOCK) requirements/compute.txt pyproject.toml)
DEV := $(call stamp,dev,requirements/constraints.txt requirements/dev.txt)
AUDIT := .venv-audit/.audit-$(shell cat requirements/audit.txt requirements/constraints.txt 2>/dev/null | sha256sum | cut -c1-12)
DEPLOY := .venv-deploy/.deploy-$(shell cat requirements/deploy.txt 2>/dev/null | sha256sum | cut -c1-12)
FUZZ := .venv-fuzz/.fuzz-$(shell cat requirements/fuzz.txt 2>/dev/null | sha256sum | cut -c1-12)
PEERS := .venv-bench/.peers-$(shell cat requirements/bench.txt 2>/dev/null | sha256sum | cut -c1-12)

.DEFAULT_GOAL := help
.PHONY: help setup dev demo up down backup backups restore prune backupkey test faults lint lock bench browser audit fuzz deploylint

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(SETUP) ## install everything into .venv (quick when nothing changed)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Crucible needs Python 3.11 or newer; name one: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)

$(SETUP): | $(VENV)/bin/python
	@echo "Installing into $(VENV): about two minutes the first time."
	$(INSTALL) --no-deps --require-hashes --requirement $(LOCK)
	$(PIP) $(shell grep '^torch==' requirements/compute.txt)
	$(PIP) --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.setup-* && touch $@

dev: $(DEV)

$(DEV): $(SETUP)
	$(PIP) -r requirements/dev.txt
	@rm -f $(VENV)/.dev-* && touch $@

demo: setup ## the story of curation: five submissions, what each step was worth, the leaderboard
	@$(BIN)/python examples/demo.py

up: setup ## run the site, the worker and the reconciler until Ctrl-C
	@exec env $(SITE) up

down: ## stop what `make up` or `make demo` left running, jobs included
	@$(SITE) down

# Without `setup`: a backup must not change the site's packages.
backup: ## one more backup, with the site up or down: TO=FOLDER
	@$(SITE) backup $(TO)

backups: ## the backups in a folder: FROM=FOLDER
	@$(SITE) backups $(FROM)

restore: ## a backup into an empty CRUCIBLE_HOME: FROM=FOLDER [BACKUP=NAME] [IDENTITY=FILE]
	@$(SITE) restore $(FROM) $(if $(BACKUP),--backup $(BACKUP)) $(if $(IDENTITY),--identity $(IDENTITY))

prune: ## remove old backups: FROM=FOLDER KEEP=NUMBER
	@$(SITE) prune $(FROM) --keep $(KEEP)

backupkey: ## a new key for encrypted backups: TO=FILE
	@$(SITE) backup-key $(TO)

# In the order of their names: the submission from form to score, the longest, is then begun first.
test: dev browser lint ## lint, then every test, two files at a time
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

faults: dev ## a long run of the fault suite: every broker, Slurm, Ray
	$(BIN)/python -m tests.faults.campaign --faults 60 --backend local slurm ray

lint: dev ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(VENV)/bin/python ## write both lock files anew, after a change of the requirements
	$(PIP) $(UV)
	$(BIN)/python requirements/lock.py

bench: setup $(PEERS) ## speed beside peers; more with TASKS=, NEOX= and OPEN_LM= (docs/benchmarks.md)
	$(BIN)/python benchmarks/tokenise.py --megabytes 60 --peer .venv-bench/bin/python
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.scores
	test -d var/bench-pool || $(BIN)/python examples/build_pool.py var/bench-pool --megabytes 10
	$(BIN)/python -m benchmarks.curation --pool var/bench-pool --peer .venv-bench/bin/python
ifdef TASKS
	$(BIN)/python benchmarks/contamination.py --data $(TASKS) --peer .venv-bench/bin/python
endif
ifdef NEOX
	OMP_NUM_THREADS=1 PYTHONPATH=.:$(OPEN_LM) $(BIN)/python benchmarks/evaluation.py --data $(TASKS) \
	  --tokenizer $(NEOX) $(if $(OPEN_LM),--open-lm)
endif
ifdef OPEN_LM
	OMP_NUM_THREADS=1 PYTHONPATH=.:$(OPEN_LM) $(BIN)/python benchmarks/training.py
endif

$(PEERS):
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check --quiet -r requirements/bench.txt
	@rm -f .venv-bench/.peers-* && touch $@

audit: $(AUDIT) ## known vulnerabilities of all pinned packages; without an answer it is no pass
	.venv-audit/bin/python deploy/audit.py

$(AUDIT):
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --disable-pip-version-check --quiet --constraint requirements/constraints.txt -r requirements/audit.txt
	@rm -f .venv-audit/.audit-* && touch $@

deploylint: $(DEPLOY) ## checks the files in deploy/ without a container daemon
	$(PYTHON) deploy/lint.py .venv-deploy/bin

$(DEPLOY):
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements/deploy.txt
	@rm -f .venv-deploy/.deploy-* && touch $@

fuzz: setup $(FUZZ) ## every route of the API against a fuzzer; FUZZ_SECONDS=600
	.venv-fuzz/bin/python deploy/fuzz.py

$(FUZZ):
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements/fuzz.txt
	@rm -f .venv-fuzz/.fuzz-* && touch $@

browser: dev # for the browser tests: an installed Chromium, Debian's, or Playwright's own
	@$(BIN)/python deploy/browser.py
