# Every target with a comment behind two number signs shows up in `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
# From the last tag, such as v0.2.0 or, three commits later, v0.2.0-3-g1234567.
VERSION ?= $(shell git describe --tags --always --dirty --match 'v[0-9]*' 2>/dev/null || echo devel)

# The same for packages, where a hyphen has a meaning of its own and later is what sorts later: 0.2.0, 0.2.0+3.g1234567.
# Without a tag it is before all of them.
RELEASE = $(shell sed -E 's/^v([0-9])/\1/; s/-([0-9]+)-g/+\1.g/; s/-dirty$$/.dirty/; /^[0-9]+\.[0-9]/!s/^/0~git./; s/-/~/g' <<<'$(VERSION)')

# Files in packages bear the time of the last commit, so that the same source makes the same bytes.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH

# For make install.
prefix ?= /usr/local
sysconfdir ?= /etc
DESTDIR ?=

# Where packages and what they are made of are written.
DIST ?= dist
export DIST

# A linter of another module than the product: its dependencies stay out of go.mod.
LINT := $(GO) tool -modfile=tools/go.mod golangci-lint

# What makes packages, likewise.
NFPM := $(GO) tool -modfile=tools/release/go.mod nfpm

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
references: ## Build bin/nfq_reference, bin/nfq_floor and bin/send_reference, the C programs that the lab compares with, where that can be
	@mkdir -p bin
	@rm -f bin/nfq_reference bin/nfq_floor bin/send_reference
	-$(CC) -O2 -Wall -Wextra -o bin/nfq_reference lab/reference/nfq_reference.c -lnetfilter_queue -lnfnetlink
	-$(CC) -O2 -Wall -Wextra -o bin/nfq_floor lab/reference/nfq_floor.c
	-$(CC) -O2 -Wall -Wextra -o bin/send_reference lab/reference/send_reference.c

.PHONY: demo
demo: build references ## See the clashes, and the guard preventing them, on this kernel; writes demo.json and demo.html
	bin/lab matrix --json demo.json --html demo.html $(LAB)

# The race detector needs cgo and a C compiler, and allocates: the tests that
# count allocations or instructions are built without it. It has each program sleep for a second
# as it exits, and there are hundreds, as tests start themselves as children.
# VERDICTD_REQUIRE_KERNEL=1 in the environment turns what a machine without
# namespaces skips into failures. Allocations and instructions are those of what is shipped, so they are counted in what
# the profile made of it: one that fits the code no more has more instructions.
PACKAGES ?= ./...
.PHONY: test
test: ## Run all tests under the race detector, those of the kernel in namespaces of their own
	GORACE="atexit_sleep_ms=0 $${GORACE:-}" CGO_ENABLED=1 $(GO) test -race -pgo=off -timeout 30m $(TEST) $(PACKAGES)
	$(if $(ALLOCATING),$(GO) test -pgo=$(PROFILE) -run 'Alloc|Instructions' $(TEST) $(ALLOCATING))

.PHONY: instructions
instructions: ## Write down how many instructions a packet takes, which the tests hold; for a change that is worth it
	VERDICTD_WRITE_INSTRUCTIONS=1 $(GO) test -pgo=$(PROFILE) -count=1 -run TestInstructions ./daemon/internal/engine

# What go build tells the compiler of bin/verdictd: the ways that packets take, as benchmarks walk them without a kernel.
PROFILE := $(CURDIR)/daemon/default.pgo
PROFILED = Batch:internal/nfq Handle/accept:daemon/internal/engine Handle/drop$$:daemon/internal/engine \
	Decide/rules=100$$:daemon/internal/policy Find:daemon/internal/sets Table:daemon/internal/gate Key:internal/packet \
	Fingerprint:internal/packet Packets:daemon/internal/names/flows
