#!/bin/sh
# Runs each fuzz test of the repository for a while: fuzz.sh [TIME], by default 30s each.
set -eu
cd "$(dirname "$0")/.."
time=${1:-30s}
git ls-files --cached --others --exclude-standard -- '*_test.go' | xargs grep -l '^func Fuzz' | while read -r file; do
	folder=${file%/*}
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file" | while read -r name; do
		echo "== $folder $name"
		# Left to itself, go test spends up to a minute making one input smaller, and tries nothing else meanwhile.
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 20x "./$folder" </dev/null
	done
done
