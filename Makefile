# Needs Python 3.11, Java 17 and Maven; everything else is fetched. STACK_* variables change ports and folders: stack/config.py.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/installed
# What takes longest begins first: the tests with a real Airflow share one, and so one process.
KINDS := $(wildcard $(addprefix tests/,e2e contract broker properties unit docs dags))
# Most of a test's time is waiting for other programs.
JOBS ?= 3
chaos: JOBS = 4
simulate: JOBS = 2
TOGETHER = -n $(JOBS) --dist loadgroup --no-loadscope-reorder
# Workers and brokers are started hundreds of times: without what Python keeps of its modules, each start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# Brokers that live for minutes spend most of their processor time on compiling themselves thoroughly.
test chaos: export JAVA_TOOL_OPTIONS := $(JAVA_TOOL_OPTIONS) -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
# They use all processors themselves, and print a summary.
SCHEDULES := tests/simulator/test_schedules.py
OUTAGES := tests/e2e/test_chaos.py tests/e2e/test_bad_endings.py

.PHONY: help install fetch up down logs demo test simulate chaos lint types imports check clean

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  %-8s %s\n' "$$name" "$$text"; done

install: $(INSTALLED) ## Make the virtual environment .venv

$(INSTALLED): pyproject.toml requirements/dev.txt
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q "$$(grep '^uv==' requirements/dev.txt)"
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e . -r requirements/dev.txt
	@touch $@

fetch: install ## Fetch Kafka, the schema registry and Airflow 3 and 2
	@$(BIN)/python -m stack.fetch

up: install ## Start the whole stack in the background
	@$(BIN)/python -m stack.up

down: ## Stop the stack
	@! test -x $(BIN)/python || $(BIN)/python -m stack.down

logs: ## Follow the logs of the stack
	@tail -n 20 -F $${STACK_STATE:-.stack}/logs/*.log

demo: up ## Start the stack, send commands, show what became of them
	@$(BIN)/python -m stack.demo

test: install fetch ## Run the tests, three at a time; JOBS=1: one by one
	@$(BIN)/pytest $(TOGETHER) $(KINDS) $(addprefix --ignore ,$(OUTAGES))

simulate: install ## Run 10,000 schedules in virtual time; SEEDS=50000 or 17..99: others; SEED=17: see one
	@$(if $(SEED)$(SEEDS),$(BIN)/python -m tests.simulator $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)),$(BIN)/pytest $(SCHEDULES) && $(BIN)/pytest $(TOGETHER) tests/simulator --ignore $(SCHEDULES))

chaos: install fetch ## Kill, freeze and sabotage workers; MINUTES=30: all faults for so long
	@$(if $(MINUTES),$(BIN)/python -m tests.support.chaos --minutes $(MINUTES),$(BIN)/pytest $(TOGETHER) $(OUTAGES) tests/chaos)

lint: install ## Check the style
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: install ## Check the types
	@$(BIN)/mypy

imports: install ## Check that no room imports what it must not
	@$(BIN)/lint-imports

check: lint types imports ## lint, types and imports

clean: down ## Stop the stack and remove its state
	@rm -rf $${STACK_STATE:-.stack}
