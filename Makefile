# Everything one runs by hand or in CI. `make help` lists it.

export PATH := $(PATH):$(HOME)/.cargo/bin

# The port of the demo's API: `PORT=8001 make demo` beside another one.
PORT ?= 8000
# The tools that are built for this project stay in it.
TOOLS := target/tools

.DEFAULT_GOAL := help

.PHONY: help
help: ## Lists these targets.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: ## Starts a private stack with sample data and the API on 127.0.0.1:$PORT (8000); Ctrl-C ends it.
	@scripts/install-deps
	@test -e target/release/fia-api || echo "The first run compiles for some minutes."
	cargo build --release --package fia-api --package devstack
	@exec target/release/devstack demo --port $(PORT) --server target/release/fia-api

.PHONY: test
test: ## Runs every test, against servers that the tests start themselves.
	@scripts/install-deps
	cargo test --workspace --all-targets --no-fail-fast
	cargo test --workspace --doc

.PHONY: lint
lint: ## Checks format, lints, documentation and the dependencies' licences and sources.
	@scripts/install-deps
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items
	@$(MAKE) --no-print-directory deny

.PHONY: fmt
fmt: ## Formats the code.
	cargo fmt --all

# Of the checks, only the advisories need a database from the network.
.PHONY: deny
deny: $(TOOLS)/bin/cargo-deny
	$< check licenses bans sources

.PHONY: advisories
advisories: $(TOOLS)/bin/cargo-deny ## Looks for known vulnerabilities in the dependencies (needs the network).
	$< check advisories || { echo "advisories: see above; 'failed to fetch' means that the database was out of reach" >&2; exit 1; }

$(TOOLS)/bin/cargo-deny:
	@echo "Building cargo-deny, once (some minutes)."
	cargo install --locked --quiet --root $(TOOLS) cargo-deny
