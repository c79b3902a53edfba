# Gantry: two commands matter, `make up` and `make test`. `make help` lists the rest.
# Anything with logic lives in xtask (Rust); what must be installed first, in tools/setup.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Through sudo, cargo still lives in the home of the user who called it.
CALLER_HOME := $(if $(SUDO_USER),$(shell getent passwd $(SUDO_USER) | cut -d: -f6),$(HOME))
export PATH := $(PATH):$(CALLER_HOME)/.cargo/bin
export RUSTUP_HOME ?= $(CALLER_HOME)/.rustup
# The steps of `make` say what failed themselves.
export RUST_BACKTRACE = 0
CARGO ?= cargo
# The end-to-end tests mostly wait: so many files of them run side by side. Not yet by default, see CONTRIBUTING.md.
WORKERS ?= 1
XTASK := $(CARGO) run --quiet --package xtask --

.PHONY: help up down test setup setup-up fmt lint generated layers licences typos unit simulate docs e2e test-vm bench

help: ## List the recipes
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

up: setup-up ## Build, start Gantry in the background, run a sample service, say what to try next
	$(CARGO) build --release --package gantry
	$(XTASK) up

down: ## Stop what `make up` started, the sample's containers too
	$(XTASK) down

test: setup fmt lint generated layers licences typos unit simulate docs e2e test-vm ## Everything CI runs

setup-up:
	tools/setup up

setup: ## Install what the tests need (Debian packages, Python packages in .venv)
	tools/setup test

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

lint: ## Clippy, warnings refused
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

generated: ## Generated code and pages are what the sources say
	$(XTASK) generate --check

layers: ## Crates use only what ARCHITECTURE.md allows
	$(XTASK) layers

licences: ## Licences and sources of the dependencies
	$(XTASK) licences

typos: ## Spelling
	.venv/bin/typos

unit: ## Rust tests
	$(CARGO) nextest run --workspace --no-fail-fast
	$(CARGO) test --workspace --doc --quiet

simulate: ## Ten thousand random worlds (docs/simulation.md)
	$(XTASK) simulate

# Its readers are contributors, so private items are part of it and may be linked to.
docs: ## The Rust documentation builds without warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
		$(CARGO) doc --workspace --no-deps --document-private-items --quiet

e2e: ## Real clients against a real Gantry
	$(CARGO) build --package gantry --quiet
	.venv/bin/python -m pytest tests/e2e -q -rs $(if $(filter-out 1,$(WORKERS)),--numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder)

test-vm: ## The runtime's tests on cgroup v2 with systemd's layout, in a virtual machine
	$(XTASK) test-vm

bench: ## All benchmarks beside their peers; prints the tables of docs/benchmarks.md
	tools/setup bench
	$(CARGO) build --release --package gantry --quiet
	$(CARGO) build --release --package gantry-registry --example load --quiet
	$(CARGO) build --release --package gantry --example fleet --quiet
	$(CARGO) build --release --package gantry-runtime --example bench_pull --quiet
	$(CARGO) build --release --package gantry-layers --example bench_inflate --quiet
	.venv/bin/python benches/run.py
