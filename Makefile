# Everything that is done with this repository. `make` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/revoiceit-operator
# What is built lands outside of the tree, and is shared by all checkouts.
export CARGO_TARGET_DIR ?= $(cache)/target
ifneq ($(filter-out help deps cluster helm promtool fmt,$(MAKECMDGOALS)),)
$(shell CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' .ci/checkout)
endif
# Tools of a pinned version that `make deps` fetches.
export PATH := $(cache)/tools/bin:$(PATH)

.PHONY: help
help: ## Lists what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## Installs what the rest needs, as far as it is missing (Debian packages need root)
	@TOOLS=$(cache)/tools .ci/deps

.PHONY: build
build: ## Builds all programs
	cargo build --locked --workspace --bins

.PHONY: cluster
cluster: ## Builds Kubernetes for the tests: once, about eight minutes on two cores
	@tests/cluster/build.sh >/dev/null

.PHONY: helm
helm: ## Builds Helm for the tests: once, some minutes
	@tests/tools/build.sh helm >/dev/null

.PHONY: promtool
promtool: ## Builds Prometheus' promtool for the tests: once, up to ten minutes
	@tests/tools/build.sh promtool >/dev/null

.PHONY: image
image: ## Builds the operator's image without Docker, and its list of dependencies: some minutes
	@archive=$$(deploy/image/build.sh) && deploy/image/sbom.py >"$${archive%/*}/sbom.cdx.json" && ls -l "$${archive%/*}"/*

.PHONY: sandbox-image
sandbox-image: ## Builds the image of the sandbox, for staging: some minutes
	@ls -l "$$(deploy/image/build.sh revoiceit-sandbox)"

.PHONY: release-check
release-check: ## Builds the image's program twice, in two places, and compares: some minutes
	@deploy/image/reproducible.sh

# Side by side, since most of it is waiting: the tests with pods wait nearly always, those against a control plane a third of the time,
# and whoever needs an image waits until it is there. What the operator asked of the API server in all of them is held against its
# roles at the end. CLUSTER_VERSION=v1.33.13 is for another Kubernetes than the one in tests/cluster/go.mod, which is built first.
.PHONY: test
test: deps cluster helm promtool build ## Runs all tests, those against a real Kubernetes too; those with real pods need root
	@export REVOICEIT_RIGHTS=$$(mktemp -d); trap 'rm -rf -- "$$REVOICEIT_RIGHTS"' EXIT; \
		$(MAKE) --no-print-directory --jobs=4 --keep-going test-image test-node test-cluster test-units; \
		cargo test --locked --workspace --test e2e rights:: -- --ignored

# Together these are what `cargo test --workspace` runs. Always the whole workspace: for a part of it, cargo would build libraries anew.
tests := cargo test --locked --workspace --no-fail-fast
.PHONY: test-build test-image test-node test-cluster test-units
test-build:
	@$(tests) --no-run
test-image:
	@if [ "$$(id -u)" -eq 0 ] && command -v buildah >/dev/null; then (deploy/image/build.sh && deploy/image/build.sh revoiceit-sandbox) >/dev/null; fi
test-node: test-build
	@$(tests) --test '*' node::
test-cluster: test-build
	@$(tests) --test '*' -- --skip node::
test-units: test-build
	@$(tests) --lib --bins
	@$(tests) --doc

.PHONY: fuzz
fuzz: ## Fuzzes each reader for SECONDS (60); needs `rustup toolchain install nightly` and `cargo install cargo-fuzz`
	@for target in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
		echo "== $$target"; \
		mkdir -p $(cache)/fuzz/$$target; \
		cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir $(cache)/fuzz/target $$target \
			$(cache)/fuzz/$$target $$(ls -d tests/fuzz/seeds/$$target 2>/dev/null || echo src/planner/tests/golden) -- \
			-max_total_time=$(or $(SECONDS),60) -rss_limit_mb=512 -max_len=65536 -print_final_stats=1 -artifact_prefix=$(cache)/fuzz/found-; \
	done

.PHONY: model
model: ## Searches six times as many states of the protocol as the tests do: some minutes on two cores
	cargo test --locked --package revoiceit-model -- --ignored at_night --skip long_histories --nocapture

# Said before anything is built.
.PHONY: demo-needs
demo-needs:
	@need() { command -v $$1 >/dev/null || { echo "The demo needs $$2"; exit 1; }; }; \
		need cargo 'Rust, and there is none here: https://rustup.rs'; \
		need cc 'a C compiler, and there is none here: apt-get install gcc'; \
		need curl 'curl, and there is none here: apt-get install curl'; \
		$(if $(KUBECONFIG),,need go "Go $$(awk '$$1 == "go" { print $$2 }' tests/cluster/go.mod) or later, and there is none here: https://go.dev/dl")

# The program is compiled as for the image.
.PHONY: bench
bench: cluster ## Measures the shipped program, and makes docs/benchmarks.md: half an hour (BENCH=NAME: one of them)
	@deploy/image/compile.sh revoiceit-operator $(cache)/bench
	cargo build --locked --release --package revoiceit-bench
	@export REVOICEIT_BENCH_BUILT="as for the image"; \
	if [ -n "$(BENCH)" ]; then set -- "$(BENCH)"; else set -- fresh counts idle failover growth foreign rest; fi; \
	for bench in "$$@"; do \
		echo "== $$bench"; \
		$(CARGO_TARGET_DIR)/release/revoiceit-bench --operator $(cache)/bench/revoiceit-operator $$bench; \
	done

.PHONY: demo
demo: demo-needs build $(if $(KUBECONFIG),,cluster) ## Shows the operator at work, in a Kubernetes of its own or in yours (KUBECONFIG=FILE)
	@"$$CARGO_TARGET_DIR/debug/demo"

.PHONY: picture
picture: cluster promtool ## Draws docs/dashboard.svg anew, from half an hour of an operator in trouble
	@work=$$(mktemp -d) && trap 'rm -rf -- "$$work"' EXIT; \
		SERIES=$$work/series cargo test --locked --workspace --test e2e -- --ignored picture::; \
		"$$(tests/tools/build.sh promtool)" tsdb create-blocks-from openmetrics "$$work/series" "$$work/blocks" >/dev/null; \
		go run -C tests/tools/promtool ./picture "$(CURDIR)/deploy/monitoring/dashboard.json" "$$work/blocks" >"$$work/picture"; \
		cp -- "$$work/picture" docs/dashboard.svg

.PHONY: check
check: ## What to run while you work: format, lints, all tests that need no cluster and no minutes
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --quiet --package revoiceit-operator --lib --test generated

.PHONY: lint
lint: ## Checks format, lints, dependencies and generated files
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	cargo test --locked --quiet --test generated
	test -z "$$(gofmt -l tests/cluster tests/tools | tee -a /dev/stderr)"

.PHONY: fmt
fmt: ## Formats the code
	cargo fmt --all
	gofmt -w tests/cluster tests/tools

.PHONY: generate
generate: cluster ## Makes the CRD, the reference, the chart's values and deploy/install.yaml anew
	@# What only looks, such as whether a link leads somewhere, is not to keep anything from being made.
	UPDATE=1 cargo test --locked --quiet --test generated -- --skip links:: --skip runbook:: --skip table::
	"$$(tests/cluster/build.sh)" kubectl kustomize deploy/kustomize >deploy/install.yaml

.PHONY: crd
crd: ## Prints the CRD
	@cargo run --locked --quiet --bin revoiceit-operator -- crd
