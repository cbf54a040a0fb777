# Everything that can be done with this repository. `make` alone prints the list.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO_DENY_VERSION := 0.20.2
CARGO_MACHETE_VERSION := 0.9.2
JSCPD_VERSION := 5.0.12
CARGO_CYCLONEDX_VERSION := 0.5.9
MDBOOK_VERSION := 0.5.4
# A control plane that is kept is for `make check` alone.
unexport CONTROL_PLANE
# Where the image goes in the end, such as registry.example.com/pad-operator.
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
setup: control-plane kstatus prometheus otlp-receiver foreign-crds vale $(CARGO_DENY) $(CARGO_MACHETE) $(JSCPD) $(MDBOOK) ## All that tests and lint need, into .tools, once (some 20 minutes on 2 cores).
	@echo '==> setup: fetching the crates'
	cargo fetch --locked
	@echo '==> setup: ready. Next: make dev, or make test'

.PHONY: demo
demo: control-plane ## Show the main job from end to end, on simulated services. KEEP=1 keeps it up.
	@echo '==> demo: building (some minutes the first time)'
	cargo build --release --locked -p pad-operator -p demo
	@echo '==> demo: starting'
	@cargo run --quiet --release --locked -p demo

# Built as `make check` builds it, so that one build serves both.
.PHONY: dev
dev: control-plane ## Keep a control plane, the simulators and the operator up while you write code. Again, elsewhere: build and restart it.
	@echo '==> dev: building (some minutes the first time)'
	cargo test --locked --no-run -p pad-operator -p demo --test operator --test demo
	@"$${CARGO_TARGET_DIR:-target}/debug/demo" dev

.PHONY: check
check: control-plane ## The tests of one area, such as AREA=sync; in the control plane of `make dev`, if that is up.
	@test -n '$(AREA)' || { echo 'check: which area? Such as: make check AREA=sync' >&2; exit 1; }
	@echo '==> check: building'
	cargo test --locked --no-run -p pad-operator -p demo --test operator --test demo --lib
	@echo '==> check: $(AREA)'
	@kept="$${CARGO_TARGET_DIR:-target}/debug/kept-control-plane"; \
	  if [ -e "$$kept" ]; then export CONTROL_PLANE="$$kept"; fi; \
	  cargo test --quiet --locked -p pad-operator -p demo --test operator --lib -- '$(AREA)'

.PHONY: test
test: setup lint generate-check docs ## Everything CI runs: what setup builds, lint, generated files, the site, all tests.
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

.PHONY: fuzz
fuzz: control-plane ## The tests on random inputs, with many more of them. PROPTEST_CASES=.
	@echo '==> fuzz: building'
	cargo test --locked -p pad-operator --lib --test operator --no-run
	@echo '==> fuzz: what is read and written'
	@PROPTEST_CASES=$${PROPTEST_CASES:-4000} cargo test --quiet --locked -p pad-operator --lib -- \
	  fuzz:: hostile:: any_title any_note --nocapture
	@echo '==> fuzz: objects, through the API server'
	@PROPTEST_CASES=$${PROPTEST_CASES:-1000} cargo test --quiet --locked -p pad-operator --test operator -- \
	  hostile_specs --nocapture

.PHONY: lint
lint: $(CARGO_DENY) $(CARGO_MACHETE) $(JSCPD) ## Format, clippy, documentation, copied code, licences, sources and use of the dependencies.
	@echo '==> lint: format'
	cargo fmt --all --check
	@echo '==> lint: clippy'
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@echo '==> lint: documentation'
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
	@echo '==> lint: no code stands twice'
	$(JSCPD) --no-colors --no-tips
	@echo '==> lint: licences, sources and versions of the dependencies'
	$(CARGO_DENY) --locked check --hide-inclusion-graph licenses sources bans
	@echo '==> lint: no dependency is unused'
	$(CARGO_MACHETE)

.PHONY: prose
prose: ## Check the language of the documentation, the chart, and the comments and messages in src/, and print the rate of warnings.
	@tools/prose.sh

.PHONY: vale
vale: ## Build into .tools/bin the prose linter.
	@tools/prose.sh --build

.PHONY: sbom
sbom: $(CARGO_CYCLONEDX) ## The bill of materials of what is shipped, as CycloneDX, into target/sbom.
	@echo '==> sbom: target/sbom/pad-operator.cdx.json'
	@mkdir -p target/sbom
	$(CARGO_CYCLONEDX) cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target x86_64-unknown-linux-gnu \
	  --override-filename pad-operator.cdx
	@sed 's#file://$(CURDIR)#file:///pad-operator#g' pad-operator.cdx.json > target/sbom/pad-operator.cdx.json
	@rm -f pad-operator.cdx.json */pad-operator.cdx.json tools/documents/pad-operator.cdx.json

