#!/bin/sh
# Installs the Debian packages that a build needs, and those that are named, and checks Go. Does nothing when all is there.
set -eu

# grocksdb v1.7.14 is made for the RocksDB 7.8.3 of Debian 12. The compression libraries come with librocksdb-dev.
missing=
for package in gcc g++ libc6-dev librocksdb-dev "$@"; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || {
		echo "missing:$missing, and there is no apt-get to install them: this is made for Debian 12" >&2
		exit 1
	}
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	echo "installing$missing"
	$root apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
command -v go >/dev/null || {
	echo "Go is missing; go.work says which version" >&2
	exit 1
}