.PHONY: profile
profile: ## Write daemon/default.pgo again, by which bin/verdictd is compiled; when a packet's way has changed
	@rm -rf bin/profile; mkdir -p bin/profile
	n=0; for b in $(PROFILED); do n=$$((n+1)); \
		$(GO) test -pgo=off -trimpath -run '^$$' -bench "^Benchmark$${b%%:*}" -benchtime 3s \
			-o bin/profile/test -cpuprofile bin/profile/$$n.pprof "./$${b#*:}"; done
	$(GO) tool pprof -proto -symbolize=none -output $(PROFILE) bin/profile/*.pprof

# Other people's programs through the guard: dnsperf and knot, iperf3, hping3, ping, traceroute, mtr, conntrack, glibc's
# and Go's resolvers, wireguard-go and quic-go, Suricata before its own queues, and the kernel's own tests from a source that KERNEL_SOURCE names. What is
# missing fails, unless VERDICTD_OPTIONAL names it, for example make selftests VERDICTD_OPTIONAL=KERNEL_SOURCE,mtr.
# SELFTESTS is the guard's mode.
SELFTESTS ?= hold
.PHONY: selftests
selftests: ## See that other people's programs work as before behind the guard; takes minutes, and root
	VERDICTD_SELFTESTS=$(SELFTESTS) VERDICTD_OPTIONAL=$(VERDICTD_OPTIONAL) VERDICTD_REQUIRE_KERNEL=1 \
		$(GO) test -count=1 -v -timeout 30m -run '^TestSelf' $(TEST) ./daemon/internal/attacks ./daemon/internal/names/quic \
		./daemon/internal/language

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

# Pages and completions are made of what the programs say of themselves.
.PHONY: manual
manual: build ## Write manual pages and shell completions to dist/manual
	@rm -rf $(DIST)/manual
	$(GO) -C tools/release run ./manual -out $(abspath $(DIST))/manual -version '$(RELEASE)' -date "$$(date -u -d @$(SOURCE_DATE_EPOCH) +%F)" \
		-config $(CURDIR)/configs/verdictd.yaml $(addprefix $(CURDIR)/bin/,verdictd conntrackwatch stress lab)

# Programs of a package with their pages and completions. Usage: $(call install_programs,NAMES)
define install_programs
	install -d $(addprefix $(DESTDIR)$(prefix)/,bin share/man/man1 share/man/man8 share/bash-completion/completions share/zsh/vendor-completions share/fish/vendor_completions.d)
	for p in $(1); do \
		install -m 755 "bin/$$p" "$(DESTDIR)$(prefix)/bin/$$p"; \
		for page in $(DIST)/manual/man[18]/"$$p".[18]; do \
			gzip -9nc "$$page" >"$(DESTDIR)$(prefix)/share/man/man$${page##*.}/$${page##*/}.gz"; done; \
		install -m 644 "$(DIST)/manual/bash/$$p" "$(DESTDIR)$(prefix)/share/bash-completion/completions/$$p"; \
		install -m 644 "$(DIST)/manual/zsh/_$$p" "$(DESTDIR)$(prefix)/share/zsh/vendor-completions/_$$p"; \
		install -m 644 "$(DIST)/manual/fish/$$p.fish" "$(DESTDIR)$(prefix)/share/fish/vendor_completions.d/$$p.fish"; \
	done
	rmdir --ignore-fail-on-non-empty $(addprefix $(DESTDIR)$(prefix)/share/man/,man1 man8)
endef

.PHONY: install
install: install-service install-lab ## Install all of it below DESTDIR and prefix (/usr/local); starts nothing

# Documents lie to each other as in the source, so that their links lead.
.PHONY: install-service
install-service: manual ## Install verdictd and conntrackwatch, units, configuration and documents
	$(call install_programs,verdictd conntrackwatch)
	install -d $(addprefix $(DESTDIR)$(prefix)/,lib/systemd/system lib/modules-load.d lib/sysctl.d share/man/man5 share/doc/verdictd) $(DESTDIR)$(sysconfdir)/verdictd
	gzip -9nc $(DIST)/manual/man5/verdictd.yaml.5 >$(DESTDIR)$(prefix)/share/man/man5/verdictd.yaml.5.gz
	for unit in systemd/*.service; do \
		sed -e 's|/usr/bin/|$(prefix)/bin/|g; s|/usr/share/doc|$(prefix)/share/doc|g; s|/etc/verdictd|$(sysconfdir)/verdictd|g' "$$unit" \
			>"$(DESTDIR)$(prefix)/lib/systemd/system/$${unit##*/}"; done
	install -m 644 configs/modules-load.d/verdictd.conf $(DESTDIR)$(prefix)/lib/modules-load.d/verdictd.conf
	install -m 644 configs/sysctl.d/90-verdictd.conf $(DESTDIR)$(prefix)/lib/sysctl.d/90-verdictd.conf
	test -e $(DESTDIR)$(sysconfdir)/verdictd/verdictd.yaml || install -m 640 configs/verdictd.yaml $(DESTDIR)$(sysconfdir)/verdictd/verdictd.yaml
	cp -r README.md CHANGELOG.md docs configs $(DESTDIR)$(prefix)/share/doc/verdictd/
	install -m 644 LICENSE $(DESTDIR)$(prefix)/share/doc/verdictd/copyright
	chmod -R u=rwX,go=rX $(DESTDIR)$(prefix)/share/doc/verdictd

.PHONY: install-lab
install-lab: manual ## Install stress and lab
	$(call install_programs,stress lab)
	install -d $(DESTDIR)$(prefix)/share/doc/verdictd-lab
	install -m 644 LICENSE $(DESTDIR)$(prefix)/share/doc/verdictd-lab/copyright

