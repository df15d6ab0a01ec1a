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

# The image's program and the tests are built side by side: neither keeps all processors busy. What goes wrong with the image, the
# tests with real pods tell.
.PHONY: test
test: deps cluster helm promtool build ## Runs all tests, those against a real Kubernetes too; those with real pods need root
	@if [ "$$(id -u)" -eq 0 ] && command -v buildah >/dev/null; then deploy/image/build.sh >/dev/null & fi; \
		cargo test --locked --workspace --no-run; wait
	cargo test --locked --workspace --no-fail-fast

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

# The program is compiled as for the image.
.PHONY: bench
bench: cluster ## Measures the shipped program, and makes docs/benchmarks.md: half an hour (BENCH=NAME: one of them)
	@deploy/image/compile.sh $(cache)/bench
	cargo build --locked --release --package revoiceit-bench
	@export REVOICEIT_BENCH_BUILT="as for the image"; \
	if [ -n "$(BENCH)" ]; then set -- "$(BENCH)"; else set -- fresh counts idle failover growth foreign rest; fi; \
	for bench in "$$@"; do \
		echo "== $$bench"; \
		$(CARGO_TARGET_DIR)/release/revoiceit-bench --operator $(cache)/bench/revoiceit-operator $$bench; \
	done

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
