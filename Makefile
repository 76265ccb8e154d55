# Everything that is done with this repository, from a first build to the benchmark. `make help` lists it.
#
# Nothing but bin/ is written into the tree: tools and engines that the tests drive are installed, pinned, below CACHE.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

GO      ?= go
PYTHON  ?= python3
MVN     ?= mvn
JAVA    ?= java
CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hupsert
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

LINT_VERSION := v2.15.0
LINT         := $(CACHE)/golangci-lint-$(LINT_VERSION)/golangci-lint
hash          = $(shell cat $(1) | sha256sum | cut -c1-12)
VENV         := $(CACHE)/venv-$(call hash,testdata/requirements.txt)
AIRFLOW      := $(CACHE)/airflow-$(call hash,testdata/airflow/requirements.txt)
CHARTS       := $(CACHE)/venv-$(call hash,testdata/bench/requirements.txt)
SPARK        := $(CACHE)/spark-$(call hash,testdata/spark/pom.xml)/java.args
SERVICES     := $(CACHE)/services-$(call hash,$(shell find testdata/services testdata/spark/pom.xml -name '*.java' -o -name '*.xml' -o -name '*.properties' | sort) testdata/engines.sh)

# Engines are asked for once, here; the Go tests learn from the environment what there is (internal/enginetest).
export HUPSERT_PYTHON = $(if $(wildcard $(VENV)/ready),$(VENV)/bin/python)
export HUPSERT_AIRFLOW = $(if $(wildcard $(AIRFLOW)/ready),$(AIRFLOW)/bin/python)
export HUPSERT_SPARK  = $(wildcard $(SPARK))
export HUPSERT_SERVICES = $(if $(wildcard $(SERVICES)/ready),$(SERVICES))
export JAVA

# Parquet files of other projects' test suites, beside the checkout.
CORPUS ?= ../shared/corpus
export HUPSERT_PARQUET_TESTING = $(abspath $(wildcard $(CORPUS)/parquet-testing))
export HUPSERT_PARQUET_CORPUS  = $(abspath $(wildcard $(CORPUS)/parquet-testing/data))

# In CI all engines must be there, and the race detector runs; a person's run skips what is missing and says so.
ifneq ($(filter-out false 0,$(CI)),)
  HUPSERT_REQUIRE ?= all
endif
export HUPSERT_REQUIRE
ifeq ($(HUPSERT_REQUIRE),all)
  RACE := -race
endif

TESTFLAGS ?=
TESTTIME  ?= 40m
DEMO      ?= demo
SCALE     ?= 2
ROUNDS    ?= 3
CASES     ?=
TOOLS     ?=
VARIANT   ?=
BENCHFLAGS ?=
FUZZTIME  ?= 10s
MARATHON  ?= 20000

.PHONY: help build demo services test lint bench bench-report bench-hdfs marathon fuzz-short engines clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | column -t -s '|'

build: ## bin/hupsert: static, without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/hupsert ./cmd/hupsert

demo: build ## a table, a day of changes, a merge, a rollback, in ./demo
	@if [ -e $(DEMO) ]; then echo "$(DEMO) is there from an earlier run; remove it or say DEMO=another"; exit 1; fi
	bin/hupsert demo $(DEMO)

services: build engines ## an HDFS and a Hive Metastore with the demo's table, until Ctrl-C
	@$(MAKE) go-services

# The shell gives way to the program, so that it gets the signals.
.PHONY: go-services
go-services:
	@[ -n "$$HUPSERT_SERVICES" ] || { echo "HDFS and the Hive Metastore need a JDK 17, Maven, and its repository"; exit 1; }
	@$(GO) build -o bin/services ./internal/services
	@exec bin/services -binary bin/hupsert

test: build engines ## vet, lint, all tests, HUPSERT_RANDOM_CASES=10000; engines where they can be had (all required in CI or with HUPSERT_REQUIRE=all)
	$(GO) vet ./...
	$(MAKE) lint
	$(MAKE) go-test

# A second make, so that HUPSERT_PYTHON and HUPSERT_SPARK see what `engines` has just installed.
.PHONY: go-test
go-test:
	HUPSERT_BINARY=$(CURDIR)/bin/hupsert testdata/gotest.sh $(GO) test $(RACE) -timeout $(TESTTIME) $(TESTFLAGS) ./...

lint: $(LINT) ## golangci-lint, each linter with its reason in .golangci.yml
	$(LINT) run --allow-parallel-runners ./...

bench: build engines ## side by side with other tools on TPC-H lineitem; SCALE=0.1 for a short trial (2: 12 million rows), VARIANT=all for other tables
	@$(MAKE) go-bench

