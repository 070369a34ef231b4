# Relay. "make" lists the targets; "make test" is the one test command.

GO        ?= go
# Every fuzz target runs this long; a count such as 50000x works too.
FUZZTIME  ?= 5s
BENCH     ?= .
# Flags of the comparison with other proxies: -h lists them.
BENCHFLAGS ?=
# The largest stripped binary that "make size" accepts, in bytes.
SIZE_MAX  ?= 20900000
# Other systems than the one we build on: everything must compile there.
CROSS     ?= linux/arm64 darwin/arm64 windows/amd64
# INSTALL=no: "make test" names missing Debian packages instead of installing them.
INSTALL   ?= yes

# Not ./relay: that is the folder of the package.
BIN       := bin/relay
# Outside a usable git work tree (a tarball, no commit yet) there is nothing to stamp.
BUILDVCS  := $(shell git rev-parse --quiet --verify HEAD >/dev/null 2>&1 && echo auto || echo false)

# The steps of "make test" run one after the other, in the order written.
.NOTPARALLEL:
.PHONY: help build test test-deps test-go test-costs lint cross fuzz interop bench-check size deploy-check bench microbench soak soak-probe clean

help: ## list the targets
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Settings: FUZZTIME=$(FUZZTIME) BENCH=$(BENCH) BENCHFLAGS=$(BENCHFLAGS) SIZE_MAX=$(SIZE_MAX) INSTALL=$(INSTALL)'

build: ## build the static binary, bin/relay
	@echo '== build: $(BIN)'
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -ldflags '-s -w' -o $(BIN) ./cmd/relay

test: test-deps lint cross test-go test-costs fuzz interop bench-check size deploy-check ## every test: the steps below, in order
	@echo '== test: all steps passed'

test-deps: ## programs the tests need; installs them as root on Debian
	@echo '== test-deps: programs the tests need'
	@GO='$(GO)' INSTALL='$(INSTALL)' deploy/test-deps

lint: ## gofmt, go vet, staticcheck
	@echo '== lint: gofmt, go vet, staticcheck'
	@files=$$(gofmt -l .) || exit 1; \
	if [ -n "$$files" ]; then \
		echo 'lint: not formatted (run gofmt -w on them):'; echo "$$files"; exit 1; \
	fi
	$(GO) vet ./...
	$(GO) vet -tags soak ./...
	$(GO) tool staticcheck ./...

cross: ## compile for other systems, and vet their tests
	@set -e; for system in $(CROSS); do \
		echo "== cross: $$system"; \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} $(GO) build -buildvcs=false -o /dev/null ./...; \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} $(GO) vet ./...; \
	done

# The race detector of Go before a release that mends go.dev/issue/78156 can crash
# on its own when a synctest bubble runs timers: such a run is repeated once, and
# said so. A failed test or a race that was found is no such crash.
test-go: ## go test with the race detector, in shuffled order
	@echo '== test-go: go test -race -shuffle=on'
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && trap 'exit 130' INT TERM || exit 1; \
	for attempt in 1 2; do \
		{ CGO_ENABLED=1 $(GO) test -race -shuffle=on ./... 2>&1; echo $$? >"$$tmp/rc"; } | tee "$$tmp/out"; \
		[ "$$(cat "$$tmp/rc")" -ne 0 ] || exit 0; \
		[ $$attempt -eq 1 ] && ! grep -qE '^ *--- FAIL|DATA RACE|^panic:' "$$tmp/out" && \
			grep -qE '^goroutine 0 .*synctest bubble|ThreadSanitizer: CHECK failed' "$$tmp/out" || exit 1; \
		echo 'test-go: the race detector crashed (go.dev/issue/78156); running it once more'; \
	done; exit 1

# What the race detector makes meaningless: allocations, and bytes of memory. These
# tests look at raceEnabled and say or measure less with it.
COSTS = ^(TestManyFlows|TestStalledReaders|TestIdleFlowMemory|TestSilentConnections|TestNoAllocations|Test.*Allocates)$$

test-costs: ## tests of allocations and memory, without the race detector
	@echo '== test-costs: allocations and memory'
	@for f in $$(grep -l raceEnabled $$(find . -name '*_test.go' -not -path './relay/interop/*') | grep -v race_test.go); do \
		for name in $$(awk '/^func Test/ { split($$2, n, "("); name = n[1] } /raceEnabled/ && name { print name }' $$f | sort -u); do \
			echo $$name | grep -qE '$(COSTS)' || { echo "test-costs: $$name in $$f is not in COSTS"; exit 1; }; \
		done; \
	done
	$(GO) test -count=1 -run '$(COSTS)' ./transport/... ./relay ./relay/vless ./relay/splice

