# `make help` lists the targets. What a target needs and is missing is installed or built by it.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

MODULES = $(shell go list -m -f '{{.Dir}}')
END_TO_END = $(CURDIR)/e2e/... $(CURDIR)/e2e/manifests/...
PACKAGES = $(filter-out $(END_TO_END),$(addsuffix /...,$(MODULES)))
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LINK_VERSION = -X main.version=$(VERSION)
# The two libraries that RocksDB of Debian uses and grocksdb does not name.
STATIC_LIBRARIES = -static -lbz2 -lgflags
# Go builds only what has changed, so the binaries are made each time they are asked for.
.PHONY: help run demo build build-static bin/image.tar image test unit e2e lint generate checkgenerate bench bench-compare fuzz fuzz-briefly crash compose-test k8s-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## start the runtime with its data below ./target
	@exec bin/restate

build: system ## build bin/restate
	go build -ldflags '$(LINK_VERSION)' -o bin/restate ./deploy/restate

build-static: system ## build bin/restate-static, which needs no library of the system
	go build -tags netgo,osusergo -ldflags '-s -w $(LINK_VERSION) -linkmode external -extldflags "$(STATIC_LIBRARIES)"' \
		-o bin/restate-static ./deploy/restate

# What the image holds: the binary, and the folder for the data.
bin/image.tar: build-static
	go run scripts/imagetar.go bin/restate-static bin/image.tar

image: bin/image.tar ## build the container image restate:latest
	sed -n '/^FROM scratch/,$$p' deploy/Dockerfile | sed '/^COPY .*--chown/d; s|^COPY .*|ADD bin/image.tar /|' | \
		docker build --tag restate:latest --build-arg VERSION='$(VERSION)' --file - .

demo: build node-modules ## call an example service and kill the runtime meanwhile
	@scripts/demo.sh

test: checkgenerate lint unit fuzz-briefly e2e ## everything that CI runs

unit: system test-tools ## unit tests, with the race detector
	scripts/gotest.sh unit '$(PACKAGES)' -race -timeout 20m

e2e: build sdk-services test-tools ## end-to-end tests with real SDK services
	scripts/gotest.sh e2e '$(END_TO_END)' -count=1 -timeout 30m

lint: system lint-tools ## golangci-lint, and buf lint for the protos
	.tools/bin/golangci-lint run $(addsuffix /...,$(MODULES))
	cd proto && $(PROTO_PATH) buf lint

PROTO_PATH = PATH=$(CURDIR)/.tools/bin:$(CURDIR)/.tools/node_modules/.bin:$$PATH

generate: proto-tools ## generate Go from proto/src
	cd proto && $(PROTO_PATH) buf generate

checkgenerate: proto-tools ## check that the generated code is that of proto/src
	@rm -rf tmp/gen && mkdir -p tmp
	cd proto && $(PROTO_PATH) buf generate --output ../tmp
	diff -r proto/gen tmp/gen

bench: build ## measure; docs/performance.md has the figures
	go run ./e2e/cmd/bench

REPEAT ?= 3
bench-compare: build ## measure the runtime and restate-server in turns, REPEAT times
	@scripts/ensure-node-modules.sh e2e/peer
	go run ./e2e/cmd/bench --services light,sdk-go --repeat $(REPEAT) \
		--peer $$(ls e2e/peer/node_modules/@restatedev/restate-server-linux-*/bin/restate-server | head -n 1)

FUZZTIME ?= 30s
fuzz: system ## run each fuzz test for FUZZTIME
	scripts/fuzz.sh $(FUZZTIME)

fuzz-briefly: system ## try a few random inputs in each fuzz test
	scripts/fuzz.sh 300x

CRASHES ?= 200
crash: build sdk-services ## kill processes CRASHES times under load, in one process and with the daemons apart
	E2E_CRASHES=$(CRASHES) go test -count=1 -timeout 60m -v -run TestCrashLoop ./e2e/suites

compose-test: ## run the image, and bring docker-compose.yaml up, with a real engine and call it
	scripts/compose-test.sh

k8s-test: build ## have a real API server of Kubernetes check every manifest
	@scripts/ensure-system.sh etcd-server
	@scripts/ensure-tools.sh kube-apiserver
	KUBE_APISERVER=$(CURDIR)/.tools/bin/kube-apiserver go test -count=1 -v -run TestAPIServer $(CURDIR)/e2e/manifests

clean: ## remove what was built, and data below ./target
	rm -rf bin target tmp

# What the targets above need.
.PHONY: system node-modules sdk-services test-tools lint-tools proto-tools
system:
	@scripts/ensure-system.sh
node-modules:
	@scripts/ensure-node-modules.sh
sdk-services: node-modules
	@scripts/ensure-system.sh protobuf-compiler libprotobuf-dev
	@e2e/services/node/build.sh
test-tools:
	@scripts/ensure-tools.sh gotestsum grpcurl
proto-tools:
	@scripts/ensure-tools.sh buf protoc-gen
lint-tools: proto-tools
	@scripts/ensure-tools.sh golangci-lint