# Built first: the figures of a child begin with the size of its parent. BENCHFLAGS=-data makes the data only.
.PHONY: go-bench
go-bench:
	@$(GO) build -o bin/benchmark ./internal/benchmark
	@bin/benchmark -binary bin/hupsert -cache $(CACHE)/bench -scale $(SCALE) -rounds $(ROUNDS) -variants '$(VARIANT)' -cases '$(CASES)' -tools '$(TOOLS)' $(BENCHFLAGS)

bench-report: $(CHARTS)/ready ## the tables of what `make bench` has measured at SCALE once more, and docs/benchmarks.svg
	@$(GO) build -o bin/benchmark ./internal/benchmark
	@bin/benchmark -report -cache $(CACHE)/bench -scale $(SCALE)
	@$(CHARTS)/bin/python testdata/bench/chart.py $(CACHE)/bench/results.json $(SCALE) docs/benchmarks.svg

$(CHARTS)/ready:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r testdata/bench/requirements.txt
	touch $@

bench-hdfs: build engines ## on an HDFS and a Hive Metastore of its own, beside a copy and Spark; SCALE=5 is 1 GB
	@$(MAKE) go-bench-hdfs

.PHONY: go-bench-hdfs
go-bench-hdfs: SCALE := $(if $(filter file,$(origin SCALE)),5,$(SCALE))
go-bench-hdfs:
	@$(GO) build -o bin/benchmark ./internal/benchmark
	@bin/benchmark -hdfs -binary bin/hupsert -cache $(CACHE)/bench -scale $(SCALE) -rounds $(ROUNDS) -cases '$(CASES)' -tools '$(TOOLS)'

marathon: build engines ## the tests with many more random cases: MARATHON=20000
	@$(MAKE) go-marathon

# -rapid.checks is known only to the packages that use rapid.
.PHONY: go-marathon
go-marathon: export HUPSERT_CASES = $(MARATHON)
go-marathon: export HUPSERT_MATRIX = 2
go-marathon: export HUPSERT_SEED ?= $(shell date +%s)
go-marathon:
	$(GO) test -timeout 12h -rapid.checks=$(MARATHON) $$(grep -rl --include='*_test.go' pgregory.net/rapid . | xargs -n1 dirname | sort -u)
	$(GO) test -timeout 12h -v -run TestRandomMerges ./merge -cases $(MARATHON) -seed $(HUPSERT_SEED)
	$(GO) test -timeout 12h -v -run TestRandomUpserts ./partition -cases $(MARATHON) -seed $(HUPSERT_SEED)
	$(GO) test -timeout 12h -v ./storage/swap -every -disks 20 -simulate 10m
	$(GO) test -timeout 12h -v -run 'TestCrash|TestFaultsOf' ./partition -crash-disks 20 -crash-budget 1h
	$(GO) test -timeout 12h -v ./internal/disktest -every -seed $(HUPSERT_SEED)
	$(GO) test -timeout 12h -v -run TestNothingLeaks ./partition -leak-runs 1000
	HUPSERT_BINARY=$(CURDIR)/bin/hupsert $(GO) test -timeout 12h -v ./internal/binarytest
	HUPSERT_BINARY=$(CURDIR)/bin/hupsert $(GO) test -timeout 12h -v -run 'TestRandomUpserts|TestRandomDiffs|TestMatrix' ./internal/enginetest
	HUPSERT_BINARY=$(CURDIR)/bin/hupsert $(GO) test -timeout 12h -v ./internal/hadooptest -kills 300 -jvm-kills 30 -long
	$(GO) test -timeout 12h -v -run OnHadoop ./partition -hadoop-budget 2h
	HUPSERT_DAMAGE_MUTATIONS=100000 $(GO) test -timeout 12h -v ./internal/damagetest
	$(GO) test -timeout 12h -v ./internal/writertest -budget 10m -seed $(HUPSERT_SEED)

fuzz-short: ## each fuzz target for FUZZTIME
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
	  grep -rhoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6- | sort -u | while read -r target; do \
	    echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$dir; \
	  done; \
	done

engines: ## Python engines, Airflow, Spark, HDFS and the Hive Metastore, pinned, into the cache; as root on Debian, strace, mkfs.xfs, Chromium and systemd-analyze
	@testdata/engines.sh '$(VENV)' '$(AIRFLOW)' '$(SPARK)' '$(SERVICES)' '$(PYTHON)' '$(MVN)' '$(JAVA)'

$(LINT):
	mkdir -p $(@D)
	cd $(@D) && GOBIN=$(@D) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

clean: ## what was built here; the cache stays
	rm -rf bin demo
