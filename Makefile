# Everything here needs node, npm and make, and nothing else: Bun is brought by npm into .tools, PostgreSQL is the one
# found on the machine or, where there is none, one from npm. No root, no writable HOME.

BUN_VERSION := 1.4.5
TOOLS := $(CURDIR)/.tools
BUN := $(TOOLS)/node_modules/bun/bin/bun.exe
BUN_STAMP := $(TOOLS)/bun-$(BUN_VERSION).stamp
PACKAGES_STAMP := node_modules/.packages.stamp

VERSION = $(shell sed -n 's/^  "version": "\(.*\)",$$/\1/p' package.json)
COMMIT = $(shell git describe --always --abbrev=12 --dirty 2>/dev/null || echo unknown)

# Caches lie in .tools, so that a HOME that cannot be written is no trouble.
export npm_config_cache := $(TOOLS)/npm-cache
export npm_config_update_notifier := false
export BUN_INSTALL_CACHE_DIR := $(TOOLS)/bun-cache
# The e2e tests and the benchmark run the compiled binary, never the sources. (Not GUACAMOLE_…: a member refuses
# variables of that name which it does not know.)
export TESTED_BINARY := $(CURDIR)/dist/guacamole

RUN_TOOL := $(BUN) --bun node_modules/.bin
# Biome colours a pipe, too.
BIOME := $(RUN_TOOL)/biome
BIOME_FLAGS := --error-on-warnings $(if $(MAKE_TERMOUT),,--colors=off)
RUN_TESTS := $(BUN) test/support/run-tests.ts
QUICK_TESTS := test/tidy test/unit test/transcripts test/scenarios
SEEDS ?= 100
# How many seeds `make check` and `make test` simulate.
CHECK_SEEDS := 20
TEST_SEEDS := 500
# How many histories of whole clusters make test simulates; an eighth as many more of each theme (over 1,000 together).
TEST_CLUSTER_SEEDS := 720
# Neither waits for anything but its processor: beside each other.
SIMULATIONS := test/simulation/raft+test/simulation/control-plane
# They wait for other processes most of the time: beside each other they take two thirds as long.
REAL_TESTS := test/e2e+test/postgres,test/faults

BUILDER ?= $(firstword $(shell for tool in buildah podman docker; do command -v $$tool; done))
BASE_IMAGE ?= debian:bookworm-slim
POSTGRES_IMAGE ?= postgres:18
IMAGE ?= guacamole:$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help setup demo check static format test simulate simulate-long faults record bench bench-failover bench-api build image clean distclean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-20s %s\n", $$1, $$2 }'

setup: $(PACKAGES_STAMP) ## Bring the pinned Bun and the packages (done by the others when needed)

$(BUN_STAMP):
	@command -v npm >/dev/null || { echo "make: npm is missing; install node and npm (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	@echo "setup: Bun $(BUN_VERSION) from npm"
	@mkdir -p $(TOOLS)
	@npm install --prefix $(TOOLS) --no-save --no-audit --no-fund --ignore-scripts --loglevel=error bun@$(BUN_VERSION)
	@cd $(TOOLS)/node_modules/bun && node install.js
	@test "$$($(BUN) --version)" = $(BUN_VERSION)
	@touch $@

$(PACKAGES_STAMP): $(BUN_STAMP) package.json bun.lock
	@echo "setup: packages as in bun.lock"
	@$(BUN) install --frozen-lockfile
	@touch $@

demo: build ## Three members here, two failures, every acknowledged row checked (ARGS=--keep leaves it running)
	@bin_dir="$$($(BUN) test/support/find-postgres.ts)" && empty="$$(mktemp -d)" && chmod 755 "$$empty" && cd "$$empty" && \
	  { trap 'cd / && rmdir "$$empty"' EXIT; trap 'exit 130' INT TERM; $(CURDIR)/dist/guacamole demo --bin-dir "$$bin_dir" $(ARGS); }

check: static ## Before each commit: form, types, dead code, unit, scenarios, a short simulation (under a minute)
	@SEEDS=$(CHECK_SEEDS) $(RUN_TESTS) $(QUICK_TESTS) $(SIMULATIONS)

static: setup
	@echo "check: format and lint"
	@$(BIOME) ci $(BIOME_FLAGS) .
	@echo "check: types"
	@$(RUN_TOOL)/tsc
	@echo "check: unused files, exports and packages"
	@$(RUN_TOOL)/knip --no-progress

format: setup ## Format and sort imports, and mend what the linter can mend safely
	@$(BIOME) check --write $(BIOME_FLAGS) .

test: static build ## Everything, on real PostgreSQL too (15 if installed, 17 and 18 from npm; under 15 minutes)
	@echo "test: PostgreSQL for the tests"
	@$(BUN) test/support/find-postgres.ts --all
	@SEEDS=$(TEST_SEEDS) CLUSTER_SEEDS=$(TEST_CLUSTER_SEEDS) $(RUN_TESTS) $(QUICK_TESTS) $(SIMULATIONS) $(REAL_TESTS)

simulate: setup ## Many simulated clusters: SEEDS=1000, or one again: SEED=42
	@SEEDS=$(SEEDS) $(if $(SEED),SEED=$(SEED)) $(RUN_TESTS) $(SIMULATIONS)

simulate-long: setup ## Simulated groups of Raft (ARGS=cluster: whole clusters) without end, until one breaks a promise
	@$(BUN) test/simulation/$(if $(filter cluster,$(ARGS)),control-plane,raft)/run-simulation.ts $(filter-out cluster,$(ARGS))

faults: build ## Faults on real hosts (network namespaces, root): none may lose anything (ARGS="--repeat 10", --help)
	@$(BUN) test/support/find-postgres.ts >/dev/null
	@$(BUN) test/faults/run-faults.ts $(ARGS)

record: setup ## Write the outcome of transcripts and scenarios anew (read the diff before you commit it)
	@RECORD=1 $(RUN_TESTS) test/transcripts test/scenarios

bench: build ## Consensus beside etcd, and what an idle cluster costs: ratios of one run (ARGS=--help)
	@TESTED_POSTGRES_BIN_DIR="$$($(BUN) test/support/find-postgres.ts)" $(BUN) test/bench/bench.ts $(ARGS)

bench-failover: build ## Gaps after each failure: us, Patroni with etcd, pg_auto_failover, bare PostgreSQL (as root; ARGS=--help)
	@TESTED_POSTGRES_BIN_DIR="$$($(BUN) test/support/find-postgres.ts)" $(BUN) test/bench/bench-failover.ts $(ARGS)

bench-api: build ## How fast the API answers, beside Patroni's, in one run (as root; ARGS=--help)
	@TESTED_POSTGRES_BIN_DIR="$$($(BUN) test/support/find-postgres.ts)" $(BUN) test/bench/bench-api.ts $(ARGS)

build: setup ## Compile the one executable, dist/guacamole
	@echo "build: dist/guacamole $(VERSION) ($(COMMIT))"
	@mkdir -p dist
	@$(BUN) build --compile --minify-syntax --minify-whitespace --bytecode --format=esm --splitting --sourcemap \
	  --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
	  --define GUACAMOLE_VERSION='"$(VERSION)"' --define GUACAMOLE_COMMIT='"$(COMMIT)"' \
	  src/main/main.ts src/main/raft-worker.ts --outfile dist/guacamole

image: build ## Container images: the sidecar, and PostgreSQL with our supervisor (BASE_IMAGE, POSTGRES_IMAGE, BUILDER)
	@test -n "$(BUILDER)" || { echo "make image: none of buildah, podman, docker is here; install one" >&2; exit 1; }
	@echo "image: $(IMAGE)-sidecar on $(BASE_IMAGE), by $(BUILDER)"
	@$(BUILDER) build $(BUILDER_ARGS) -f Containerfile --target sidecar --build-arg BASE_IMAGE=$(BASE_IMAGE) \
	  --build-arg VERSION=$(VERSION) -t $(IMAGE)-sidecar dist
	@echo "image: $(IMAGE)-postgres on $(POSTGRES_IMAGE), by $(BUILDER)"
	@$(BUILDER) build $(BUILDER_ARGS) -f Containerfile --target postgres --build-arg POSTGRES_IMAGE=$(POSTGRES_IMAGE) \
	  --build-arg VERSION=$(VERSION) -t $(IMAGE)-postgres dist

clean: ## Remove what was built (distclean: what was downloaded too)
	@rm -rf dist coverage

distclean: clean
	@rm -rf node_modules .tools
