# Everything one runs by hand or in CI. `make help` lists it.

export PATH := $(PATH):$(HOME)/.cargo/bin

# The port of the demo's API: `PORT=8001 make demo` beside another one.
PORT ?= 8000
# The jobs that the demo makes up: `JOBS=1000000 make demo` for a facility's worth.
JOBS ?= 5000
# The port of its operator's page.
OPERATOR_PORT ?= 8009
# The tools that are built for this project stay in it.
TOOLS := target/tools

.DEFAULT_GOAL := help

.PHONY: help
help: ## Lists these targets.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: deps ## Starts a private stack with sample data and the API on 127.0.0.1:$PORT (8000); Ctrl-C ends it.
	@test -e target/quick/fia-api || echo "The first run compiles for some minutes."
	cargo build --profile quick --package fia-api --package devstack
	@exec target/quick/devstack demo --port $(PORT) --operator-port $(OPERATOR_PORT) --jobs $(JOBS) --server target/quick/fia-api

.PHONY: test
test: deps ## Runs every test, against servers that the tests start themselves.
	@scripts/install-deps run test browser
	@scripts/install-axe || echo "axe is not installable: the page's accessibility is not checked."
	cargo test --workspace --all-targets --no-fail-fast
	cargo test --workspace --doc
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/scripts/rustc-loom cargo test --workspace --lib every_interleaving
	cd crates/tiercache/sim && cargo test --release --locked --target-dir $(CURDIR)/target/sim
	$(MAKE) simulation

.PHONY: lint
lint: deps $(TOOLS)/bin/cargo-deny ## Checks format, lints, documentation, manifests, and the dependencies' licences, sources and advisories.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items
	cd crates/tiercache/sim && cargo fmt --check
	cd crates/tiercache/sim && cargo clippy --release --locked --all-targets --target-dir $(CURDIR)/target/sim -- -D warnings
	$(TOOLS)/bin/cargo-deny check --hide-inclusion-graph licenses bans sources
	@scripts/check-advisories $(TOOLS)/bin/cargo-deny
	cargo package --package tiercache --locked --allow-dirty --no-verify --quiet
	scripts/check-manifests

# What is missing is installed from the distribution's packages.
.PHONY: deps
deps:
	@scripts/install-deps

.PHONY: bench
bench: ## Measures rates, waits and what must never happen (docs/PERFORMANCE.md); minutes.
	@scripts/install-deps run bench
	cargo build --release --package fia-api --package fia-bench --bins --example constant
	target/release/fia-bench routes
	target/release/fia-bench lists
	target/release/fia-bench frozen
	target/release/fia-bench new-jobs
	target/release/fia-bench trigger-cost

# Seconds of simulated histories, the first of their seeds, and the threads.
SIMULATION_SECONDS ?= 60
SIMULATION_SEED ?= 0
SIMULATION_JOBS ?= 2

.PHONY: simulation
simulation: ## Runs the cache's code in simulated histories for $SIMULATION_SECONDS (60), and judges every read.
	cd crates/tiercache/sim && cargo run --release --locked --target-dir $(CURDIR)/target/sim -- \
	  --seeds $(SIMULATION_SEED)..18446744073709551615 --seconds $(SIMULATION_SECONDS) --jobs $(SIMULATION_JOBS)

.PHONY: simulation-mutants
simulation-mutants: ## Checks that the simulated histories detect defects of the cache's code; minutes.
	cd crates/tiercache/sim && cargo run --release --locked --target-dir $(CURDIR)/target/sim -- \
	  --mutant all --seeds 0..4000 --jobs $(SIMULATION_JOBS)

.PHONY: bench-cache
bench-cache: deps ## Measures the cache beside its rivals (crates/tiercache/bench/README.md); a minute, after some for the build.
	cargo run --release --locked --manifest-path crates/tiercache/bench/Cargo.toml --target-dir target

.PHONY: soak
soak: ## Looks for what must never happen, a million times or through many outages; minutes.
	@scripts/install-deps run bench openapi browser emulation
	cargo build --release --package fia-api --package devstack --package fia-bench
	target/release/fia-bench stale
	target/release/fia-bench pooler
	target/release/fia-bench outages
	target/release/fia-bench fresh-lists
	target/release/fia-bench bodies
	target/release/fia-bench sockets
	target/release/fia-bench overload
	target/release/fia-bench operator-page
	target/release/fia-bench schedules
	target/release/fia-bench large-values
	target/release/fia-bench cluster
	$(MAKE) soak-cache
	$(MAKE) simulation SIMULATION_SECONDS=3600
	scripts/same-histories target/sim/release/tiercache-sim
	scripts/check-clients target/release/fia-api
	$(MAKE) fuzz FUZZ_SECONDS=120
	scripts/check-openapi target/release/devstack target/release/fia-api
	scripts/fuzz-openapi target/release/devstack target/release/fia-api 120

# Seconds for each schedule with failovers.
SOAK_SECONDS ?= 600

.PHONY: soak-cache
soak-cache: ## Runs the cache's tests with TLS, Sentinel and a cluster, then failovers for $SOAK_SECONDS each (600).
	for topology in tls sentinel cluster; do \
	  TIERCACHE_TEST_TOPOLOGY=$$topology cargo test --package tiercache --test it -- --skip model:: || exit 1; \
	done
	TIERCACHE_SOAK_SECONDS=$(SOAK_SECONDS) \
	  cargo test --profile quick --package tiercache --test it -- --ignored --nocapture --test-threads 1 schedules::

# The commit whose interface of the cache the present one must be compatible with.
BASELINE ?= origin/main

.PHONY: semver
semver: $(TOOLS)/bin/cargo-semver-checks ## Checks that the cache's interface is compatible with that of $BASELINE (origin/main).
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" cargo semver-checks --package tiercache --baseline-rev $(BASELINE)

# Seconds for each fuzz target.
FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: $(TOOLS)/bin/cargo-fuzz ## Fuzzes every parser of foreign bytes for $FUZZ_SECONDS each (600); needs a nightly toolchain.
	scripts/fuzz $(FUZZ_SECONDS)

.PHONY: image
image: $(TOOLS)/bin/cargo-cyclonedx ## Builds the container image with buildah, without a container registry, and tries it.
	@scripts/install-deps run image
	cargo build --release --locked --package fia-api
	CARGO_CYCLONEDX=$(TOOLS)/bin/cargo-cyclonedx scripts/image localhost/fia-api:latest
	scripts/image-smoke localhost/fia-api:latest

.PHONY: fmt
fmt: ## Formats the code.
	cargo fmt --all

# Once for a clone. Its own release profile would take twice as long to build.
$(TOOLS)/bin/cargo-deny: | deps
	@echo "Building cargo-deny, once; it takes some minutes."
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	  cargo install --locked --quiet --root $(TOOLS) cargo-deny

$(TOOLS)/bin/cargo-fuzz: | deps
	@echo "Building cargo-fuzz, once; it takes a minute."
	cargo install --locked --quiet --root $(TOOLS) cargo-fuzz

$(TOOLS)/bin/cargo-semver-checks: | deps
	@echo "Building cargo-semver-checks, once; it takes some minutes."
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	  cargo install --locked --quiet --root $(TOOLS) cargo-semver-checks

$(TOOLS)/bin/cargo-cyclonedx: | deps
	@echo "Building cargo-cyclonedx, once; it takes a minute."
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
	  cargo install --locked --quiet --root $(TOOLS) cargo-cyclonedx
