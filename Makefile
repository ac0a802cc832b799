ENV ?= local
PYTHON := .venv/bin/python
PIPELINE = $(PYTHON) pipeline.py
export ANSIBLE_CONFIG := $(CURDIR)/ansible/ansible.cfg

.DEFAULT_GOAL := help
COMMANDS := validate synth preflight plan apply status verify destroy inventory kubeconfig ssh graph

.PHONY: help $(COMMANDS) check test e2e bench format golden schema

help: ## print this menu
	@echo "make COMMAND ENV=name [YES=1] [FROM=step] [HOST=name] [ARGS=…], where COMMAND is one of"
	@echo "  $(COMMANDS)"
	@sed -nE 's/^([a-z0-9]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

$(COMMANDS): .venv/installed
	@$(PIPELINE) $@ $(ENV) $(if $(YES),--yes) $(if $(FROM),--from $(FROM)) $(HOST) $(ARGS)

check: .venv/installed ## format, lint and types
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy . && .venv/bin/yamllint -s . && .venv/bin/ansible-lint --offline -q ansible && .venv/bin/shellcheck .ci/run

test: check ## check, and every test that needs no machines
	.venv/bin/pytest -n 2 -m 'not e2e'

e2e: .venv/installed ## the whole on real machines
	.venv/bin/pytest -m e2e tests/e2e

bench: .venv/installed ## figures of ENV per command, stage, host and task, kept in build/bench
	@PYTHONPATH=. $(PYTHON) tests/bench.py $(ENV)

golden: .venv/installed ## write what synthesis gives into tests/synth/*.golden.json; review the diff
	GOLDEN=update .venv/bin/pytest -q tests/synth -k golden

schema: .venv/installed ## write environments/schema.json from the code
	$(PYTHON) -m infra.config > environments/schema.json

format: .venv/installed ## format the code
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

.venv/installed: requirements.txt
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@
