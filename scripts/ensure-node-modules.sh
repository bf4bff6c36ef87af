#!/bin/sh
# Installs what the Node packages below a folder depend on, as their lock files say: those of the services of the tests and
# the demo if none is named. Does nothing when it is there.
set -eu
cd "$(dirname "$0")/.."

major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p')
[ "${major:-0}" -ge 18 ] || {
	echo "Node 18 or newer is missing (found: $(node --version 2>/dev/null || echo none))" >&2
	exit 1
}
find "${1:-e2e/services}" -name node_modules -prune -o -name package-lock.json -print | while read -r lock; do
	folder=${lock%/*}
	# npm leaves the lock file of what it installed in node_modules.
	[ "$folder/node_modules/.package-lock.json" -nt "$lock" ] ||
		(cd "$folder" && npm ci --silent --no-audit --no-fund && touch node_modules/.package-lock.json)
done
