# Every target with a comment behind two number signs shows up in `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# A linter of another module than the product: its dependencies stay out of go.mod.
LINT := $(GO) tool -modfile=tools/go.mod golangci-lint

# The version comes from the linker's flag, so go need not stamp it as well.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)'

# Given to the commands, for example make demo LAB="--flows 2000".
LAB ?=
TEST ?=
BENCH ?= .

# The packages that have such tests.
ALLOCATING = $(addprefix ./,$(sort $(dir $(shell grep -rlx '//go:build !race' --include='*_test.go' daemon internal lab stress conntrackwatch))))

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

# No file targets: go build knows better than timestamps what has changed.
.PHONY: build
build: ## Build bin/verdictd, bin/stress, bin/conntrackwatch and bin/lab, static
	@mkdir -p bin
	$(BUILD) -o bin/verdictd ./daemon
	$(BUILD) -o bin/ ./stress ./conntrackwatch ./lab

# Programs to compare with, and to stand behind the gate: a machine without cc or libnetfilter_queue does without them.
.PHONY: references
references: ## Build bin/nfq_reference and bin/send_reference, the C programs that the lab compares with, where that can be
	@mkdir -p bin
	@rm -f bin/nfq_reference bin/send_reference
	-$(CC) -O2 -Wall -Wextra -o bin/nfq_reference lab/reference/nfq_reference.c -lnetfilter_queue -lnfnetlink
	-$(CC) -O2 -Wall -Wextra -o bin/send_reference lab/reference/send_reference.c

.PHONY: demo
demo: build references ## See the clashes, and the guard preventing them, on this kernel; writes demo.json and demo.html
	bin/lab matrix --json demo.json --html demo.html $(LAB)

# The race detector needs cgo and a C compiler, and allocates: the tests that
# count allocations are built without it. VERDICTD_REQUIRE_KERNEL=1 in the
# environment turns what a machine without namespaces skips into failures.
PACKAGES ?= ./...
.PHONY: test
test: ## Run all tests under the race detector, those of the kernel in namespaces of their own
	CGO_ENABLED=1 $(GO) test -race $(TEST) $(PACKAGES)
	$(GO) test -run Alloc $(TEST) $(ALLOCATING)

# Other people's programs through the guard: dnsperf and knot, iperf3, hping3, ping, traceroute, mtr, conntrack, glibc's
# and Go's resolvers, wireguard-go and quic-go, and the kernel's own tests from a source that KERNEL_SOURCE names. What is
# missing fails, unless VERDICTD_OPTIONAL names it, for example make selftests VERDICTD_OPTIONAL=KERNEL_SOURCE,mtr.
# SELFTESTS is the guard's mode.
SELFTESTS ?= hold
.PHONY: selftests
selftests: ## See that other people's programs work as before behind the guard; takes minutes, and root
	VERDICTD_SELFTESTS=$(SELFTESTS) VERDICTD_OPTIONAL=$(VERDICTD_OPTIONAL) VERDICTD_REQUIRE_KERNEL=1 \
		$(GO) test -count=1 -v -timeout 30m -run '^TestSelf' $(TEST) ./daemon/internal/attacks

.PHONY: lab-check
lab-check: build ## Check the programs on Debian's kernel in QEMU: native rules, NFQA_CT, traces, modules
	bin/lab kernel check $(LAB)

# Builds two kernels at the first time, some six minutes; they stay in the cache, which bin/lab kernel doctor names.
.PHONY: lab-crash
lab-crash: build ## Show the crash on a vulnerable kernel in QEMU, gone with the fix and with the guard; writes crash.json and crash.html
	bin/lab kernel crash --json crash.json --html crash.html $(LAB)

# Where the C programs or trafgen are not there, the bounds on them are not either. LAB is for the first comparison.
.PHONY: bench
bench: build references ## Compare what packets and events cost with what they cost others, then run the benchmarks; BENCH=regexp chooses these
	bounds='mmsg+hold/mmsg<=1.05,mmsg+hold@path/mmsg@path<=1.12,mmsg+hold/gonfqueue+hold<=0.15'; \
	if [[ -x bin/nfq_reference ]]; then bounds+=',mmsg+hold/c<=0.6'; fi; \
	bin/lab bench queue --reference bin/nfq_reference --require "$$bounds" $(LAB)
	bounds='clash/udpclash>=1'; \
	if [[ -x bin/send_reference ]]; then bounds+=',flood/c>=0.9'; fi; \
	if command -v trafgen >/dev/null; then bounds+=',flood+gso/trafgen>=0.9'; fi; \
	bin/lab bench send --reference bin/send_reference --require "$$bounds"
	bounds='events/timo<=0.12'; \
	if command -v conntrack >/dev/null; then bounds+=',events/conntrack<=0.25'; fi; \
	bin/lab bench events --require "$$bounds"
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: generate
generate: ## Compile the BPF object again; needs clang and llvm-strip
	$(GO) generate ./conntrackwatch/internal/trace

.PHONY: drawing
drawing: ## Print which package imports which
	@$(GO) test -count=1 -run '^TestDrawing$$' -v ./internal/structure

.PHONY: lint
lint: ## Run golangci-lint; compiled at the first time, which takes minutes
	$(LINT) run

.PHONY: fmt
fmt: ## Format all Go files
	$(LINT) fmt

.PHONY: check-format
check-format: ## Fail where a Go file is not formatted
	@unformatted="$$(gofmt -l .)"; \
	if [[ -n "$$unformatted" ]]; then echo "not formatted; run make fmt:"; echo "$$unformatted"; exit 1; fi

.PHONY: check-tidy
check-tidy: ## Fail where go.mod and go.sum are not what the imports ask for
	$(GO) mod tidy -diff
	$(GO) -C tools mod tidy -diff
	$(GO) -C tools/selftests mod tidy -diff

.PHONY: clean
clean: ## Remove what build, demo and lab-crash made
	rm -rf bin demo.json demo.html crash.json crash.html
