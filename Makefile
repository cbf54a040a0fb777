# Everything that can be done with this repository. `make` alone prints the list.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := .tools/bin/cargo-deny

.PHONY: help
help: ## Print this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

.PHONY: demo
demo: control-plane ## Show the main job from end to end, on simulated services. KEEP=1 keeps it up.
	@echo '==> demo: building (some minutes the first time)'
	cargo build --release --locked -p pad-operator -p demo
	@echo '==> demo: starting'
	@cargo run --quiet --release --locked -p demo

.PHONY: test
test: control-plane kstatus lint generate-check ## Everything CI runs: control plane, lint, generated files, all tests.
	@echo '==> test: building and running all tests'
	cargo test --workspace --locked --no-fail-fast
	@echo '==> test: what came of each crash'
	@cat "$${CARGO_TARGET_DIR:-target}/crash-points.txt"

.PHONY: soak
soak: control-plane ## Minutes of random faults, then the books are compared. SOAK_SEED=, SOAK_SECONDS=, SOAK_CANDIDATES=.
	@echo '==> soak: building'
	cargo test --locked --test operator --no-run
	@echo '==> soak: running; the seed that is printed repeats the schedule'
	@SOAK_SECONDS=$${SOAK_SECONDS:-180} SOAK_CANDIDATES=$${SOAK_CANDIDATES:-300} \
	  cargo test --quiet --locked --test operator soak::whatever_goes_wrong -- --nocapture

.PHONY: lint
lint: $(CARGO_DENY) ## Format, clippy, documentation, licences and sources of the dependencies.
	@echo '==> lint: format'
	cargo fmt --all --check
	@echo '==> lint: clippy'
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@echo '==> lint: documentation'
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
	@echo '==> lint: licences, sources and versions of the dependencies'
	$(CARGO_DENY) --locked check --hide-inclusion-graph licenses sources bans

# Built once, from source, in some 2 minutes on 2 cores: little optimised, and without the parts that need the network.
# A program of another version than the one above is replaced.
.PHONY: FORCE
$(CARGO_DENY): FORCE
	@if [ "$$($(CARGO_DENY) --version 2>/dev/null)" != 'cargo-deny $(CARGO_DENY_VERSION)' ]; then \
	  echo '==> lint: building cargo-deny $(CARGO_DENY_VERSION), once'; \
	  CARGO_TARGET_DIR=.tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
	  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
	    cargo install --locked --force --root .tools --no-default-features cargo-deny@$(CARGO_DENY_VERSION); \
	  rm -rf .tools/build; \
	fi

.PHONY: generate
generate: ## Write crds/ and the chart's copy of it from the types in src/api.
	@tools/generate.sh

.PHONY: generate-check
generate-check: ## Fail if `make generate` would change anything.
	@echo '==> generate-check: what is generated from src/api'
	@tools/generate.sh --check

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver, kube-controller-manager, kubectl and helm into .tools/bin, once.
	@tools/control-plane.sh

.PHONY: kstatus
kstatus: ## Build into .tools/bin what tells how Flux and Argo CD see an object; the tests ask it.
	@echo '==> kstatus: building'
	@mkdir -p .tools/bin
	@cd tools/kstatus && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../.tools/bin/kstatus .

.PHONY: bench image
bench image:
	@echo 'make $@ is not there yet: it comes with a later version.' >&2
	@exit 2
