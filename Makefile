# tcpleak is one Go program. Go, git and make are expected; `make demo` and `make test` install the rest.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX   ?= /usr/local
FUZZTIME ?= 200000x
SOAK     ?= 100000
SOAK_AGENT ?= 10m
COUNT    ?= 6
SEED     ?= 0
SUDO     := $(if $(filter 0,$(shell id -u)),,sudo)

# gopacket's pcap is a cgo package: where Go would turn cgo off, "undefined: pcapErrorNotActivated" is all one sees.
export CGO_ENABLED = 1

.DEFAULT_GOAL := help
.PHONY: help build demo test test-race test-root soak soak-kernel soak-agent lint fuzz bench captures man install clean deps deps-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: deps ## build bin/tcpleak
	go build -buildvcs=false -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/tcpleak ./cmd/tcpleak

demo: build ## build, then read a capture in which a server leaks connections
	bin/tcpleak -r testdata/demo.pcap

test: deps-test ## run every test that this machine and user allow
	go test ./...

test-race: deps-test ## the same under the race detector
	go test -race ./...

test-root: deps-test ## the same as root, for the tests that make network namespaces
	go test $(if $(SUDO),-exec "sudo env 'PATH=$(PATH)'") ./...

soak: deps-test ## hold SOAK connections (100000) against gVisor, from seed SEED (0: by chance)
	go test -run TestConnections -timeout 2h -count=1 -v ./internal/netsim -connections $(SOAK) -seed $(SEED)

soak-kernel: deps-test ## hold 2400 random connections against this kernel (root)
	TCPLEAK_KERNEL_CONNECTIONS=2400 go test $(if $(SUDO),-exec "sudo env 'PATH=$(PATH)' TCPLEAK_KERNEL_CONNECTIONS=2400") -count=1 -v -run TestRandom ./internal/agreement

soak-agent: deps-test ## the agent beside tcpdump at 5,000 connections a second, full, lean and governed, SOAK_AGENT (10m) each (root)
	SOAK_AGENT=$(SOAK_AGENT) go test $(if $(SUDO),-exec "sudo env 'PATH=$(PATH)' SOAK_AGENT=$(SOAK_AGENT)") -count=1 -v -timeout 2h -run 'TestSoak$$' ./cmd/tcpleak

lint: deps ## gofmt, go vet, staticcheck
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .) && test -z "$$unformatted" || \
		{ echo "not as gofmt writes it: $$unformatted" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...

fuzz: deps ## run each fuzz target for FUZZTIME inputs (200000x)
	tools/fuzz.sh $(FUZZTIME)

bench: deps ## run the benchmarks of each stage COUNT times (6), into bin/bench.txt
	@mkdir -p bin
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./... | tee bin/bench.txt

bench-compare: deps ## compare bin/bench.txt with what make bench gave BEFORE
	@test -n "$(BEFORE)" || { echo "say with what: make bench-compare BEFORE=old.txt" >&2; exit 1; }
	go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da $(BEFORE) bin/bench.txt

.PHONY: bench-compare bench-peers bench-deps
bench-peers: ## time it against tcpdump, tshark and others of their kind, RUNS times (5)
	tools/bench-peers.sh

bench-deps: ## install those others, where the distribution has them
	@tools/install-deps.sh bench

.PHONY: drops
drops: build deps-test ## replay traffic past tcpdump and tcpleak, and count what each drops (root)
	$(SUDO) tools/drops.sh

captures: deps-test ## make the captures in testdata/kernel again, with this kernel (root)
	go run $(if $(SUDO),-exec sudo) ./internal/kernel/record -out testdata/kernel
	$(if $(SUDO),sudo chown -R "$$(id -u):$$(id -g)" testdata/kernel)

man: build ## write the manual pages to bin/man
	mkdir -p bin/man && bin/tcpleak man bin/man

.PHONY: release packages
release: deps ## build a static tcpleak for any Linux, an archive and checksums into bin/release
	tools/release.sh "$(VERSION)" bin/release

packages: release ## the same, and a .deb and an .rpm
	tools/release-packages.sh "$(VERSION)" bin/release

install: bin/tcpleak ## install under PREFIX (/usr/local); SETCAP=1: to capture without sudo
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -m 755 bin/tcpleak "$(DESTDIR)$(PREFIX)/bin/tcpleak"
	bin/tcpleak man "$(DESTDIR)$(PREFIX)/share/man/man1"
	$(if $(DESTDIR),,@tools/setcap.sh "$(PREFIX)/bin/tcpleak" "$(SETCAP)" "$(GROUP)")

# Only where it is missing or older than its sources, so that `make build && sudo make install` compiles nothing as root.
bin/tcpleak: go.mod $(shell find capture cmd compat config deliver diagnosis host ladder livepage metrics names printable privilege reassembly report screen sockets tcp tracker -name '*.go' ! -name '*_test.go' -o -name '*.s' -o -path 'report/page/page.*' -o -path 'livepage/page.*' -o -path 'livepage/icon.svg')
	$(MAKE) build

clean: ## remove what the other targets built
	rm -rf bin

deps:
	@tools/install-deps.sh build

deps-test:
	@tools/install-deps.sh test
