#!/bin/bash
# Runs each fuzz test of the repository for a while: fuzz.sh [TIME], by default 30s each.
#
# With a number of executions, such as 300x, it does what CI has time for: inputs are made from the seeds at random, and
# not by what code they reach. That needs no other build than the runtime's own, and each package is built once. How fast
# the machine is does not matter, nor that Go now and then fails a test because its time is over.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}
# Left to itself, go test spends up to a minute making one input smaller, and tries nothing else meanwhile.
smaller=20x

# Each folder with the names of its fuzz tests behind it.
folders() {
	git ls-files --cached --others --exclude-standard -- '*_test.go' | xargs grep -H '^func Fuzz' |
		sed -n 's/^\(.*\)\/[^/]*:func \(Fuzz[A-Za-z0-9_]*\).*/\1 \2/p' | sort -u |
		awk '{ names[$1] = names[$1] " " $2 } END { for (folder in names) print folder names[folder] }' | sort
}

if [[ $time != *x ]]; then
	folders | while read -r folder names; do
		for name in $names; do
			echo "== $folder $name"
			go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime "$smaller" "./$folder" </dev/null
		done
	done
	exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=0 failed=0
while read -r folder names; do
	go test -c -o "$work/test" "./$folder"
	for name in $names; do
		run=$((run + 1)) SECONDS=0 executions=$time
		if [[ $name == FuzzCluster ]]; then # each of its inputs is thousands of records, applied several times
			executions=20x
		fi
		if (cd "$folder" && "$work/test" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "$executions" \
			-test.fuzzminimizetime "$smaller" -test.fuzzcachedir "$work/cache" -test.timeout 10m) >"$work/output" 2>&1 </dev/null; then
			echo "fuzzed $folder $name $executions (${SECONDS}s)"
		else
			failed=$((failed + 1))
			echo "FAILED $folder $name $executions"
			cat "$work/output"
		fi
	done
done < <(folders)
mkdir -p tmp/tests
echo "$run $failed 0" >tmp/tests/fuzz
((run > 0 && failed == 0))
