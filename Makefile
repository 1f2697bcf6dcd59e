# What a user runs:
#   make demo    install what is missing, build, boot, run the demos
#   make test    install what is missing, build, run every test
#   make bench   measure against the peers, in one run
# Everything is built once: upstream parts in ~/.cache/redoubt, keyed by their
# pins, and Redoubt itself in Go's build cache.

# Debian and Ubuntu packages, by what needs them.
PACKAGES := gcc libc6-dev pkg-config libseccomp-dev \
	nftables iproute2 kmod mount procps \
	mmdebstrap busybox-static \
	qemu-system-x86 erofs-utils dpkg debian-archive-keyring \
	ca-certificates curl

# Only tests and benchmarks need these.
TEST_PACKAGES := python3-minimal nodejs ruby php-cli default-jre-headless wrk nginx-light iptables

CACHE := $(or $(REDOUBT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/redoubt)

# The same flags for the program, the checks and the tests let them share what
# is compiled.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false -gcflags=all=-dwarf=false
TOOL := go tool -modfile=.ci/tools.mod

.PHONY: demo test bench build engine deps test-deps lint generate clean guest

demo: deps engine build guest
	bin/redoubt up --detach
	bin/redoubt demo

test: deps test-deps engine build guest lint
	go test $$(go list ./... | grep -v redoubt/test)
	cd engine/gvisor && go test ./...
	go test -p 1 -count 1 -timeout 60m ./test/...

bench: deps test-deps engine build guest
	go run ./bench

build:
	go build -ldflags "-s -w" -o bin/ ./cmd/...

# One build at a time: a second one waits, and finds what the first has made.
engine:
	@mkdir -p $(CACHE)
	@flock $(CACHE)/engine.lock engine/build.sh

# What a microVM boots.
guest:
	@guest/build.sh

deps:
	@.ci/install $(PACKAGES)

test-deps:
	@.ci/install $(TEST_PACKAGES)

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "not formatted: run gofmt -w on the files above" >&2; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...

# What is generated from the code: deep copies, CRDs, the command reference.
generate:
	go generate ./...

clean:
	rm -rf bin