# go test fuzzes one target per run. Go before 1.27 can end a run that found
# nothing with a bare "context deadline exceeded" (go.dev/issue/75804): such a
# run is repeated once, and said so. A finding is never repeated.
fuzz: ## run every fuzz target for FUZZTIME
	@echo '== fuzz: every target for $(FUZZTIME)'
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && trap 'exit 130' INT TERM || exit 1; \
	$(GO) test -list '^Fuzz' ./... >"$$tmp/list" || { cat "$$tmp/list"; exit 1; }; \
	awk '/^Fuzz/ { name[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2, name[i]; n = 0 }' \
		"$$tmp/list" >"$$tmp/targets"; \
	[ -s "$$tmp/targets" ] || { echo 'fuzz: found no target'; exit 1; }; \
	while read -r package name; do \
		echo "-- fuzz: $$name in $$package"; \
		for attempt in 1 2; do \
			rc=0; $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package" \
				>"$$tmp/out" 2>&1 </dev/null || rc=$$?; \
			[ $$rc -ne 0 ] || { tail -n 1 "$$tmp/out"; break; }; \
			cat "$$tmp/out"; \
			[ $$attempt -eq 1 ] && grep -q '^    context deadline exceeded$$' "$$tmp/out" && \
				! grep -q 'Failing input' "$$tmp/out" || { echo "fuzz: $$name failed"; exit 1; }; \
			echo "fuzz: $$name ended without a finding (go.dev/issue/75804); running it once more"; \
		done; \
	done <"$$tmp/targets"; \
	echo "fuzz: $$(wc -l <"$$tmp/targets") targets passed"

interop: ## test against other people's programs (nested modules)
	@echo '== interop: nested modules'
	@set -e; n=0; \
	for mod in $$(find relay -path 'relay/interop*' -name go.mod -not -path '*/testdata/*' | sort); do \
		dir=$${mod%/go.mod}; n=$$((n + 1)); \
		echo "-- interop: $$dir"; \
		(cd "$$dir" && $(GO) vet ./... && $(GO) vet -tags soak ./... && $(GO) test -count=1 -timeout 20m ./...); \
	done; \
	[ $$n -gt 0 ] || { echo 'interop: found no nested module'; exit 1; }; \
	echo "interop: $$n modules passed"

bench-check: ## vet and test the comparison with other proxies, without running it
	@echo '== bench-check: relay/bench'
	cd relay/bench && $(GO) vet ./... && $(GO) test -count=1 ./...

size: build ## show the size of the binary; fails above SIZE_MAX bytes
	@echo '== size: $(BIN)'
	@size=$$(wc -c <$(BIN)); \
	echo "size: $$size bytes, $(SIZE_MAX) allowed"; \
	[ "$$size" -le $(SIZE_MAX) ] || { echo 'size: too large'; exit 1; }

deploy-check: build ## units, scripts and sample config under deploy/
	@echo '== deploy-check: units, scripts, sample config'
	@deploy/check $(BIN)

bench: build ## compare with other proxies on loopback, half an hour; see relay/bench
	@echo '== bench: Relay and other proxies'
	cd relay/bench && $(GO) run . -relay ../../$(BIN) $(BENCHFLAGS)

microbench: ## go test's benchmarks that match BENCH, with allocations
	@echo '== microbench: $(BENCH)'
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

soak: ## long run under load, up to 20 minutes; not part of test
	@echo '== soak: TestSoak'
	@$(GO) test -tags soak -list '^TestSoak' ./relay/ | grep -q '^TestSoak' || { echo 'soak: found no TestSoak in ./relay/'; exit 1; }
	$(GO) test -count=1 -v -run TestSoak -tags soak -timeout 20m ./relay/

# The slow probes wait for what servers do after minutes. Nothing but loopback is
# there: Caddy's modules are fetched before, the relay is built before.
soak-probe: build ## slow probes of a censor: nginx and Caddy, with and without a relay; up to 14 minutes, as root
	@echo '== soak-probe: TestSlow'
	@[ "$$(id -u)" = 0 ] || { echo 'soak-probe: needs root, for a network of its own'; exit 1; }
	cd relay/interop/caddy/testdata/caddy && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o /dev/null .
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && trap 'exit 130' INT TERM || exit 1; \
	cd relay/interop && $(GO) test -tags soak -c -o "$$tmp/soak.test" . && \
	RELAY_BIN=../../$(BIN) unshare -n sh -c 'ip link set lo up && exec "$$0" -test.v -test.run ^TestSlow -test.timeout 15m' "$$tmp/soak.test"

clean: ## remove what build made
	@echo '== clean'
	rm -rf bin
