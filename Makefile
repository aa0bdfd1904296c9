# The only door. `make` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CARGO_INCREMENTAL := 0
CACHE := $(or $(BELAY_CACHE),$(HOME)/.cache/belay)
TOOLS := $(CACHE)/tools-$(shell sha256sum scripts/pins.env | cut -c1-12)
export PATH := $(PATH):$(TOOLS)/bin
# Tests leave nothing outside of this folder.
export TMPDIR := $(CURDIR)/target/tmp
$(shell mkdir -p target/tmp)
export BELAY_COMMIT ?= $(shell git rev-parse --short HEAD 2>/dev/null)
ARGS ?=

.PHONY: help up cluster build build-tests web types bootstrap bench measure pairs revoke picture test test-all compat compat-cluster cluster-suites remote-control-compat conformance chaos chaos-cluster skew sim model check check-rust check-web check-deploy test-rust test-web e2e docs fuzz clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: build ## Run relay and desktop side here; ARGS="--lan" lets phones on the network in
	@exec target/debug/belay up $(ARGS)

cluster: build ## Run a cluster here: Redis, NATS, PostgreSQL, relays and a balancer; ARGS="--relays 5"
	@scripts/bootstrap cluster
	@exec target/debug/belay cluster-dev $(ARGS)

build: web ## Build the binary with its page
	@cargo build --locked -p belay

# All targets at once, so that the tests and the binary that they start share one set of features.
build-tests: web
	@cargo build --locked --workspace --all-features --all-targets

web: web/dist/index.html

web/dist/index.html: $(shell find web/sdk web/remote web/public web/index.html web/vite.config.ts web/package-lock.json -type f)
	@scripts/bootstrap build
	@cd web && npm run --silent build

types: ## Write what is made from the code: TypeScript types, the configuration page
	@BELAY_BLESS=1 cargo test -q --locked -p belay-wire --test typescript the_
	@BELAY_BLESS=1 cargo test -q --locked -p belay --test documents the_configuration

bootstrap: ## Install what is missing for the tests
	@scripts/bootstrap test

test: bootstrap web ## What CI runs: checks, Rust tests, page tests, the browser journeys
	@started=$$(date +%s); $(MAKE) --no-print-directory check test-rust conformance test-web e2e; \
	seconds=$$(( $$(date +%s) - started )); mkdir -p target/reports; \
	printf '{"commit":"%s","started":"%s","seconds":%s}\n' "$(BELAY_COMMIT)" "$$(date -u -d @$$started +%FT%TZ)" $$seconds > target/reports/test.json; \
	echo "all of it passed in $$seconds s, without what bootstrap installed"

test-all: test ## Everything an issue must show before it closes
	@$(MAKE) --no-print-directory revoke cluster-suites skew docs fuzz
	@OSS_SMOKE_SKIP_REMOTE_CONTROL_COMPAT=1 scripts/oss-smoke.sh | grep SKIPPED
	@COMPAT_SESSIONS=100000 COMPAT_REVOKES=1000 COMPAT_UNKNOWN_IDS=1000000 scripts/oss-smoke.sh

check: check-rust check-web check-deploy ## Format, lints, spelling, dependencies, what deploy/ holds

check-rust: web
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets --all-features --quiet -- -D warnings
	@scripts/check-deps
	@typos --config typos.toml

check-web:
	@cd web && npm run --silent check && npm run --silent lint

check-deploy:
	@$(TOOLS)/bin/python scripts/check-deploy

test-rust: build-tests
	@cargo nextest run --locked --workspace --all-features --no-fail-fast --status-level fail --final-status-level fail

test-web:
	@cd web && npm run --silent test

