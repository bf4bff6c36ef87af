#!/bin/sh
# Installs pinned development tools below .tools: ensure-tools.sh TOOL ... Does nothing for those that are there in the
# wanted version. The tools: buf, protoc-gen, golangci-lint, gotestsum, grpcurl, kube-apiserver.
set -eu
cd "$(dirname "$0")/.."

buf=1.75.0
protoc_gen_go=v1.36.12
protoc_gen_go_grpc=v1.6.2
golangci_lint=v2.15.0
gotestsum=v1.13.0
grpcurl=v1.9.4
kubernetes=v1.35.4

bin=$PWD/.tools/bin

# has BINARY VERSION: the Go binary was built from that version of its module.
has() {
	[ -x "$bin/$1" ] && go version -m "$bin/$1" | awk -v want="$2" '$1 == "mod" && $3 == want { found = 1 } END { exit !found }'
}

# install BINARY PACKAGE VERSION
install() {
	has "$1" "$3" && return
	echo "building $1 $3"
	GOBIN=$bin GOFLAGS= GOWORK=off go install "$2@$3"
}

# install_kube_apiserver: Kubernetes is made of modules that only its own go.mod puts together, so it is built in a module
# that does the same with their releases.
install_kube_apiserver() {
	[ "$("$bin/kube-apiserver" --version 2>/dev/null)" = "Kubernetes $kubernetes" ] && return
	echo "building kube-apiserver $kubernetes, which takes some minutes"
	module=$(mktemp -d)
	(
		cd "$module"
		export GOWORK=off GOFLAGS=-mod=mod
		printf 'module apiserver\n\ngo 1.25.0\n\nrequire k8s.io/kubernetes %s\n\n' "$kubernetes" >go.mod
		sed -n "s|^\t\(k8s.io/[a-z0-9-]*\) => ./staging.*|replace \1 => \1 v0.${kubernetes#v1.}|p" \
			"$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')" >>go.mod
		minor=${kubernetes#v1.}
		set=k8s.io/component-base/version
		go build -trimpath -ldflags "-s -w -X $set.gitVersion=$kubernetes -X $set.gitMajor=1 -X $set.gitMinor=${minor%.*}" \
			-o "$bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
	)
	rm -rf "$module"
}

for tool; do
	case $tool in
	buf)
		[ "$(.tools/node_modules/.bin/buf --version 2>/dev/null)" = "$buf" ] ||
			npm install --silent --no-audit --no-fund --no-save --prefix .tools "@bufbuild/buf@$buf"
		;;
	protoc-gen)
		install protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go $protoc_gen_go
		install protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc $protoc_gen_go_grpc
		;;
	golangci-lint)
		install golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint $golangci_lint
		;;
	gotestsum)
		install gotestsum gotest.tools/gotestsum $gotestsum
		;;
	grpcurl)
		install grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl $grpcurl
		;;
	kube-apiserver)
		install_kube_apiserver
		;;
	*)
		echo "no such tool: $tool" >&2
		exit 2
		;;
	esac
done
