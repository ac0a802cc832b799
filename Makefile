# Only the command line sets these variables: the same names in a shell's environment have another meaning.
ENV := local
HOST :=
FROM :=
YES :=
ARGS :=
VERSION :=
COMPONENT :=
$(foreach name,env host from yes args version component,$(if $(filter command line,$(origin $(name))),$(error write it in capitals: $(name)=… does nothing)))
$(foreach name,ENV HOST FROM YES ARGS VERSION COMPONENT,$(if $(findstring environment,$(origin $(name))),$(error MAKEFLAGS has -e, which would take $(name) from the environment: unset MAKEFLAGS)))
# What a shell may say to Python and pip is about other programs; indexes, proxies and certificates stay.
unexport $(filter PYTHON%,$(.VARIABLES)) LD_PRELOAD
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_NO_DEPS PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT
# The scripts beside it have the path that the checkout had when they were installed: all are run as modules.
PYTHON := .venv/bin/python
PIPELINE = $(PYTHON) pipeline.py
CONFIRMED = $(if $(filter 1 y yes true,$(YES)),--yes)
export ANSIBLE_CONFIG := $(CURDIR)/ansible/ansible.cfg

.DEFAULT_GOAL := help
# full.yaml is there to be read: it has every key once.
ENVIRONMENTS = $(filter-out full,$(patsubst environments/%.yaml,%,$(wildcard environments/*.yaml)))
COMMANDS := init validate preflight plan apply status verify ssh kubeconfig destroy synth inventory graph

.PHONY: help $(COMMANDS) check packages test e2e bench format golden schema release recipe

help: # print this menu
	@echo "make COMMAND ENV=name      an environment: $(ENVIRONMENTS), or a path to a file (environments/full.yaml has every key once)"
	@sed -nE 's/^([a-z0-9]+):.* ## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo "ARGS=… is handed on: make status ENV=prod ARGS=--json, make apply ENV=local ARGS=--help"
	@echo
	@echo "make TARGET                work on the project itself"
	@sed -nE 's/^([a-z0-9]+):.* # (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

$(COMMANDS): .venv/installed
	@$(PIPELINE) $@ $(call quoted,$(ENV)) $(CONFIRMED) $(if $(FROM),--from $(FROM)) $(HOST) $(WORDS)

WORDS = $(ARGS)
# A command for a machine's shell: as it is written, so that neither make nor this machine's shell takes a part of it.
ssh: WORDS = $(if $(HOST),$(if $(value ARGS),$(call quoted,$(value ARGS))))
# A word as a shell takes it, whatever is in it.
quoted = '$(subst ','\'',$(1))'

init: ## begin an environment file: make init ENV=name ARGS='--from-kubespray PATH'
validate: ## check the environment file; errors name file, line and key
preflight: ## check this machine, the cloud account, tools and artifacts
plan: ## say what apply would change, and change nothing
apply: ## make it so: machines, Kubernetes, checks, report (YES=1 does not ask, FROM=step resumes)
status: ## say what is there: machines, nodes, whether all is well
verify: ## run every check of the cluster again, and write the report
ssh: ## a shell on a machine: make ssh ENV=local HOST=controller-0
kubeconfig: ## fetch the administrator's kubeconfig, print its path
destroy: ## take everything down (asks, unless YES=1)
synth: ## write the Terraform stack, build/<env>/cdk.tf.json
inventory: ## print Ansible's inventory
graph: ## print a Mermaid diagram of the environment

# Whatever begins as a shell script does.
SHELL_SCRIPTS = $(shell grep -rlE '^\#!(/usr)?/bin/(env )?(ba|da)?sh' .ci ansible bootstrap infra)

check: .venv/installed # format, lint and types
	$(PYTHON) -m ruff format --check . && $(PYTHON) -m ruff check . && $(PYTHON) -m mypy . && $(PYTHON) -m yamllint -s . && $(PYTHON) -m ansiblelint --offline -q ansible && .venv/bin/shellcheck $(SHELL_SCRIPTS)

test: packages check # check, and every test that needs no machines
	$(PYTHON) -m pytest -n 2 -m 'not e2e'

e2e: packages .venv/installed # the whole on real machines; files side by side, because most of it is waiting
	$(PYTHON) -m pytest -n 2 --dist loadfile -m e2e tests/e2e

# The tests go on without what was declined: a program may have come in another way.
packages: # install what README.md names of Debian's packages (asks, unless YES=1)
	-@bootstrap/packages.sh $(CONFIRMED) $$(sed -n 's/^apt-get install -y //p' README.md)

bench: .venv/installed # figures of ENV per command, stage, host and task, kept in build/.bench
	@$(PYTHON) -m tests.bench $(call quoted,$(ENV))

golden: .venv/installed # write what synthesis gives into tests/synth/*.golden.json; review the diff
	GOLDEN=update $(PYTHON) -m pytest -q tests/synth -k golden

schema: .venv/installed # write environments/schema.json and full.yaml from the code
	$(PYTHON) -m bootstrap.config

release: .venv/installed # add a version of Kubernetes: make release VERSION=1.37.2, then review the diff
	@$(PYTHON) -m bootstrap.artifacts.release $(call quoted,$(VERSION)) $(ARGS)

recipe: .venv/installed # write the build recipe of a component of lock.yaml: make recipe COMPONENT=opentofu VERSION=1.12.6
	@$(PYTHON) -m bootstrap.artifacts.release.recipe $(call quoted,$(COMPONENT)) $(call quoted,$(VERSION)) $(ARGS)

format: .venv/installed # format the code
	$(PYTHON) -m ruff format . && $(PYTHON) -m ruff check --fix .

# Made anew where its Python is gone, as after an upgrade of the system.
.venv/installed: requirements.txt $(if $(realpath $(PYTHON)),,FORCE)
	@echo 'installing the Python packages into .venv, once: it takes a few minutes'
	@python3 -c 'import ensurepip' 2>/dev/null || bootstrap/packages.sh $(CONFIRMED) python3-venv
	python3 -m venv $(if $(realpath $(PYTHON)),,--clear) .venv
	$(PYTHON) -m pip install --no-user --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

FORCE:
