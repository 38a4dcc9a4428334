# What can be done here? `make help` says it. Every target says what it does while it does it, and starts at once when
# there is nothing left to build.
#
# One target directory for all clones of a user: RocksDB, by far the slowest dependency, is compiled once.

.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rohas/target

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## install what the build needs and this machine lacks (by apt)
	@scripts/setup

.PHONY: build
build: setup ## build the daemon and the Python extension (development profile)
	@scripts/build

.PHONY: run
run: ## set up, build, and serve examples/hello-world with `rohas dev`
	@scripts/run

.PHONY: test
test: ## set up, build, and run every test
	@scripts/test

.PHONY: check
check: ## format, lints, documentation, generated files: everything that can be wrong without running
	@scripts/check

.PHONY: bench
bench: ## measure HTTP against FastAPI and Granian in one interleaved run
	@scripts/bench

.PHONY: fuzz
fuzz: ## the fuzzing tests for FUZZ_SECONDS each (600); `make test` runs the same ones briefly
	@scripts/fuzz

.PHONY: endurance
endurance: ## 200 reloads and 100 killed workers in a row (ROHAS_LONG=1); `make test` has short versions
	@scripts/endurance

.PHONY: crash
crash: ## the daemon and its workers killed 200 times under load, 30 s of a full disk; counts what was lost or doubled (nothing)
	@scripts/crash

.PHONY: compat
compat: ## whether projects written for the original Rohas run unchanged, item by item
	@scripts/compat

.PHONY: autobahn
autobahn: ## the Autobahn test suite against the WebSocket protocol (needs a CPython 2.7)
	@scripts/autobahn

.PHONY: clean
clean: ## remove what building and running left in this clone and in the target directory
	@scripts/clean
