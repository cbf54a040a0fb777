# All tasks of this repository. `make` alone prints the list.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO_DENY_VERSION := 0.20.2
CARGO_MACHETE_VERSION := 0.9.2
JSCPD_VERSION := 5.0.12
CARGO_CYCLONEDX_VERSION := 0.5.9
MDBOOK_VERSION := 0.5.4
# Only `make check` uses a running control plane.
unexport CONTROL_PLANE
# The target registry and name of the image, such as registry.example.com/pad-operator.
IMAGE := localhost/pad-operator
TAG := $(shell sed -n '/^\[workspace.package\]/,/^$$/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
CARGO_DENY := .tools/bin/cargo-deny
CARGO_MACHETE := .tools/bin/cargo-machete
CARGO_CYCLONEDX := .tools/bin/cargo-cyclonedx
JSCPD := .tools/bin/jscpd
MDBOOK := .tools/bin/mdbook

.PHONY: help
help: ## Print this list.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

.PHONY: setup
setup: control-plane kstatus prometheus otlp-receiver foreign-crds vale $(CARGO_DENY) $(CARGO_MACHETE) $(JSCPD) $(MDBOOK) ## Build everything that tests and lint need into .tools, once (about 20 minutes on 2 cores).
	@echo '==> setup: fetching the crates'
	cargo fetch --locked
	@echo '==> setup: ready. Next: make dev, or make test'

.PHONY: demo
demo: control-plane ## Show the main job from end to end, on simulated services. KEEP=1 keeps it running.
	@echo '==> demo: building (takes some minutes the first time)'
	cargo build --release --locked -p pad-operator -p demo
	@echo '==> demo: starting'
	@cargo run --quiet --release --locked -p demo

# Builds in the same way as `make check`, so that one build serves both.
.PHONY: dev
dev: control-plane ## Run a control plane, the simulators and the operator while you write code. In a second terminal: rebuild and restart the operator.
	@echo '==> dev: building (takes some minutes the first time)'
	cargo test --locked --no-run -p pad-operator -p kubectl-pad -p demo --test operator --test program --test demo
	@"$${CARGO_TARGET_DIR:-target}/debug/demo" dev

.PHONY: check
check: control-plane ## Run the tests of one area, such as AREA=sync; in the control plane of `make dev`, if it runs.
	@test -n '$(AREA)' || { echo 'check: AREA is not set. Example: make check AREA=sync' >&2; exit 1; }
	@echo '==> check: building'
	cargo test --locked --no-run -p pad-operator -p kubectl-pad -p demo -p api -p engine -p services -p http-client -p lever -p coderpad \
	  --test operator --test program --test demo --lib --bin kubectl-pad
	@echo '==> check: $(AREA)'
	@kept="$${CARGO_TARGET_DIR:-target}/debug/kept-control-plane"; \
	  if [ -e "$$kept" ]; then export CONTROL_PLANE="$$kept"; fi; \
	  cargo test --quiet --locked -p pad-operator -p kubectl-pad -p demo -p api -p engine -p services -p http-client -p lever -p coderpad \
	  --test operator --test program --lib --bin kubectl-pad -- '$(AREA)'

.PHONY: test
test: setup lint generate-check docs ## Run everything that CI runs, except e2e: setup, lint, generated files, the site, all tests.
	@echo '==> test: building and running all tests'
	cargo test --workspace --locked --no-fail-fast
	@echo '==> test: results of the crash points'
	@cat "$${CARGO_TARGET_DIR:-target}/crash-points.txt"

.PHONY: contract
contract: ## Check both simulators with `pad-operator check`, in each mode, and show the lines that change.
	@echo '==> contract: building'
	cargo test --locked --no-run -p pad-operator --test contract
	@echo '==> contract: running'
	@cargo test --quiet --locked -p pad-operator --test contract
	@sed 1,3d tests/snapshots/check-usual.snap
	@sed 1,3d tests/snapshots/check-modes.snap

.PHONY: soak
soak: control-plane ## Inject random faults for some minutes, then compare the records of both services with the cluster. SOAK_SEED=, SOAK_SECONDS=, SOAK_CANDIDATES=.
	@echo '==> soak: building'
	cargo test --locked --test operator --no-run
	@echo '==> soak: running; use the printed seed to repeat the schedule'
	@SOAK_SECONDS=$${SOAK_SECONDS:-180} SOAK_CANDIDATES=$${SOAK_CANDIDATES:-300} \
	  cargo test --quiet --locked --test operator soak::nothing_is_lost_or_duplicated -- --nocapture

.PHONY: fuzz
fuzz: control-plane ## Run the tests on random inputs with many more cases. PROPTEST_CASES=.
	@echo '==> fuzz: building'
	cargo test --locked -p pad-operator -p api -p engine -p lever -p coderpad --lib --test operator --no-run
	@echo '==> fuzz: decoders and encoders'
	@PROPTEST_CASES=$${PROPTEST_CASES:-4000} cargo test --quiet --locked -p pad-operator -p api -p engine -p lever -p coderpad --lib -- \
	  fuzz any_ titles_are --nocapture
	@echo '==> fuzz: objects through the API server'
	@PROPTEST_CASES=$${PROPTEST_CASES:-1000} cargo test --quiet --locked -p pad-operator --test operator -- \
	  hostile_specs --nocapture

.PHONY: lint
lint: $(CARGO_DENY) $(CARGO_MACHETE) $(JSCPD) ## Check format, clippy, documentation, duplicated code, language, and the licences, sources and use of the dependencies.
	@echo '==> lint: format'
	cargo fmt --all --check
	@echo '==> lint: clippy'
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@echo '==> lint: documentation'
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
	@echo '==> lint: duplicated code'
	$(JSCPD) --no-colors --no-tips
	@echo '==> lint: licences, sources and versions of the dependencies'
	$(CARGO_DENY) --locked check --hide-inclusion-graph licenses sources bans
	@echo '==> lint: unused dependencies'
	$(CARGO_MACHETE)
	@echo '==> lint: language'
	tools/prose.sh

.PHONY: prose
prose: ## Check the language of the documentation, the chart, and the comments and messages in src/ and crates/, and print the rate of warnings.
	@tools/prose.sh

.PHONY: vale
vale: ## Build the prose linter into .tools/bin.
	@tools/prose.sh --build

.PHONY: sbom
sbom: $(CARGO_CYCLONEDX) ## Write the bill of materials of the release binary, as CycloneDX, to target/sbom.
	@echo '==> sbom: target/sbom/pad-operator.cdx.json'
	@mkdir -p target/sbom
	$(CARGO_CYCLONEDX) cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target x86_64-unknown-linux-gnu \
	  --override-filename pad-operator.cdx
	@sed 's#file://$(CURDIR)#file:///pad-operator#g' pad-operator.cdx.json > target/sbom/pad-operator.cdx.json
	@rm -f pad-operator.cdx.json */pad-operator.cdx.json */*/pad-operator.cdx.json

# Builds the tool once from source, in about 2 minutes on 2 cores, with little optimization and without features that need
# the network. A tool of another version than above is replaced.
define install
	@if ! .tools/bin/$(1) $(4) --version 2>/dev/null | grep -qE '(^|[ v])$(2)( |$$)'; then \
	  echo '==> building $(1) $(2), once'; \
	  CARGO_TARGET_DIR=.tools/build CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
	  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
	    cargo install --locked --force --root .tools $(3) $(1)@$(2); \
	  rm -rf .tools/build; \
	fi
endef

.PHONY: FORCE
$(CARGO_DENY): FORCE
	$(call install,cargo-deny,$(CARGO_DENY_VERSION),--no-default-features,)
$(CARGO_MACHETE): FORCE
	$(call install,cargo-machete,$(CARGO_MACHETE_VERSION),,)
$(JSCPD): FORCE
	$(call install,jscpd,$(JSCPD_VERSION),,)
$(CARGO_CYCLONEDX): FORCE
	$(call install,cargo-cyclonedx,$(CARGO_CYCLONEDX_VERSION),,cyclonedx)
$(MDBOOK): FORCE
	$(call install,mdbook,$(MDBOOK_VERSION),--no-default-features --features search,)

.PHONY: docs
docs: $(MDBOOK) ## Build the documentation site in target/book. A warning or a broken link is an error.
	@echo '==> docs: target/book'
	@rm -rf target/book && mkdir -p target
	@$(MDBOOK) build 2>&1 | tee target/mdbook.log
	@if grep -qE 'WARN|ERROR' target/mdbook.log; then echo 'docs: mdbook printed warnings, see above' >&2; exit 1; fi
	@cargo run --quiet --locked --package documents -- check target/book

.PHONY: recording
recording: control-plane ## Record docs/demo.svg again, from a real run of the demo.
	@echo '==> recording: building'
# With the features that the tests need, so that the build of `make test` is reused.
	cargo build --workspace --locked --bins --tests
	@echo '==> recording: running'
	@built="$${CARGO_TARGET_DIR:-target}/debug" && \
	  "$$built/documents" record --shown 'make demo' "$$built/demo" > target/demo.svg && mv target/demo.svg docs/demo.svg

.PHONY: generate
generate: control-plane ## Generate crds/ and its copies from crates/api, deploy/kustomize from the chart, and some pages of docs/.
	@tools/generate.sh

.PHONY: generate-check
generate-check: control-plane ## Fail if `make generate` would change anything.
	@echo '==> generate-check: files that are generated from crates/api and the chart'
	@tools/generate.sh --check

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver, kube-controller-manager, kubectl and helm into .tools/bin, once.
	@tools/control-plane.sh

.PHONY: kstatus
kstatus: ## Build the kstatus evaluator into .tools/bin, for the tests of Flux and Argo CD.
	@echo '==> kstatus: building'
	@mkdir -p .tools/bin
	@cd tools/kstatus && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../.tools/bin/kstatus .

# Without Prometheus' service discovery, which takes most of the build time.
.PHONY: prometheus
prometheus: ## Build promtool and the dashboard evaluator into .tools/bin, for the tests of alerts and dashboard.
	@echo '==> prometheus: building (takes about 2 minutes the first time)'
	@mkdir -p .tools/bin
	@cd tools/prometheus && export CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false -tags=remove_all_sd' && \
	  go build -ldflags '-s -w' -o ../../.tools/bin/promtool github.com/prometheus/prometheus/cmd/promtool && \
	  go build -ldflags '-s -w' -o ../../.tools/bin/panels .

.PHONY: picture
picture: control-plane prometheus ## Draw docs/dashboard.svg, the dashboard over a run of some minutes. DASHBOARD_SECONDS=.
	@echo '==> picture: building'
	cargo test --locked -p pad-operator -p kubectl-pad --test operator --test program --no-run
	@echo '==> picture: running'
	@DASHBOARD_PICTURE=docs/dashboard.svg DASHBOARD_SECONDS=$${DASHBOARD_SECONDS:-180} \
	  cargo test --quiet --locked -p pad-operator -p kubectl-pad --test operator alerts::every_query_returns

.PHONY: foreign-crds
foreign-crds: ## Fetch third-party CRDs that the chart and the examples use into .tools/crds, once, for the tests.
	@tools/crds.sh

.PHONY: otlp-receiver
otlp-receiver: ## Build the OpenTelemetry Collector's OTLP receiver into .tools/bin, for the tests of traces.
	@echo '==> otlp-receiver: building'
	@mkdir -p .tools/bin
	@cd tools/otlp-receiver && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../.tools/bin/otlp-receiver .

.PHONY: image
image: ## Build the container image with buildah. IMAGE=, TAG=.
	@tools/image.sh '$(IMAGE)' '$(TAG)'

.PHONY: node
node: ## Build and install the parts of one real Kubernetes node, in addition to the control plane; needs root.
	@tools/node.sh

.PHONY: e2e
e2e: node control-plane image ## Test the image, the chart and the main job on one real Kubernetes node; needs root. IMAGE=, TAG=.
	@echo '==> e2e: building'
# With the features that the tests need, so that the build of `make test` is reused.
	cargo build --workspace --locked --bins --tests
	@echo '==> e2e: running'
	@"$${CARGO_TARGET_DIR:-target}/debug/e2e" '$(IMAGE):$(TAG)'

.PHONY: bench
bench: control-plane ## Measure against the budgets in benches/README.md. ONLY="sequential limit" runs only these scenarios.
	@echo '==> bench: building (takes some minutes the first time)'
	cargo build --release --locked -p pad-operator -p bench
	@echo '==> bench: measuring; run nothing else on this machine'
	@target/release/bench $(ONLY)
