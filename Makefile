# `make` alone says what there is. Every target sets up what it needs first.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo up test quick explore lint ci parity pins clean ready

BIN := .venv/bin
# The order of the tests: what is quick, then everything else.
QUICK := $(wildcard tests/domain tests/flow)
OTHERS := $(filter-out $(QUICK) tests/__pycache__,$(patsubst %/.,%,$(wildcard tests/*/.)))
# Run a program. That it was told to stop by Ctrl-C is not an error worth a line.
run = trap : INT; $(1) || { code=$$?; [ $$code -eq 130 ] || exit $$code; }

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ready ## Install everything into this folder. The other targets do it as needed.
	@echo "ready"

demo: ready ## Run the whole pipeline on a recorded feed, print its answer, stop.
	@$(call run,$(BIN)/millrace demo)

up: ready ## Start the local stack, and keep it running until Ctrl-C.
	@$(call run,$(BIN)/millrace up)

test: ready ## Run all tests, the quick ones first.
	@$(BIN)/python -m pytest --quiet $(QUICK)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(OTHERS)

quick: ready ## Run the tests that need nothing but memory: seconds.
	@$(BIN)/python -m pytest $(QUICK)

explore: ready ## Try new examples in the property tests, ROUNDS=10 times; a failure names its seed.
	@for round in $$(seq $${ROUNDS:-1}); do \
	  seed=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' '); echo "seed $$seed"; \
	  $(BIN)/python -m pytest --quiet --numprocesses 2 -m hypothesis \
	    --hypothesis-profile explore --hypothesis-seed "$$seed" $${TESTS:-tests} || exit; \
	done

lint: ready ## Check style, types and the layers' imports.
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/sqlfluff lint synapse
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/zizmor --offline --quiet .github/workflows

ci: lint demo test ## Do what CI does: lint, demo, test.

parity: ready ## Compare the local engine with Spark on a JVM: minutes, and Java is needed.
	@$(call run,sh tests/parity/run.sh)

pins: ready ## Resolve every pinned version anew from requirements*.in and Azurite's package.json.
	@$(BIN)/python local/pins.py
	@$(BIN)/npm update --prefix local/azurite --package-lock-only --ignore-scripts --no-audit \
	  --no-fund --omit-lockfile-registry-resolved

clean: ## Remove all that `make` has made, the local stack's data included.
	rm -rf .venv .venv-parity .millrace local/azurite/node_modules .*_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ready:
	@$(call run,sh local/setup.sh)