# Built once, from source, in some 2 minutes on 2 cores: little optimised, and without the parts that need the network.
# A program of another version than the one above is replaced.
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
docs: $(MDBOOK) ## Build the site of docs/ into target/book. A warning or a link that leads nowhere is an error.
	@echo '==> docs: target/book'
	@rm -rf target/book && mkdir -p target
	@$(MDBOOK) build 2>&1 | tee target/mdbook.log
	@if grep -qE 'WARN|ERROR' target/mdbook.log; then echo 'docs: mdbook warns, see above' >&2; exit 1; fi
	@cargo run --quiet --locked --package documents -- check target/book

.PHONY: recording
recording: control-plane ## Record the demonstration anew: docs/demo.svg, from a real run.
	@echo '==> recording: building'
# With the features that the tests need, so that what `make test` has built is not built again.
	cargo build --workspace --locked --bins --tests
	@echo '==> recording: running'
	@built="$${CARGO_TARGET_DIR:-target}/debug" && \
	  "$$built/documents" record --shown 'make demo' "$$built/demo" > target/demo.svg && mv target/demo.svg docs/demo.svg

.PHONY: generate
generate: control-plane ## Write crds/ and its copies from src/api, deploy/kustomize from the chart, and pages of docs/.
	@tools/generate.sh

.PHONY: generate-check
generate-check: control-plane ## Fail if `make generate` would change anything.
	@echo '==> generate-check: what is generated from src/api and the chart'
	@tools/generate.sh --check

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver, kube-controller-manager, kubectl and helm into .tools/bin, once.
	@tools/control-plane.sh

.PHONY: kstatus
kstatus: ## Build into .tools/bin what tells how Flux and Argo CD see an object; the tests ask it.
	@echo '==> kstatus: building'
	@mkdir -p .tools/bin
	@cd tools/kstatus && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../.tools/bin/kstatus .

# Without the many ways in which Prometheus finds what it scrapes: they take most of the time to build.
.PHONY: prometheus
prometheus: ## Build into .tools/bin what checks alerts and dashboard: promtool, and its engine asked of what an operator told.
	@echo '==> prometheus: building (some 2 minutes the first time)'
	@mkdir -p .tools/bin
	@cd tools/prometheus && export CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false -tags=remove_all_sd' && \
	  go build -ldflags '-s -w' -o ../../.tools/bin/promtool github.com/prometheus/prometheus/cmd/promtool && \
	  go build -ldflags '-s -w' -o ../../.tools/bin/panels .

.PHONY: picture
picture: control-plane prometheus ## Draw docs/dashboard.svg: the dashboard over a run of some minutes. DASHBOARD_SECONDS=.
	@echo '==> picture: building'
	cargo test --locked --test operator --no-run
	@echo '==> picture: running'
	@DASHBOARD_PICTURE=docs/dashboard.svg DASHBOARD_SECONDS=$${DASHBOARD_SECONDS:-180} \
	  cargo test --quiet --locked --test operator alerts::every_query_finds

.PHONY: foreign-crds
foreign-crds: ## Fetch the CRDs of others that the chart and the examples name into .tools/crds, once, for the tests.
	@tools/crds.sh

.PHONY: otlp-receiver
otlp-receiver: ## Build into .tools/bin the OpenTelemetry Collector's receiver, to which the tests send traces.
	@echo '==> otlp-receiver: building'
	@mkdir -p .tools/bin
	@cd tools/otlp-receiver && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../../.tools/bin/otlp-receiver .

.PHONY: image
image: ## Build the container image with buildah. IMAGE=, TAG=.
	@tools/image.sh '$(IMAGE)' '$(TAG)'

.PHONY: node
node: ## Build and install what one real Kubernetes node takes beside the control plane; needs root.
	@tools/node.sh

.PHONY: e2e
e2e: node control-plane image ## The image, the chart and the main job on one real Kubernetes node; needs root. IMAGE=, TAG=.
	@echo '==> e2e: building'
# With the features that the tests need, so that what `make test` has built is not built again.
	cargo build --workspace --locked --bins --tests
	@echo '==> e2e: running'
	@"$${CARGO_TARGET_DIR:-target}/debug/e2e" '$(IMAGE):$(TAG)'

.PHONY: bench
bench: control-plane ## Measure against the budgets of benches/README.md. ONLY="single limit" runs only these scenarios.
	@echo '==> bench: building (some minutes the first time)'
	cargo build --release --locked -p pad-operator -p bench
	@echo '==> bench: measuring; nothing else should run on this machine'
	@target/release/bench $(ONLY)
