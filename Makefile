# Everything that is done with this repository. `make` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/revoiceit-operator
# What is built lands outside of the tree, and is shared by all checkouts.
export CARGO_TARGET_DIR ?= $(cache)/target
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

.PHONY: release-check
release-check: ## Builds the image's program twice, in two places, and compares: some minutes
	@deploy/image/reproducible.sh

# Side by side, since most of it is waiting: the tests with pods wait nearly always, those against a control plane a third of the time,
# and whoever needs the image waits until it is there. What the operator asked of the API server in all of them is held against its
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
	@if [ "$$(id -u)" -eq 0 ] && command -v buildah >/dev/null; then deploy/image/build.sh >/dev/null; fi
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
model: ## Searches ten times more of the protocol's histories than the tests do: some minutes on two cores
	cargo test --locked --package revoiceit-model -- --ignored at_night --skip long_histories --nocapture

.PHONY: demo
demo: $(if $(KUBECONFIG),,cluster) build ## Shows the operator at work, in a Kubernetes of its own or in yours (KUBECONFIG=FILE)
	cargo run --locked --quiet --package revoiceit-harness --bin demo

.PHONY: lint
lint: ## Checks format, lints, dependencies and generated files
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	cargo test --locked --quiet --test generated
	cd tests/cluster && test -z "$$(gofmt -l . | tee -a /dev/stderr)"

.PHONY: fmt
fmt: ## Formats the code
	cargo fmt --all
	cd tests/cluster && gofmt -w .

.PHONY: generate
generate: cluster ## Makes the CRD, the reference, the chart's values and deploy/install.yaml anew
	UPDATE=1 cargo test --locked --quiet --test generated
	"$$(tests/cluster/build.sh)" kubectl kustomize deploy/kustomize >deploy/install.yaml

.PHONY: crd
crd: ## Prints the CRD
	@cargo run --locked --quiet --bin revoiceit-operator -- crd