# The folders that the packages are made of are listed by what make install puts there.
GOARCH ?= $(shell $(GO) env GOARCH)
export GOARCH
PACKAGES_MADE ?= verdictd lab
PACKAGERS ?= deb rpm
.PHONY: package
package: ## Make .deb and .rpm of verdictd and of verdictd-lab in dist/
	@rm -rf $(DIST)/stage
	umask 022; $(MAKE) --no-print-directory install-service prefix=/usr DESTDIR=$(DIST)/stage/service
	umask 022; $(MAKE) --no-print-directory install-lab prefix=/usr DESTDIR=$(DIST)/stage/lab
	find $(DIST)/stage -exec touch -h -d @$(SOURCE_DATE_EPOCH) {} +
	for p in $(PACKAGES_MADE); do for kind in $(PACKAGERS); do \
		RELEASE='$(RELEASE)' $(NFPM) package --config "packaging/$$p.yaml" --packager "$$kind" --target $(DIST)/; done; done

.PHONY: rootfs
rootfs: build ## Make a container's root file system and its OCI image, as tarballs in dist/
	@mkdir -p $(DIST)
	$(GO) -C tools/release run ./rootfs -out $(abspath $(DIST))/verdictd-rootfs.tar -oci $(abspath $(DIST))/verdictd-image.tar \
		-arch $(GOARCH) -version '$(RELEASE)' $(addprefix $(CURDIR)/bin/,verdictd conntrackwatch)

# Tests of the tools that make releases: packages, pages, completions, images, and what Kubernetes gets.
.PHONY: guest-packages
guest-packages: ## Make the two versions of the package that guest-check installs, in dist/before and dist/after
	$(MAKE) --no-print-directory package DIST=dist/before VERSION=v0.1.99 PACKAGES_MADE=verdictd PACKAGERS=deb
	$(MAKE) --no-print-directory package DIST=dist/after VERSION=v0.2.0 PACKAGES_MADE=verdictd PACKAGERS=deb
	$(MAKE) --no-print-directory build

.PHONY: guest-check
guest-check: guest-packages ## Install, run, upgrade and remove the package in a virtual machine with systemd; LAB="--restarts 20" is for it
	bin/lab kernel package --image debian --before dist/before/verdictd_*.deb --deb dist/after/verdictd_*.deb $(LAB)

.PHONY: monitoring-check
monitoring-check: ## Test the alerts and the dashboard in configs against Prometheus; compiled at the first time, which takes a minute
	$(GO) -C tools/prometheus test $(TEST) ./...

.PHONY: release-check
release-check: ## Test what make package, install, manual and rootfs make, and configs/kubernetes
	$(GO) -C tools/release test $(TEST) ./...

# From the registry of npm; the script alone is used, and nothing of it is run but in a browser.
AXE = axe-core@4.14.1
PAGES ?= dist/pages
.PHONY: pages-check
pages-check: ## Look at the pages of results in a browser (chromium), light and dark, wide and narrow, with axe-core (npm)
	@mkdir -p $(PAGES)
	cd $(PAGES) && { [ -s axe.min.js ] || npm pack --silent $(AXE) && tar -xzf axe-core-*.tgz --strip-components=1 package/axe.min.js; }
	VERDICTD_PAGES=$(abspath $(PAGES)) $(GO) test -count=1 -run TestPages ./internal/report
	VERDICTD_PAGES=$(abspath $(PAGES)) $(GO) test -count=1 -run TestOrigins ./stress/internal/compare
	VERDICTD_PAGES=$(abspath $(PAGES)) $(GO) test -count=1 -run 'TestPage$$' ./lab/internal/bench ./lab/internal/soak
	VERDICTD_PAGES=$(abspath $(PAGES)) VERDICTD_AXE=$(abspath $(PAGES))/axe.min.js $(GO) -C tools/pages test $(TEST) ./...

# A target that fails shows the input, which is then in testdata/fuzz of its package.
FUZZTIME ?= 20s
FUZZJOBS ?= 2
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (20s), FUZZJOBS (2) at a time, those whose names match FUZZ
	@FUZZTIME=$(FUZZTIME) FUZZJOBS=$(FUZZJOBS) .ci/fuzz '$(FUZZ)'

.PHONY: generate
generate: ## Compile the BPF object again; needs clang and llvm-strip
	$(GO) generate ./conntrackwatch/internal/trace

.PHONY: reference
reference: ## Write docs/policy.md again, from internal/config
	WRITE_REFERENCE=1 $(GO) test -count=1 -run '^TestReferenceIsOfThisPackage$$' ./internal/config

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
	$(GO) -C tools/release mod tidy -diff
	$(GO) -C tools/prometheus mod tidy -diff

.PHONY: clean
clean: ## Remove what build, demo, lab-crash and package made
	rm -rf bin dist demo.json demo.html crash.json crash.html
