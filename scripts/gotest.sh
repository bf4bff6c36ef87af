#!/bin/sh
# Runs the tests of packages: gotest.sh NAME 'PACKAGE ...' [FLAG OF GO TEST ...]. The counts are left in tmp/tests/NAME.
#
# A test that fails is run once more, so that one that fails now and then does not hide what else was found. It is named in
# tmp/tests/NAME.flaky, and is a bug to be mended. Data races, panics and more than six failures (subtests count) are not
# tried again.
set -eu
cd "$(dirname "$0")/.."
name=$1 packages=$2
shift 2
mkdir -p tmp/tests
rm -f "tmp/tests/$name" "tmp/tests/$name.flaky"

# gotestsum sets $TESTS_TOTAL and the others.
exec .tools/bin/gotestsum --format pkgname --format-icons text --format-hide-empty-pkg \
	--rerun-fails=1 --rerun-fails-max-failures 6 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race \
	--rerun-fails-report "tmp/tests/$name.flaky" \
	--post-run-command "sh -c 'echo \$TESTS_TOTAL \$TESTS_FAILED \$TESTS_SKIPPED >tmp/tests/$name'" \
	--packages "$packages" -- "$@"