e2e: build-tests
	@rm -f target/reports/journey.json
	@cd web && node --test --test-concurrency=1 --test-timeout=300000 e2e/*.test.mjs

compat: build-tests ## The suite of the protocol of existing clients, alone, and what it found
	@rm -f target/reports/compat*.json
	@cargo nextest run --locked --workspace --all-features -E 'binary(compat)' --no-fail-fast --status-level fail --final-status-level fail
	@scripts/compat-report

compat-cluster: build-tests bootstrap ## The same over three relays, each request and socket at a random one
	@cargo nextest run --locked --workspace --all-features -E 'test(every_scenario_that_is_not_about_one_node)' --status-level fail --final-status-level fail

cluster-suites: build-tests bootstrap compat-cluster ## The black-box tests and the browser's journeys over three relays, too, each request and socket at a random one
	@BELAY_TEST_NODES=3 cargo nextest run --locked --workspace --all-features --no-fail-fast --status-level fail --final-status-level fail \
		-E 'package(belay-relay) & binary(it) & test(/^(journey|pairing|bad_input|bad_frames|compat)::/)'
	@rm -f target/reports/journey-cluster.json
	@cd web && E2E_CLUSTER=1 node --test --test-concurrency=1 --test-timeout=400000 e2e/{demo,outbox,journey,disk,drain}.test.mjs

conformance: build-tests bootstrap ## The websocket conformance suite, against our frame codec as server and as client
	@$(TOOLS)/bin/python scripts/conformance.py target/debug/examples/echo target/reports/conformance.json

chaos: build-tests ## Faults under load against real processes; CHAOS_FAULTS, CHAOS_MESSAGES, CHAOS_SEED, HOURS
	@CHAOS_FAULTS=$${CHAOS_FAULTS:-200} CHAOS_MESSAGES=$${CHAOS_MESSAGES:-100000} \
		cargo nextest run --locked --workspace --all-features --no-capture -E 'package(belay-chaos) - binary(chaos_cluster)'

chaos-cluster: build-tests bootstrap ## The same against relays, brokers, Redis and Sentinels; also CHAOS_KINDS
	@CHAOS_FAULTS=$${CHAOS_FAULTS:-100} CHAOS_MESSAGES=$${CHAOS_MESSAGES:-100000} \
		cargo nextest run --locked --workspace --all-features --no-capture -E 'binary(chaos_cluster)'

SKEW_KINDS := drain_relay,scale,kill_relay,storm,revoke,pair
skew: build-tests bootstrap ## A cluster of this build and the previous one, which replace each other under load and faults
	@previous=$$(scripts/previous-build) && CHAOS_PREVIOUS=$$previous CHAOS_KINDS=$${CHAOS_KINDS:-$(SKEW_KINDS)} \
		CHAOS_FAULTS=$${CHAOS_FAULTS:-12} CHAOS_MESSAGES=$${CHAOS_MESSAGES:-12000} \
		cargo nextest run --locked --workspace --all-features --no-capture -E 'binary(chaos_cluster)'

SIM_SCHEDULES ?= 100000
NETSIM_SEEDS ?= 2000
sim: ## Play SIM_SCHEDULES schedules of delivery under faults, and NETSIM_SEEDS on a simulated network
	@SIM_SCHEDULES=$(SIM_SCHEDULES) cargo test --locked -q -p belay-sim --test sim
	@NETSIM_SEEDS=$(NETSIM_SEEDS) cargo test --locked -q -p belay-netsim --test netsim

MODEL_SECONDS ?= 200
model: ## Play all schedules of small worlds with one fault more, for up to MODEL_SECONDS
	@MODEL_SECONDS=$(MODEL_SECONDS) cargo test --locked -q -p belay-sim --test model -- --nocapture

remote-control-compat: compat ## The same, under its older name

bench: $(if $(filter pairs revoke,$(ARGS)),$(ARGS),measure) ## Measure memory per socket, round trips and what storing costs, optimised build; ARGS=v1, compat, stored, pairs or revoke for one part

measure: web
	@cargo build --locked --release -p belay
	@cargo run --locked --release -q -p belay-relay --example measure -- target/release/belay $(ARGS)

pairs: web ## Measure PAIRS pairs of sockets over RELAYS relays (REPLICAS=3: three brokers), optimised build; EVERY_MS, TALK_S, IDLE_S, BESIDE_S
	@cargo build --locked --release -p belay -p belay-load
	@target/release/belay-load pairs --binary target/release/belay $(filter-out pairs,$(ARGS))

revoke: ## Remove REVOKES devices at a node where they are not connected, with the bus and without
	@REVOKES=$${REVOKES:-100} cargo nextest run --locked --workspace --all-features --no-capture -E 'binary(it) & test(a_removed_device)'

picture: build bootstrap ## Take the picture of the README anew
	@cd web && node e2e/picture.mjs

FUZZ_SECONDS ?= 60
fuzz: ## Fuzz each decoder for FUZZ_SECONDS; findings stay in fuzz/artifacts
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@cd fuzz && for target in frame binary payload token text compat conversation frames; do mkdir -p grown/$$target; RUSTC_BOOTSTRAP=1 cargo fuzz run $$target grown/$$target corpus/$$target -- -max_total_time=$(FUZZ_SECONDS); done

docs: bootstrap ## Build the documentation, strictly
	@NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir target/site

clean: ## Remove what was built
	@rm -rf target web/dist web/node_modules
